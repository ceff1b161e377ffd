"""The tuned values: the growth plan's tables exactly, and for every other size what must hold whatever the size is."""

import dataclasses
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts import tuning
from hosts.budgets import memory_budget
from hosts.specification import (
    ApplicationService,
    HostSpecification,
    PgbouncerService,
    PostgresqlService,
    RedisService,
    Role,
)
from hosts.tuning import settings, tuned
from infra.catalog import ServerType, server_types
from infra.host_specifications import host_specifications
from infra.reading import read_settings
from infra.stack_file import engine_config, read_stack_file

ROADMAPS = Path(__file__).resolve().parents[2] / "roadmaps"
SIZES = [size for provider in ("hetzner", "digitalocean") for size in server_types(provider).values()]
DATABASE_SIZES = [size for size in SIZES if size.memory_mb >= 2048]
"""Sizes on which a database may run: 1 GiB holds Debian and PostgreSQL's defaults, and nothing to tune."""

INTEGERS = ("max_connections", "max_parallel_workers", "max_parallel_workers_per_gather", "max_worker_processes")
MEGABYTES = (
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "max_wal_size",
    "min_wal_size",
    "max_slot_wal_keep_size",
)

sizes = st.builds(
    lambda cores, memory_mb: (cores, memory_mb), st.integers(min_value=1, max_value=64), st.integers(min_value=2048, max_value=400_000)
)


def _postgresql(memory_mb: int, version: int = 17) -> PostgresqlService:
    connections = tuning.max_connections(memory_mb)
    return PostgresqlService(
        version=version,
        primary=True,
        memory_mb=0,
        max_connections=connections,
        reserved_connections=10,
        synchronous_commit=False,
        standbys=0,
        clients=connections - 10,
    )


def _host(memory_mb: int, cores: int, role: Role = "database") -> HostSpecification:
    return HostSpecification(
        name="database-eu-1",
        role=role,
        provider="hetzner",
        location="nbg1",
        region="eu",
        cores=cores,
        memory_mb=memory_mb,
        disk_gb=80,
        architecture="x86",
        private_address="10.0.1.1",
        public=False,
        jump_host=None,
        data_mount="/srv/data",
        postgresql=_postgresql(memory_mb),
    )


def _with_pgbouncer(pool_size: int, max_connections: int = 100) -> HostSpecification:
    host = _host(8192, 4)
    assert host.postgresql
    return dataclasses.replace(
        host,
        postgresql=dataclasses.replace(host.postgresql, max_connections=max_connections),
        pgbouncer=PgbouncerService(max_client_connections=1000, pool_size=pool_size),
    )


def _numbers(host: HostSpecification) -> dict[str, int]:
    values = tuned(tuning.POSTGRESQL, host)
    return {name: int(values[name].removesuffix("MB")) for name in (*INTEGERS, *MEGABYTES)}


def _of_plan(phase: str, role: Role) -> HostSpecification:
    """The server of growth plan 001 on which PostgreSQL, or the application, runs in a phase."""
    config, _ = engine_config(read_stack_file(ROADMAPS / "lean" / f"Pulumi.{phase}.yaml"))
    read, _ = read_settings(config, source=phase, require_user_values=False)
    return next(host for host in host_specifications(read) if host.role == role)


@pytest.mark.parametrize(
    ("phase", "role", "shared_buffers", "effective_cache_size", "max_connections", "work_mem"),
    [
        ("mvp", "app", "512MB", "1536MB", "50", "16MB"),
        ("growth", "app", "1024MB", "3072MB", "100", "32MB"),
        ("scale", "app", "2048MB", "6144MB", "200", "64MB"),
        ("phase2", "database", "2048MB", "6144MB", "200", "64MB"),
    ],
)
def test_the_plans_postgresql_table(
    phase: str, role: Role, shared_buffers: str, effective_cache_size: str, max_connections: str, work_mem: str
) -> None:
    """Growth plan 001: 2 GB, 4 GB and 8 GB or dedicated; work_mem is its own from 4 GB on."""
    host = _of_plan(phase, role)
    values = tuned(tuning.POSTGRESQL, host)

    assert values["shared_buffers"] == shared_buffers
    assert values["effective_cache_size"] == effective_cache_size
    assert values["work_mem"] == work_mem
    assert values["max_connections"] == max_connections == str(tuning.max_connections(host.memory_mb))


