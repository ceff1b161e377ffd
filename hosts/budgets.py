"""Do the promises add up? Memory of a server, and connections of a database, as sums that must fit.

A budget is an upper estimate of what the services may use when they are all busy, made of figures that their makers publish. It is
meant to refuse what can't work before it is paid for; it does not replace measuring.
"""

from dataclasses import dataclass

from hosts import tuning
from hosts.specification import HostSpecification, PgbouncerService, PostgresqlService, RedisService

OPERATING_SYSTEM_MB = 300
"""Debian 13 without a desktop: kernel, systemd, journald, sshd and their caches, in MiB. Our own estimate."""

MEMORY_PER_PAGE_STRUCTURE = 64
"""Linux keeps a structure of 64 bytes for each page of 4096 bytes: one part in 64 of the memory is gone at boot (Documentation/mm)."""

NODE_EXPORTER_MB = 32
"""node_exporter on every server, in MiB. Our own estimate of its resident size."""

LOG_SHIPPER_MB = 32
"""systemd-journal-upload, which sends the journal of every server to the monitoring server, in MiB. Our own estimate."""

SERVICE_EXPORTER_MB = 32
"""One exporter for each of nginx, PostgreSQL, PgBouncer and Redis, in MiB. Our own estimate of its resident size."""

CONTAINER_ENGINE_MB = 128
"""Docker and containerd under the application's containers, in MiB. Our own estimate of their resident size."""

NGINX_BASE_MB = 16
NGINX_PER_CORE_MB = 16
"""nginx: the master, and one worker process a core (worker_processes auto) with its TLS sessions and buffers, in MiB."""

BACKEND_MB = 5
"""Private memory of one PostgreSQL connection, in MiB: between 2 with huge pages and 8 without, as measured in A. Freund, "Measuring
the Memory Overhead of a Postgres Connection" (2020)."""

PATRONI_MB = 64
"""Patroni beside a PostgreSQL that has standbys or is one, in MiB. Our own estimate of a Python process."""

ETCD_MB = 128
"""etcd with a few hundred keys, in MiB. Our own estimate; the store of a database cluster stays far below 100 MiB."""

BACKUP_MB = 128
"""A running backup: compression and upload buffers, in MiB. Our own estimate."""

PGBOUNCER_BASE_MB = 16
PGBOUNCER_PER_CLIENT_KB = 40
"""PgBouncer: 2 KiB a connection (its own figure), the packet buffer of 4 KiB (pkt_buf) and two TLS records of 16 KiB, rounded up."""

REDIS_BASE_MB = 10
REDIS_OVERHEAD_PERCENT = 50
"""Redis copies the pages that change while it saves: up to the whole data set again when everything is written to (Redis
documentation, "Redis administration", memory). Half of maxmemory covers a write load, fragmentation and the replicas' buffers."""

SENTINEL_MB = 16
"""Redis Sentinel, in MiB. Our own estimate."""

PROMETHEUS_BASE_MB = 256
PROMETHEUS_PER_SERVER_MB = 16
"""Prometheus: its queries and block compaction, and 2000 series of 8 KiB for each server that it watches."""

GRAFANA_MB = 256
"""Grafana, in MiB. Its documentation asks for 512 MB as a minimum for a machine, of which the process uses about half."""

LOKI_MB = 384
"""Loki as a single process with a few MiB of logs a second, in MiB. Our own estimate."""

TEMPO_MB = 256
ALLOY_MB = 192
"""Tempo (traces) and Alloy (the OpenTelemetry collector) with little traffic, in MiB. Our own estimates."""

ALERTMANAGER_MB = 64
"""Alertmanager, in MiB. Our own estimate."""

K3S_SERVER_MB = 1606
"""A k3s server with embedded etcd and a workload (k3s documentation, "Resource Profiling": 95th percentile)."""

K3S_AGENT_MB = 275
"""A k3s agent without pods (k3s documentation, "Resource Profiling": 95th percentile)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A sum that must fit: `used` must not be more than `available`.

    `subject` is the name of the server, followed by the service where the sum is about one. `unit` is 'MiB' or 'connections'.
    `parts` are named shares of `used`, in the order of the sum.
    """

    subject: str
    unit: str
    available: int
    used: int
    parts: tuple[tuple[str, int], ...]


def memory_budget(host: HostSpecification) -> Budget:
    """What the services of `host` may use at once, against the memory of the server, in MiB."""
    parts = _parts_beside_postgresql(host)
    if host.postgresql:
        parts += _postgresql_parts(host, host.postgresql)
    return Budget(host.name, "MiB", host.memory_mb, _total(parts), tuple(parts))


def rollout_budget(host: HostSpecification) -> Budget | None:
    """The memory while two versions of the application run, against that of the server and its swap, in MiB; None without a rollout."""
    if host.role != "app" or not host.application:
        return None
    before = memory_budget(host).used
    second = host.application.workers * host.application.worker_memory_mb
    parts = (("services", before), ("second version of the application", second))
    return Budget(f"{host.name} rollout", "MiB", host.memory_mb + tuning.SWAP_MB, before + second, parts)


