"""Every tuned value, in one place: a named rule for each, with the reason and the source.

A table is a tuple of rules; `tuned(TABLE, host)` gives the values that hold on a server, by the names of the program's own settings. The
growth plan's table ("PostgreSQL Tuning by User Count") and its worker tables come out exactly at its sizes, and every other size
follows from the same rules. `hosts.budgets` sums the same figures, so that what is tuned also fits.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hosts.specification import ApplicationService, HostSpecification, PgbouncerService, PostgresqlService, RedisService


@dataclass(frozen=True, slots=True)
class Rule:
    """One setting: its `name` in the program, its value on a server (None: the program's default stays), and why, with the `source`."""

    name: str
    value: Callable[[HostSpecification], str | None]
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting on one server, ready to be rendered with its reason beside it."""

    name: str
    value: str
    why: str
    source: str


def settings(table: tuple[Rule, ...], host: HostSpecification) -> tuple[Setting, ...]:
    """The settings of `table` that `host` gets, in the order of the table."""
    found = ((rule, rule.value(host)) for rule in table)
    return tuple(Setting(rule.name, value, rule.why, rule.source) for rule, value in found if value is not None)


def tuned(table: tuple[Rule, ...], host: HostSpecification) -> dict[str, str]:
    """The values of `table` on `host`, by name."""
    return {setting.name: setting.value for setting in settings(table, host)}


PLAN = 'growth plan 001, "PostgreSQL Tuning by User Count"'
POSTGRESQL_DOCUMENTATION = "PostgreSQL 17 documentation"
PGTUNE = "PGTune (github.com/le0pard/pgtune), web application on SSD"


# Memory of PostgreSQL, in MiB.


def postgresql_memory_mb(host: HostSpecification) -> int:
    """What PostgreSQL's memory is computed from, in MiB: what is promised to it, else the whole server's, as in the growth plan's table.

    The budget refuses a server on which the sum with the other services does not fit.
    """
    return _postgresql(host).memory_mb or host.memory_mb


def shared_buffers_mb(host: HostSpecification) -> int:
    """A quarter (PostgreSQL 17 documentation, 19.4; the growth plan's table), never below PostgreSQL's default of 128 MiB."""
    return max(128, postgresql_memory_mb(host) // 4)


def effective_cache_size_mb(host: HostSpecification) -> int:
    """Three quarters (the growth plan's table): what shared buffers and the page cache may hold together. It reserves nothing."""
    return max(256, postgresql_memory_mb(host) * 3 // 4)


def work_mem_mb(host: HostSpecification) -> int:
    """One part in 128: 32 MiB on 4 GiB and 64 MiB on 8 GiB, as in the growth plan, whose largest it stays; never under 4."""
    return min(64, max(4, postgresql_memory_mb(host) // 128))


def maintenance_work_mem_mb(host: HostSpecification) -> int:
    """One part in 32, 64 MiB (the default) to 1 GiB: index builds and manual VACUUM, of which one runs at a time."""
    return min(1024, max(64, postgresql_memory_mb(host) // 32))


def autovacuum_work_mem_mb(host: HostSpecification) -> int:
    """One part in 128 for each worker, 16 to 256 MiB: since version 17 VACUUM keeps dead rows in a radix tree, up to 20 times smaller."""
    return min(256, max(16, postgresql_memory_mb(host) // 128))


AUTOVACUUM_WORKERS = 3
"""PostgreSQL's default autovacuum_max_workers; each takes its own autovacuum_work_mem."""

HASH_MEMORY_MULTIPLIER = 2
"""PostgreSQL's default hash_mem_multiplier: a hash table may take so many times work_mem."""


def busy_processes(host: HostSpecification) -> int:
    """Backends that work at the same moment: two for each core and one for the disk (PostgreSQL wiki, "Number Of Database Connections").

    The rest of the connections wait for their clients, and hold no work_mem.
    """
    return min(_postgresql(host).max_connections, 2 * host.cores + 1)


def max_connections(memory_mb: int) -> int:
    """Connections for a server of `memory_mb` MiB where nobody chose a number: 25 for each GiB, 20 to 400.

    50, 100 and 200 on 2, 4 and 8 GiB are the growth plan's table. Above 400 a pooler is cheaper than backends.
    """
    return min(400, max(20, memory_mb * 25 // 1024))


def shared_memory_mb(host: HostSpecification) -> int:
    """All of PostgreSQL's shared memory, in MiB: shared_buffers, a structure for each of its pages, and locks for each connection.

    `postgres -C shared_memory_size` of version 17 says 30 MiB more at 128 MiB and 100 connections, 260 at 8 GiB and 400, 1389 at 48 GiB
    and 5000: one part in 32, 1/16 MiB for each connection and 48 MiB cover all of them with a margin.
    """
    buffers_mb = shared_buffers_mb(host)
    return buffers_mb + buffers_mb // 32 + -(-_postgresql(host).max_connections // 16) + 48


def huge_pages(host: HostSpecification) -> int:
    """Pages of 2 MiB for PostgreSQL's shared memory: 0 except on servers of its own, where nothing else can miss the memory."""
    if host.postgresql is None or host.role != "database":
        return 0
    return -(-shared_memory_mb(host) // 2)


def max_wal_size_mb(host: HostSpecification) -> int:
    """Half the memory, 1 to 16 GiB, in MiB: checkpoints follow the clock, and a crash replays no more than this in minutes."""
    return min(16 * 1024, max(1024, postgresql_memory_mb(host) // 2))


def parallel_workers_per_query(host: HostSpecification) -> int:
    """Half the cores, 0 to 4: one report must not take the whole server from the short queries of the web."""
    return min(4, host.cores // 2)


def _postgresql(host: HostSpecification) -> PostgresqlService:
    if host.postgresql is None:
        raise ValueError(f"{host.name}: no PostgreSQL on this server; allowed: servers with it")
    return host.postgresql


def _reserved_for_monitoring(host: HostSpecification) -> str | None:
    postgresql = _postgresql(host)
    return str(postgresql.reserved_connections - SUPERUSER_RESERVED) if postgresql.version >= 16 else None


def _reserved_for_superusers(host: HostSpecification) -> str:
    postgresql = _postgresql(host)
    return str(SUPERUSER_RESERVED if postgresql.version >= 16 else postgresql.reserved_connections)


SUPERUSER_RESERVED = 3
"""PostgreSQL's default superuser_reserved_connections. The rest of the reserved connections are for monitoring (version 16 and later)."""


def _mb(megabytes: int) -> str:
    return f"{megabytes}MB"


def _constant(value: str) -> Callable[[HostSpecification], str]:
    return lambda _: value


POSTGRESQL: tuple[Rule, ...] = (
    Rule("max_connections", lambda host: str(_postgresql(host).max_connections), "the settings' own number", PLAN),
    Rule(
        "superuser_reserved_connections",
        _reserved_for_superusers,
        "an administrator gets in when the application has taken the rest",
        f"{POSTGRESQL_DOCUMENTATION}, 19.3",
    ),
    Rule(
        "reserved_connections",
        _reserved_for_monitoring,
        "monitoring sees a full server instead of being refused by it",
        f"{POSTGRESQL_DOCUMENTATION}, 19.3",
    ),
    Rule(
        "shared_buffers", lambda host: _mb(shared_buffers_mb(host)), "a quarter of the memory", f"{PLAN}; {POSTGRESQL_DOCUMENTATION}, 19.4"
    ),
    Rule("effective_cache_size", lambda host: _mb(effective_cache_size_mb(host)), "three quarters of the memory", PLAN),
    Rule("work_mem", lambda host: _mb(work_mem_mb(host)), "1/128 of the memory, at most 64 MB", PLAN),
    Rule(
        "maintenance_work_mem",
        lambda host: _mb(maintenance_work_mem_mb(host)),
        "1/32 of the memory: index builds in one pass",
        f"{POSTGRESQL_DOCUMENTATION}, 19.4; half of PGTune's share, because the application is on many of these servers",
    ),
    Rule(
        "autovacuum_work_mem",
        lambda host: _mb(autovacuum_work_mem_mb(host)),
        "three workers at once must not take three times maintenance_work_mem",
        f"{POSTGRESQL_DOCUMENTATION}, 19.4 and release notes of 17",
    ),
    Rule(
        "huge_pages",
        _constant("try"),
        "fewer page table entries for each backend; normal pages where the kernel has none",
        f"{POSTGRESQL_DOCUMENTATION}, 18.4.5",
    ),
    Rule("wal_level", _constant("replica"), "backups, standbys and moves to another server need it", f"{POSTGRESQL_DOCUMENTATION}, 26.2"),
    Rule(
        "wal_buffers",
        _constant("16MB"),
        "one WAL segment: what the automatic choice gives from 512 MB of shared buffers on",
        f"{POSTGRESQL_DOCUMENTATION}, 19.5",
    ),
    Rule(
        "wal_compression",
        lambda host: "lz4" if _postgresql(host).version >= 15 else "on",
        "full page images are most of the WAL: less to write, to archive and to send",
        f"{POSTGRESQL_DOCUMENTATION}, 19.5",
    ),
    Rule(
        "max_wal_size",
        lambda host: _mb(max_wal_size_mb(host)),
        "checkpoints by the clock, not by volume",
        f"{POSTGRESQL_DOCUMENTATION}, 28.5",
    ),
    Rule(
        "min_wal_size",
        lambda host: _mb(max_wal_size_mb(host) // 4),
        "segments are recycled through a night, not made anew in the morning; PGTune's ratio",
        PGTUNE,
    ),
    Rule(
        "max_slot_wal_keep_size",
        lambda host: _mb(2 * max_wal_size_mb(host)),
        "a standby that never comes back must not fill the volume; it catches up from the archive or is cloned anew",
        f"{POSTGRESQL_DOCUMENTATION}, 19.6",
    ),
    Rule(
        "checkpoint_timeout",
        _constant("15min"),
        "fewer full page images; the replay after a crash stays in minutes",
        f"{POSTGRESQL_DOCUMENTATION}, 28.5",
    ),
    Rule(
        "checkpoint_completion_target",
        _constant("0.9"),
        "writes spread over the whole interval",
        f"{POSTGRESQL_DOCUMENTATION}, 28.5; {PGTUNE}",
    ),
    Rule("random_page_cost", _constant("1.1"), "on NVMe a random read costs what a sequential one does", PGTUNE),
    Rule("effective_io_concurrency", _constant("200"), "NVMe serves many reads at once", PGTUNE),
    Rule("default_statistics_target", _constant("100"), "enough for an application's short queries", PGTUNE),
    Rule("jit", _constant("off"), "compiling costs a web query more than it saves", f"{POSTGRESQL_DOCUMENTATION}, 30.2"),
    Rule(
        "max_worker_processes",
        lambda host: str(max(8, max(host.cores, _postgresql(host).primary_cores) + 4)),
        "parallel workers of every core and room for extensions' own; as many as the primary has, or a standby does not start",
        f"{POSTGRESQL_DOCUMENTATION}, 19.4 and 26.4.3",
    ),
    Rule("max_parallel_workers", lambda host: str(host.cores), "as many as there are cores", PGTUNE),
    Rule("max_parallel_workers_per_gather", lambda host: str(parallel_workers_per_query(host)), "half the cores, at most 4", PGTUNE),
    Rule("max_parallel_maintenance_workers", lambda host: str(parallel_workers_per_query(host)), "half the cores, at most 4", PGTUNE),
    Rule(
        "autovacuum_max_workers",
        _constant(str(AUTOVACUUM_WORKERS)),
        "the default, written down because the memory budget counts them",
        f"{POSTGRESQL_DOCUMENTATION}, 19.10",
    ),
    Rule("autovacuum_naptime", _constant("15s"), "busy tables are looked at four times a minute", f"{POSTGRESQL_DOCUMENTATION}, 19.10"),
    Rule(
        "autovacuum_vacuum_scale_factor",
        _constant("0.05"),
        "small and often: 5 % of dead rows instead of 20 %",
        f"{POSTGRESQL_DOCUMENTATION}, 24.1",
    ),
    Rule(
        "autovacuum_vacuum_insert_scale_factor",
        _constant("0.05"),
        "tables that only grow get their visibility map too",
        f"{POSTGRESQL_DOCUMENTATION}, 24.1",
    ),
    Rule("autovacuum_analyze_scale_factor", _constant("0.02"), "statistics follow the data", f"{POSTGRESQL_DOCUMENTATION}, 24.1"),
    Rule(
        "autovacuum_vacuum_cost_limit",
        _constant("2000"),
        "the default of 200 was made for spinning disks; an SSD takes ten times as much",
        f"{POSTGRESQL_DOCUMENTATION}, 19.10",
    ),
    Rule(
        "shared_preload_libraries",
        _constant("pg_stat_statements"),
        "which statements take the time (growth plan 001, monitoring tools)",
        f"{POSTGRESQL_DOCUMENTATION}, F.30",
    ),
    Rule(
        "track_io_timing",
        _constant("on"),
        "tells waiting for the disk from work; the clock costs nanoseconds (pg_test_timing)",
        f"{POSTGRESQL_DOCUMENTATION}, 19.9",
    ),
    Rule(
        "log_min_duration_statement",
        _constant("500ms"),
        "the growth plan's first alert is 500 ms for a whole request",
        "growth plan 001, key metrics",
    ),
    Rule("log_lock_waits", _constant("on"), "a wait of more than deadlock_timeout is worth a line", f"{POSTGRESQL_DOCUMENTATION}, 19.8"),
    Rule("log_temp_files", lambda host: _mb(work_mem_mb(host)), "what work_mem was too small for", f"{POSTGRESQL_DOCUMENTATION}, 19.8"),
    Rule("log_autovacuum_min_duration", _constant("10s"), "long vacuums show before they hurt", f"{POSTGRESQL_DOCUMENTATION}, 19.8"),
    Rule("client_connection_check_interval", _constant("10s"), "a query whose client is gone stops", f"{POSTGRESQL_DOCUMENTATION}, 19.3"),
    Rule(
        "tcp_keepalives_idle",
        _constant("60"),
        "a dead peer frees its connection in two minutes instead of two hours",
        f"{POSTGRESQL_DOCUMENTATION}, 19.3",
    ),
    Rule("tcp_keepalives_interval", _constant("10"), "with the count below: one more minute", f"{POSTGRESQL_DOCUMENTATION}, 19.3"),
    Rule("tcp_keepalives_count", _constant("6"), "six lost answers are no accident", f"{POSTGRESQL_DOCUMENTATION}, 19.3"),
)
"""postgresql.conf."""

APPLICATION_ROLE: tuple[Rule, ...] = (
    Rule(
        "statement_timeout",
        _constant("5min"),
        "five times what nginx waits: nobody wants the answer any more. A migration that needs longer sets its own. Not for the whole "
        "server, because dumps and backups would be cut too",
        f"{POSTGRESQL_DOCUMENTATION}, 19.11",
    ),
    Rule(
        "idle_in_transaction_session_timeout",
        _constant("1min"),
        "a forgotten transaction holds locks and dead rows",
        f"{POSTGRESQL_DOCUMENTATION}, 19.11",
    ),
)
"""Settings of the role `application` (ALTER ROLE … SET)."""


# PgBouncer.


def _pgbouncer(host: HostSpecification) -> PgbouncerService:
    if host.pgbouncer is None:
        raise ValueError(f"{host.name}: no PgBouncer on this server; allowed: servers with it")
    return host.pgbouncer


def unreserved_connections(host: HostSpecification) -> int:
    """Connections of PostgreSQL that the application, or PgBouncer for it, may take."""
    postgresql = _postgresql(host)
    return postgresql.max_connections - postgresql.reserved_connections


def reserve_pool_size(host: HostSpecification) -> int:
    """Connections that PgBouncer adds under pressure: a quarter of the pool, as far as PostgreSQL has unreserved ones left."""
    pool_size = _pgbouncer(host).pool_size
    return max(0, min(pool_size // 4, unreserved_connections(host) - pool_size))


PGBOUNCER_DOCUMENTATION = "PgBouncer 1.24 documentation, config"

PGBOUNCER: tuple[Rule, ...] = (
    Rule(
        "pool_mode",
        _constant("transaction"),
        "a server connection is held for a transaction, not for a client's life",
        PGBOUNCER_DOCUMENTATION,
    ),
    Rule("max_client_conn", lambda host: str(_pgbouncer(host).max_client_connections), "the settings' own number", PGBOUNCER_DOCUMENTATION),
    Rule("default_pool_size", lambda host: str(_pgbouncer(host).pool_size), "the settings' own number", PGBOUNCER_DOCUMENTATION),
    Rule(
        "reserve_pool_size",
        lambda host: str(reserve_pool_size(host)),
        "a quarter more under pressure, if PostgreSQL has it",
        PGBOUNCER_DOCUMENTATION,
    ),
    Rule("reserve_pool_timeout", _constant("3"), "seconds that a client has waited before the reserve opens", PGBOUNCER_DOCUMENTATION),
    Rule(
        "max_db_connections",
        lambda host: str(unreserved_connections(host)),
        "PostgreSQL keeps its reserved connections",
        PGBOUNCER_DOCUMENTATION,
    ),
    Rule(
        "max_prepared_statements",
        _constant("200"),
        "asyncpg and psycopg prepare statements; 0 breaks them in transaction mode",
        PGBOUNCER_DOCUMENTATION,
    ),
    Rule(
        "query_wait_timeout",
        _constant("30"),
        "seconds: the same as SQLAlchemy's pool_timeout; then the client hears of it",
        PGBOUNCER_DOCUMENTATION,
    ),
    Rule(
        "idle_transaction_timeout", _constant("60"), "seconds: as the role's idle_in_transaction_session_timeout", PGBOUNCER_DOCUMENTATION
    ),
    Rule("server_idle_timeout", _constant("300"), "seconds: backends of a peak go away after it", PGBOUNCER_DOCUMENTATION),
    Rule("server_lifetime", _constant("3600"), "seconds: a backend's caches don't grow for ever", PGBOUNCER_DOCUMENTATION),
    Rule("client_login_timeout", _constant("15"), "seconds: a client that can't log in frees its place", PGBOUNCER_DOCUMENTATION),
)
"""pgbouncer.ini."""


# The application.


def _application(host: HostSpecification) -> ApplicationService:
    if host.application is None:
        raise ValueError(f"{host.name}: no application on this server; allowed: servers with it")
    return host.application


WORKER_TABLE = 'growth plan 001, "Uvicorn Worker Scaling"'
POOL_TABLE = 'growth plan 001, "Connection Pooling Optimization"'

UVICORN: tuple[Rule, ...] = (
    Rule("workers", lambda host: str(_application(host).workers), "one process for each core", WORKER_TABLE),
    Rule(
        "limit_concurrency",
        lambda host: str(_application(host).worker_concurrency),
        "connections of one worker; more get 503 at once",
        WORKER_TABLE,
    ),
    Rule("backlog", _constant("2048"), "connections that wait in the kernel", WORKER_TABLE),
    Rule(
        "timeout_keep_alive",
        _constant("75"),
        "seconds: longer than nginx keeps its side, or a request meets a closing connection (502)",
        "Uvicorn documentation, settings",
    ),
)
"""Command-line options of Uvicorn."""

SQLALCHEMY: tuple[Rule, ...] = (
    Rule("pool_size", lambda host: str(_application(host).database_pool_size), "connections that a worker keeps", POOL_TABLE),
    Rule(
        "max_overflow", lambda host: str(_application(host).database_max_overflow), "connections that a worker adds at a peak", POOL_TABLE
    ),
    Rule("pool_pre_ping", _constant("true"), "a connection that a failover broke is replaced before it is used", POOL_TABLE),
    Rule("pool_recycle", _constant("300"), "seconds: no connection outlives its usefulness", POOL_TABLE),
    Rule("pool_timeout", _constant("30"), "seconds that a request waits for a connection", POOL_TABLE),
)
"""Arguments of SQLAlchemy's create_engine."""


# Redis and nginx.


def _redis(host: HostSpecification) -> RedisService:
    if host.redis is None:
        raise ValueError(f"{host.name}: no Redis on this server; allowed: servers with it")
    return host.redis


REDIS_DOCUMENTATION = "Redis 8 documentation, redis.conf"

REDIS: tuple[Rule, ...] = (
    Rule(
        "maxmemory",
        lambda host: f"{_redis(host).max_memory_mb}mb",
        "the settings' own number; the budget adds what saving copies",
        REDIS_DOCUMENTATION,
    ),
    Rule("maxmemory-policy", lambda host: _redis(host).eviction_policy, "the settings' own choice", REDIS_DOCUMENTATION),
    Rule(
        "maxclients", _constant("10000"), "the default, written down because the limit of open files follows from it", REDIS_DOCUMENTATION
    ),
    Rule("tcp-backlog", _constant("2048"), "as the application's, so that a restart of its workers is not refused", REDIS_DOCUMENTATION),
    Rule("tcp-keepalive", _constant("60"), "seconds: dead clients are found", REDIS_DOCUMENTATION),
    Rule("lazyfree-lazy-eviction", _constant("yes"), "large values are freed in the background", REDIS_DOCUMENTATION),
    Rule("lazyfree-lazy-expire", _constant("yes"), "large values are freed in the background", REDIS_DOCUMENTATION),
    Rule("lazyfree-lazy-server-del", _constant("yes"), "large values are freed in the background", REDIS_DOCUMENTATION),
)
"""redis.conf."""

NGINX_CONNECTIONS = 16_384
"""worker_connections: clients of one nginx process and their connections to the application, two for each request."""

NGINX_DOCUMENTATION = "nginx documentation, ngx_core_module and ngx_http_core_module"

NGINX: tuple[Rule, ...] = (
    Rule("worker_processes", _constant("auto"), "one for each core", NGINX_DOCUMENTATION),
    Rule(
        "worker_connections",
        _constant(str(NGINX_CONNECTIONS)),
        "two for each request on its way, far above what the workers behind accept",
        NGINX_DOCUMENTATION,
    ),
    Rule(
        "worker_rlimit_nofile",
        _constant(str(4 * NGINX_CONNECTIONS)),
        "a connection for each, and as many files again with room to spare",
        NGINX_DOCUMENTATION,
    ),
    Rule("keepalive_timeout", _constant("65"), "seconds: a page's next request finds the TLS session open", NGINX_DOCUMENTATION),
    Rule("keepalive_requests", _constant("1000"), "memory of a connection is freed now and then", NGINX_DOCUMENTATION),
    Rule(
        "upstream_keepalive",
        lambda host: str(upstream_keepalive(host)),
        "idle connections to the application for each nginx process",
        "nginx documentation, ngx_http_upstream_module",
    ),
    Rule(
        "upstream_keepalive_timeout",
        _constant("60"),
        "seconds: shorter than Uvicorn's timeout_keep_alive",
        "nginx documentation, ngx_http_upstream_module",
    ),
)
"""nginx.conf; the names with `upstream_` belong into the upstream block, without that prefix."""


def upstream_keepalive(host: HostSpecification) -> int:
    """Idle connections that each nginx process keeps: together at most half of what Uvicorn accepts, and 32 at most."""
    application = _application(host)
    return max(1, min(32, application.workers * application.worker_concurrency // (2 * host.cores)))


# The kernel.

KERNEL_DOCUMENTATION = "Linux documentation, admin-guide/sysctl"


def _overcommit(host: HostSpecification) -> str:
    if host.redis:
        return "1"
    return "2" if host.role == "database" else "0"


def _huge_pages(host: HostSpecification) -> str | None:
    pages = huge_pages(host)
    return str(pages) if pages else None


SWAP_MB = 1024
"""The swap file of an application server, in MiB: room for the second version of the application during a rollout, and for what no
budget foresaw; without any, the kernel ends a process at the first page too many (Redis documentation, "Redis administration", Linux)."""

SYSCTL: tuple[Rule, ...] = (
    Rule("vm.swappiness", _constant("10"), "a cache is dropped before a service is swapped out", KERNEL_DOCUMENTATION),
    Rule(
        "vm.overcommit_memory",
        _overcommit,
        "1 with Redis, whose saving process shares its memory; 2 on a database server, where a backend hears of the end of the memory "
        "instead of the OOM killer ending all of them; else the kernel's judgement",
        f"Redis documentation, administration; {POSTGRESQL_DOCUMENTATION}, 18.4.4",
    ),
    Rule(
        "vm.overcommit_ratio",
        lambda host: "90" if _overcommit(host) == "2" else None,
        "percent of the memory that may be promised; the rest is for the kernel",
        f"{POSTGRESQL_DOCUMENTATION}, 18.4.4",
    ),
    Rule("vm.nr_hugepages", _huge_pages, "PostgreSQL's shared memory, on servers of its own", f"{POSTGRESQL_DOCUMENTATION}, 18.4.5"),
    Rule(
        "vm.dirty_background_bytes",
        _constant(str(64 * 1024**2)),
        "writing starts early, so that a commit never waits for gigabytes",
        KERNEL_DOCUMENTATION,
    ),
    Rule(
        "vm.dirty_bytes",
        _constant(str(256 * 1024**2)),
        "a second of a cloud volume's bandwidth, instead of 20 % of the memory",
        KERNEL_DOCUMENTATION,
    ),
    Rule("net.core.somaxconn", _constant("4096"), "the application's backlog of 2048 is cut at this", KERNEL_DOCUMENTATION),
    Rule("net.ipv4.tcp_max_syn_backlog", _constant("4096"), "as many half-open connections as accepted ones", KERNEL_DOCUMENTATION),
)
"""sysctl. fs.file-max is not here: systemd raises it to the kernel's maximum at boot (NEWS of version 240)."""


def open_files(host: HostSpecification) -> dict[str, int]:
    """LimitNOFILE of each service on `host`, by name: what its own settings add up to, and a reserve.

    PostgreSQL opens 1000 files in each backend (max_files_per_process). PgBouncer has a descriptor for each client and each server
    connection, and at least 65536, so that a larger max_client_conn needs no restart. Redis has one for each client.
    """
    limits = {}
    if host.postgresql:
        limits["postgresql"] = 8192
    if host.pgbouncer:
        limits["pgbouncer"] = max(65_536, host.pgbouncer.max_client_connections + unreserved_connections(host) + 128)
    if host.redis:
        limits["redis"] = 10_000 + 128
    if host.application:
        limits["nginx"] = 2 * NGINX_CONNECTIONS + 128
    return limits