@pytest.mark.parametrize(
    ("phase", "cores", "workers", "pool_size", "max_overflow"),
    [("mvp", 1, "1", "8", "15"), ("growth", 2, "2", "10", "20"), ("scale", 4, "4", "15", "30")],
)
def test_the_plans_worker_and_pool_tables(phase: str, cores: int, workers: str, pool_size: str, max_overflow: str) -> None:
    host = _of_plan(phase, "app")

    assert host.cores == cores
    assert tuned(tuning.UVICORN, host)["workers"] == workers
    assert tuned(tuning.SQLALCHEMY, host) == {
        "pool_size": pool_size,
        "max_overflow": max_overflow,
        "pool_pre_ping": "true",
        "pool_recycle": "300",
        "pool_timeout": "30",
    }


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_the_plans_concurrency_table(cores: int) -> None:
    application = ApplicationService(
        workers=cores,
        worker_concurrency=100,
        worker_memory_mb=200,
        port=8000,
        health_check_path="/health",
        hostnames=(),
        database_pool_size=10,
        database_max_overflow=20,
    )
    values = tuned(tuning.UVICORN, dataclasses.replace(_host(2048 * cores, cores, "app"), application=application))

    assert values["backlog"] == "2048"
    assert int(values["workers"]) * int(values["limit_concurrency"]) == 100 * cores


@pytest.mark.parametrize("size", DATABASE_SIZES, ids=lambda size: size.name)
def test_a_database_fits_on_every_size_that_is_sold(size: ServerType) -> None:
    budget = memory_budget(_host(size.memory_mb, size.cores))

    assert budget.used <= budget.available


@pytest.mark.parametrize("size", DATABASE_SIZES, ids=lambda size: size.name)
def test_huge_pages_leave_most_of_the_memory(size: ServerType) -> None:
    host = _host(size.memory_mb, size.cores)

    assert tuning.shared_buffers_mb(host) < tuning.huge_pages(host) * 2 < size.memory_mb * 35 // 100


def test_values_grow_with_every_size_that_is_sold() -> None:
    ordered = sorted({(size.memory_mb, size.cores) for size in SIZES})
    for (memory_mb, cores), (more_memory_mb, more_cores) in itertools.pairwise(ordered):
        smaller, larger = _numbers(_host(memory_mb, cores)), _numbers(_host(more_memory_mb, max(cores, more_cores)))
        assert all(smaller[name] <= larger[name] for name in smaller), (memory_mb, more_memory_mb)


@given(sizes, sizes)
def test_values_grow_with_memory_and_cores(one: tuple[int, int], other: tuple[int, int]) -> None:
    cores, memory_mb = (min(pair) for pair in zip(one, other, strict=True))
    more_cores, more_memory_mb = (max(pair) for pair in zip(one, other, strict=True))
    smaller, larger = _numbers(_host(memory_mb, cores)), _numbers(_host(more_memory_mb, more_cores))

    assert all(smaller[name] <= larger[name] for name in smaller)


@given(sizes)
def test_what_postgresql_reserves_stays_below_the_memory(size: tuple[int, int]) -> None:
    cores, memory_mb = size
    host = _host(memory_mb, cores)
    values = _numbers(host)

    assert tuning.shared_memory_mb(host) + values["max_connections"] * 5 < memory_mb
    assert values["effective_cache_size"] < memory_mb
    assert values["min_wal_size"] < values["max_wal_size"] < values["max_slot_wal_keep_size"]
    assert values["max_parallel_workers_per_gather"] <= values["max_parallel_workers"] <= values["max_worker_processes"]


@pytest.mark.parametrize(
    ("shared_buffers_mb", "connections", "measured_mb"),
    [(128, 100, 158), (512, 50, 551), (512, 1000, 595), (1024, 100, 1081), (2048, 200, 2142), (8192, 400, 8452), (49152, 5000, 50541)],
)
def test_shared_memory_covers_what_postgresql_17_says_it_needs(shared_buffers_mb: int, connections: int, measured_mb: int) -> None:
    """`postgres -C shared_memory_size` of 17.11 with pg_stat_statements and 16 MB of wal_buffers."""
    host = _host(4 * shared_buffers_mb, 4)
    assert host.postgresql
    host = dataclasses.replace(host, postgresql=dataclasses.replace(host.postgresql, max_connections=connections))

    assert measured_mb < tuning.shared_memory_mb(host) < measured_mb * 105 // 100 + 128


