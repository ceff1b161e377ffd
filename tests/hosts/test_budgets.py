"""The sums that must fit: exact figures, what fits, and what does not."""

from typing import Any

import pytest

from hosts.budgets import Budget, connection_budget, memory_budget, rollout_budget
from hosts.specification import (
    ApplicationService,
    BackupService,
    HostSpecification,
    MonitoringService,
    Peer,
    PgbouncerService,
    PostgresqlService,
    RedisService,
    Role,
)
from hosts.tuning import SWAP_MB
from tests.support.monitored_hosts import THRESHOLDS

BACKUP = BackupService(
    bucket="backups",
    full_every_hours=24,
    incremental_every_hours=6,
    retention_days=14,
    recovery_point_minutes=5,
    recovery_time_minutes=60,
)
MONITORING = MonitoringService(retention_days=30, thresholds=THRESHOLDS)


def _host(role: Role, memory_gb: int, cores: int = 2, **services: Any) -> HostSpecification:
    return HostSpecification(
        name=f"{role}-eu-1",
        role=role,
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=cores,
        memory_mb=memory_gb * 1024,
        disk_gb=80,
        architecture="x86",
        private_address=None,
        public=False,
        jump_host=None,
        data_mount=None,
        **services,
    )


def _application(workers: int, worker_memory_mb: int = 200) -> ApplicationService:
    return ApplicationService(
        workers=workers,
        worker_concurrency=100,
        worker_memory_mb=worker_memory_mb,
        port=8000,
        health_check_path="/health",
        hostnames=("api.example.com",),
        database_pool_size=5,
        database_max_overflow=5,
    )


def _postgresql(
    max_connections: int, *, clients: int = 40, memory_mb: int = 0, standbys: int = 0, primary: bool = True
) -> PostgresqlService:
    return PostgresqlService(
        version=17,
        primary=primary,
        memory_mb=memory_mb,
        max_connections=max_connections,
        reserved_connections=10,
        synchronous_commit=False,
        standbys=standbys,
        clients=clients,
    )


def _pgbouncer(max_client_connections: int, pool_size: int) -> PgbouncerService:
    return PgbouncerService(max_client_connections=max_client_connections, pool_size=pool_size)


def _redis(max_memory_mb: int, *, sentinel: bool = False) -> RedisService:
    return RedisService(max_memory_mb=max_memory_mb, eviction_policy="allkeys-lru", primary=True, sentinel=sentinel)


def _peers(count: int) -> tuple[Peer, ...]:
    return tuple(Peer(f"app-eu-{index}", "app", None, region="eu") for index in range(1, count + 1))