def connection_budget(host: HostSpecification) -> list[Budget]:
    """The connections that clients may open, against those that PostgreSQL on `host` (and PgBouncer before it) accepts.

    Empty without PostgreSQL. Without PgBouncer the application's connections must fit into what PostgreSQL does not reserve. With
    it, the application's must fit into PgBouncer, and PgBouncer's pool into what PostgreSQL does not reserve.
    """
    postgresql = host.postgresql
    if not postgresql:
        return []
    clients = ("application", postgresql.clients)
    unreserved = postgresql.max_connections - postgresql.reserved_connections
    if not host.pgbouncer:
        return [_connections(f"{host.name} PostgreSQL", unreserved, clients)]
    return [
        _connections(f"{host.name} PgBouncer", host.pgbouncer.max_client_connections, clients),
        _connections(f"{host.name} PostgreSQL", unreserved, ("PgBouncer", host.pgbouncer.pool_size)),
    ]


def _connections(subject: str, available: int, part: tuple[str, int]) -> Budget:
    return Budget(subject, "connections", available, part[1], (part,))


def _parts_beside_postgresql(host: HostSpecification) -> list[tuple[str, int]]:
    parts = [
        ("operating system", OPERATING_SYSTEM_MB + host.memory_mb // MEMORY_PER_PAGE_STRUCTURE),
        ("exporters and logs", _exporters_mb(host)),
    ]
    if host.role == "kubernetes-control":
        parts.append(("k3s server", K3S_SERVER_MB))
    if host.role == "kubernetes-worker":
        parts.append(("k3s agent", K3S_AGENT_MB))
    if host.application:
        # On Kubernetes the ingress takes nginx' place; the k3s figures hold it and the container engine.
        if host.role == "app":
            parts.append(("container engine", CONTAINER_ENGINE_MB))
            parts.append(("nginx", NGINX_BASE_MB + NGINX_PER_CORE_MB * host.cores))
        parts.append(("application", host.application.workers * host.application.worker_memory_mb))
    if host.redis:
        parts += _redis_parts(host.redis)
    if host.monitoring:
        parts += _monitoring_parts(host)
    if host.etcd:
        parts.append(("etcd", ETCD_MB))
    if host.backup:
        parts.append(("backup", BACKUP_MB))
    if host.pgbouncer:
        parts.append(("PgBouncer", _pgbouncer_mb(host.pgbouncer)))
    if host.postgresql and (host.postgresql.standbys or not host.postgresql.primary):
        parts.append(("Patroni", PATRONI_MB))
    return parts


def _exporters_mb(host: HostSpecification) -> int:
    # nginx has two: its own figures, and response times from its log.
    nginx = host.application if host.role == "app" else None
    services = (host.application, nginx, host.postgresql, host.pgbouncer, host.redis)
    return NODE_EXPORTER_MB + LOG_SHIPPER_MB + SERVICE_EXPORTER_MB * sum(service is not None for service in services)


def _redis_parts(redis: RedisService) -> list[tuple[str, int]]:
    parts = [("Redis", REDIS_BASE_MB + redis.max_memory_mb * (100 + REDIS_OVERHEAD_PERCENT) // 100)]
    return [*parts, ("Sentinel", SENTINEL_MB)] if redis.sentinel else parts


def _monitoring_parts(host: HostSpecification) -> list[tuple[str, int]]:
    parts = [
        ("Prometheus", PROMETHEUS_BASE_MB + PROMETHEUS_PER_SERVER_MB * (sum(peer.region == host.region for peer in host.peers) + 1)),
        ("Alertmanager", ALERTMANAGER_MB),
    ]
    if host.role != "monitoring":
        return parts
    return [*parts, ("Grafana", GRAFANA_MB), ("Loki", LOKI_MB), ("Tempo", TEMPO_MB), ("Alloy", ALLOY_MB)]


def _pgbouncer_mb(pgbouncer: PgbouncerService) -> int:
    return PGBOUNCER_BASE_MB + -(-pgbouncer.max_client_connections * PGBOUNCER_PER_CLIENT_KB // 1024)


def _postgresql_parts(host: HostSpecification, postgresql: PostgresqlService) -> list[tuple[str, int]]:
    parts = [
        ("PostgreSQL shared memory", tuning.shared_memory_mb(host)),
        ("PostgreSQL connections", _open_connections(host, postgresql) * BACKEND_MB),
        ("PostgreSQL sorts and hashes", tuning.busy_processes(host) * tuning.work_mem_mb(host) * tuning.HASH_MEMORY_MULTIPLIER),
        (
            "PostgreSQL maintenance",
            tuning.maintenance_work_mem_mb(host) + tuning.AUTOVACUUM_WORKERS * tuning.autovacuum_work_mem_mb(host),
        ),
    ]
    # A promise is kept free as a whole, even where the parts need less of it.
    rest = postgresql.memory_mb - _total(parts)
    return [*parts, ("PostgreSQL rest of its promise", rest)] if rest > 0 else parts


def _open_connections(host: HostSpecification, postgresql: PostgresqlService) -> int:
    """The most that clients open, which may be fewer than PostgreSQL would accept."""
    pgbouncer = host.pgbouncer
    clients = pgbouncer.pool_size + tuning.reserve_pool_size(host) if pgbouncer else postgresql.clients
    return min(postgresql.max_connections, clients + postgresql.reserved_connections)


def _total(parts: list[tuple[str, int]]) -> int:
    return sum(share for _, share in parts)