def test_huge_pages_only_where_postgresql_is_alone() -> None:
    database, shared = _host(8192, 4), _host(8192, 4, "app")

    assert tuned(tuning.SYSCTL, database)["vm.nr_hugepages"] == str((2048 + 64 + 13 + 48 + 1) // 2)
    assert "vm.nr_hugepages" not in tuned(tuning.SYSCTL, shared)
    assert "vm.nr_hugepages" not in tuned(tuning.SYSCTL, dataclasses.replace(database, postgresql=None))


def test_overcommit_follows_what_runs_there() -> None:
    redis = RedisService(max_memory_mb=256, eviction_policy="allkeys-lru", primary=True, sentinel=False)
    database, shared = _host(8192, 4), _host(8192, 4, "app")

    assert (tuned(tuning.SYSCTL, database)["vm.overcommit_memory"], tuned(tuning.SYSCTL, database)["vm.overcommit_ratio"]) == ("2", "90")
    assert tuned(tuning.SYSCTL, shared)["vm.overcommit_memory"] == "0"
    assert tuned(tuning.SYSCTL, dataclasses.replace(shared, redis=redis))["vm.overcommit_memory"] == "1"
    assert "vm.overcommit_ratio" not in tuned(tuning.SYSCTL, shared)


def test_a_promise_takes_the_place_of_the_servers_memory() -> None:
    host = _host(32768, 8)
    assert host.postgresql
    promised = dataclasses.replace(host, postgresql=dataclasses.replace(host.postgresql, memory_mb=4096))

    assert (tuning.shared_buffers_mb(promised), tuning.effective_cache_size_mb(promised), tuning.work_mem_mb(promised)) == (1024, 3072, 32)


@pytest.mark.parametrize(("version", "superusers", "monitoring"), [(17, "3", "7"), (16, "3", "7"), (15, "10", None)])
def test_reserved_connections_are_reserved_in_every_version(version: int, superusers: str, monitoring: str | None) -> None:
    host = dataclasses.replace(_host(4096, 2), postgresql=_postgresql(4096, version))
    values = tuned(tuning.POSTGRESQL, host)

    assert (values["superuser_reserved_connections"], values.get("reserved_connections")) == (superusers, monitoring)


def test_old_versions_compress_the_wal_their_own_way() -> None:
    host = dataclasses.replace(_host(4096, 2), postgresql=_postgresql(4096, 14))

    assert tuned(tuning.POSTGRESQL, host)["wal_compression"] == "on"


@pytest.mark.parametrize(("pool_size", "reserve"), [(40, 10), (80, 10), (85, 5), (90, 0), (95, 0)])
def test_pgbouncers_reserve_never_takes_what_postgresql_reserves(pool_size: int, reserve: int) -> None:
    values = tuned(tuning.PGBOUNCER, _with_pgbouncer(pool_size))

    assert values["reserve_pool_size"] == str(reserve)
    assert values["max_db_connections"] == "90"


def test_open_files_cover_every_connection() -> None:
    limits = tuning.open_files(_with_pgbouncer(40))

    assert limits == {"postgresql": 8192, "pgbouncer": 65_536}


@pytest.mark.parametrize("table", [tuning.POSTGRESQL, tuning.SYSCTL], ids=["postgresql", "sysctl"])
def test_every_setting_has_a_reason_and_a_source(table: tuple[tuning.Rule, ...]) -> None:
    rows = settings(table, _host(4096, 2))

    assert all(row.why and row.source for row in rows)
    assert len({row.name for row in rows}) == len(rows)


def test_a_value_of_a_service_that_is_not_there_is_refused() -> None:
    host = dataclasses.replace(_host(4096, 2), postgresql=None)

    for table, service in (
        (tuning.POSTGRESQL, "PostgreSQL"),
        (tuning.PGBOUNCER, "PgBouncer"),
        (tuning.UVICORN, "application"),
        (tuning.REDIS, "Redis"),
    ):
        with pytest.raises(ValueError, match=f"^database-eu-1: no {service} on this server; allowed: servers with it$"):
            tuned(table, host)