def test_memory_of_a_small_server_that_holds_everything() -> None:
    host = _host("app", 2, cores=1, application=_application(1), postgresql=_postgresql(50), backup=BACKUP)

    assert memory_budget(host) == Budget(
        subject="app-eu-1",
        unit="MiB",
        available=2048,
        used=2018,
        parts=(
            ("operating system", 300 + 2048 // 64),
            ("exporters and logs", 32 + 64 + 2 * 32),
            ("container engine", 128),
            ("nginx", 16 + 16),
            ("application", 200),
            ("backup", 128),
            ("PostgreSQL shared memory", 512 + 16 + 4 + 48),
            ("PostgreSQL connections", 50 * 5),
            ("PostgreSQL sorts and hashes", 3 * 2 * 16),
            ("PostgreSQL maintenance", 64 + 3 * 16),
        ),
    )


def test_memory_of_a_database_node_with_standbys() -> None:
    host = _host(
        "database", 16, cores=8, postgresql=_postgresql(200, standbys=2), pgbouncer=_pgbouncer(5000, 150), backup=BACKUP, etcd=True
    )

    assert memory_budget(host).parts == (
        ("operating system", 300 + 256),
        ("exporters and logs", 128),
        ("etcd", 128),
        ("backup", 128),
        ("PgBouncer", 16 + 196),
        ("Patroni", 64),
        ("PostgreSQL shared memory", 4096 + 128 + 13 + 48),
        ("PostgreSQL connections", (150 + 37 + 10) * 5),
        ("PostgreSQL sorts and hashes", 17 * 2 * 64),
        ("PostgreSQL maintenance", 512 + 3 * 128),
    )


def test_memory_of_redis_holds_room_to_save_and_the_sentinel() -> None:
    budget = memory_budget(_host("redis", 4, redis=_redis(1024, sentinel=True)))

    assert budget.parts[2:] == (("Redis", 10 + 1536), ("Sentinel", 16))
    assert (budget.used, budget.available) == (2022, 4096)


def test_memory_of_prometheus_grows_with_the_servers_that_it_watches() -> None:
    alone = dict(memory_budget(_host("monitoring", 4, monitoring=MONITORING)).parts)
    watching = dict(memory_budget(_host("monitoring", 4, monitoring=MONITORING, peers=_peers(10))).parts)

    assert (alone["Prometheus"], watching["Prometheus"]) == (272, 432)
    assert {name: alone[name] for name in ("Grafana", "Loki", "Tempo", "Alloy", "Alertmanager")} == {
        "Grafana": 256,
        "Loki": 384,
        "Tempo": 256,
        "Alloy": 192,
        "Alertmanager": 64,
    }


def test_a_kubernetes_node_has_no_nginx_of_its_own() -> None:
    budget = memory_budget(_host("kubernetes-worker", 4, application=_application(4)))

    assert budget.parts == (("operating system", 364), ("exporters and logs", 96), ("k3s agent", 275), ("application", 800))


@pytest.mark.parametrize(
    "host",
    [
        _host("app", 4, application=_application(2), redis=_redis(256), postgresql=_postgresql(100), backup=BACKUP),
        _host(
            "app", 8, cores=4, application=_application(4), redis=_redis(512), postgresql=_postgresql(100), pgbouncer=_pgbouncer(500, 40)
        ),
        _host("app", 8, cores=4, application=_application(4), redis=_redis(256), postgresql=_postgresql(200), backup=BACKUP),
        _host("database", 4, postgresql=_postgresql(100), backup=BACKUP),
        _host("database", 16, cores=8, postgresql=_postgresql(200, standbys=1), backup=BACKUP),
        _host("database", 32, cores=16, postgresql=_postgresql(400, standbys=1), pgbouncer=_pgbouncer(1000, 50), backup=BACKUP, etcd=True),
        _host("redis", 2, redis=_redis(1024)),
        _host("redis", 4, redis=_redis(2048, sentinel=True)),
        _host("monitoring", 2, monitoring=MONITORING, peers=_peers(10)),
        _host("monitoring", 4, monitoring=MONITORING, peers=_peers(40), etcd=True),
        _host("kubernetes-control", 2),
    ],
    ids=lambda host: f"{host.role}-{host.memory_mb}",
)
def test_servers_that_people_run_fit(host: HostSpecification) -> None:
    budget = memory_budget(host)

    assert budget.used == sum(share for _, share in budget.parts)
    assert budget.used <= budget.available


@pytest.mark.parametrize(
    ("host", "largest", "used"),
    [
        (_host("app", 4, application=_application(16, 300)), ("application", 4800), 5468),
        (_host("redis", 4, redis=_redis(4096)), ("Redis", 6154), 6614),
        (
            _host("app", 2, cores=1, application=_application(1), postgresql=_postgresql(500, clients=490)),
            ("PostgreSQL connections", 2500),
            4168,
        ),
        (_host("database", 4, postgresql=_postgresql(100, memory_mb=4096)), ("PostgreSQL rest of its promise", 2191), 4556),
    ],
    ids=["workers", "redis", "connections", "promise"],
)
def test_promises_that_do_not_fit_show(host: HostSpecification, largest: tuple[str, int], used: int) -> None:
    budget = memory_budget(host)

    assert budget.used == used
    assert budget.used > budget.available
    assert max(budget.parts, key=lambda part: part[1]) == largest


def test_a_promise_is_kept_free_as_a_whole_but_more_is_counted_where_it_is_too_small() -> None:
    kept = memory_budget(_host("database", 16, postgresql=_postgresql(100, memory_mb=8192))).parts[2:]
    too_small = memory_budget(_host("database", 16, postgresql=_postgresql(100, memory_mb=256))).parts[2:]

    assert sum(share for _, share in kept) == 8192
    assert sum(share for _, share in too_small) > 256


@pytest.mark.parametrize(("memory_gb", "max_connections"), [(2, 50), (4, 100), (8, 200)])
def test_the_lean_plans_database_servers_fit(memory_gb: int, max_connections: int) -> None:
    host = _host("database", memory_gb, postgresql=_postgresql(max_connections, clients=max_connections), backup=BACKUP)

    assert memory_budget(host).used <= memory_gb * 1024


@pytest.mark.parametrize(
    ("memory_gb", "cores", "workers", "redis_mb", "max_connections"), [(2, 1, 1, 0, 50), (4, 2, 2, 256, 100), (8, 4, 4, 512, 200)]
)
@pytest.mark.parametrize("backup", [None, BACKUP], ids=["no-backup", "backup"])
def test_the_lean_plans_single_servers_fit(
    memory_gb: int, cores: int, workers: int, redis_mb: int, max_connections: int, backup: BackupService | None
) -> None:
    """With a quarter of the whole server for shared buffers, as the plan's table says, and every connection that PostgreSQL accepts."""
    host = _host(
        "app",
        memory_gb,
        cores=cores,
        application=_application(workers),
        redis=_redis(redis_mb) if redis_mb else None,
        postgresql=_postgresql(max_connections, clients=max_connections),
        backup=backup,
    )

    budget = memory_budget(host)
    assert budget.used <= budget.available


@pytest.mark.parametrize(
    ("clients", "pgbouncer", "open_connections"),
    [(40, None, 50), (95, None, 100), (400, _pgbouncer(500, 40), 60), (400, _pgbouncer(500, 80), 100), (400, _pgbouncer(500, 90), 100)],
    ids=["few-clients", "all-that-is-accepted", "pool-and-its-reserve", "pool-and-what-is-left", "pool-alone"],
)
def test_memory_counts_the_connections_that_can_be_opened(clients: int, pgbouncer: PgbouncerService | None, open_connections: int) -> None:
    budget = memory_budget(_host("database", 4, postgresql=_postgresql(100, clients=clients), pgbouncer=pgbouncer))

    assert dict(budget.parts)["PostgreSQL connections"] == open_connections * 5


def test_connections_without_a_pooler() -> None:
    host = _host("database", 4, postgresql=_postgresql(100, clients=60))

    assert connection_budget(host) == [Budget("database-eu-1 PostgreSQL", "connections", 90, 60, (("application", 60),))]


def test_connections_with_a_pooler() -> None:
    host = _host("database", 4, postgresql=_postgresql(100, clients=400), pgbouncer=_pgbouncer(500, 40))

    assert connection_budget(host) == [
        Budget("database-eu-1 PgBouncer", "connections", 500, 400, (("application", 400),)),
        Budget("database-eu-1 PostgreSQL", "connections", 90, 40, (("PgBouncer", 40),)),
    ]


@pytest.mark.parametrize(
    ("clients", "pgbouncer", "overdrawn"),
    [
        (90, None, []),
        (91, None, ["database-eu-1 PostgreSQL"]),
        (500, _pgbouncer(500, 90), []),
        (501, _pgbouncer(500, 90), ["database-eu-1 PgBouncer"]),
        (500, _pgbouncer(500, 91), ["database-eu-1 PostgreSQL"]),
        (501, _pgbouncer(500, 91), ["database-eu-1 PgBouncer", "database-eu-1 PostgreSQL"]),
    ],
)
def test_one_connection_too_many_shows(clients: int, pgbouncer: PgbouncerService | None, overdrawn: list[str]) -> None:
    host = _host("database", 4, postgresql=_postgresql(100, clients=clients), pgbouncer=pgbouncer)

    assert [budget.subject for budget in connection_budget(host) if budget.used > budget.available] == overdrawn


def test_a_server_without_postgresql_has_no_connection_budget() -> None:
    assert connection_budget(_host("redis", 4, redis=_redis(1024))) == []


def test_a_rollout_needs_the_application_twice_and_may_use_swap() -> None:
    host = _host("app", 4, application=_application(3, 150))
    before = memory_budget(host).used

    assert rollout_budget(host) == Budget(
        subject="app-eu-1 rollout",
        unit="MiB",
        available=4096 + SWAP_MB,
        used=before + 450,
        parts=(("services", before), ("second version of the application", 450)),
    )


def test_a_second_version_that_does_not_fit_shows() -> None:
    host = _host("app", 4, application=_application(16, 200))
    budget = rollout_budget(host)

    assert memory_budget(host).used <= host.memory_mb
    assert budget is not None
    assert budget.used > budget.available


@pytest.mark.parametrize(
    "host", [_host("database", 4, postgresql=_postgresql(100)), _host("kubernetes-worker", 4, application=_application(4))]
)
def test_servers_without_a_rollout_have_no_budget_for_one(host: HostSpecification) -> None:
    assert rollout_budget(host) is None
