"""What each server of a stack is told about itself: who runs what, who is primary, who votes, and what is promised."""

from typing import Any

import pytest

from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from tests.support.stack_config import read

APP: dict[str, Any] = {"servers": 2, "server_type": "cx33", "data_volume_size_gb": 40}
STORE: dict[str, Any] = {"nodes": 1, "server_type": "cx33", "volume_size_gb": 10}
SHARED: dict[str, Any] = {"placement": "app_server", "nodes": 1}
MONITORING: dict[str, Any] = {"servers": 1, "server_type": "cx23"}
TWO_REGIONS: list[dict[str, Any]] = [{"name": "eu", "location": "nbg1"}, {"name": "north", "location": "hel1"}]
BACKUP: dict[str, Any] = {
    "backup": {"enabled": True, "bucket": "backups", "retention_days": 30, "recovery_point_minutes": 10},
    "edge": {"buckets": [{"name": "backups", "token": "write"}]},
}


def _hosts(**changes: Any) -> dict[str, HostSpecification]:
    return {host.name: host for host in host_specifications(read(**changes))}


def _running(what: str, **changes: Any) -> list[str]:
    return [name for name, host in _hosts(**changes).items() if getattr(host, what)]


def test_a_server_knows_its_size_its_place_and_its_networks() -> None:
    host = _hosts(app=APP, monitoring=MONITORING)["app-eu-1"]
    assert (host.role, host.provider, host.location, host.region) == ("app", "hetzner", "nbg1", "eu")
    assert (host.cores, host.memory_mb, host.disk_gb, host.architecture) == (4, 8192, 80, "x86")
    assert (host.private_address, host.jump_host, host.data_mount) == ("10.0.1.10", "monitoring-eu-1", "/srv/data")


def test_a_server_without_a_volume_has_no_mount() -> None:
    assert _hosts(app=APP)["app-eu-2"].data_mount is None


def test_every_other_server_of_every_region_is_a_peer() -> None:
    peers = _hosts(regions=TWO_REGIONS, app={"servers": 1, "server_type": "cx33"}, redis=STORE)["redis-eu-1"].peers
    assert [(peer.name, peer.role, peer.address, peer.region) for peer in peers] == [
        ("app-eu-1", "app", "10.0.1.10", "eu"),
        ("app-north-1", "app", "10.1.1.10", "north"),
        ("redis-north-1", "redis", "10.1.3.10", "north"),
    ]


def test_digitalocean_assigns_the_private_addresses() -> None:
    regions = [{"name": "eu", "provider": "digitalocean", "location": "fra1"}]
    hosts = _hosts(regions=regions, app={"servers": 2, "server_type": "s-2vcpu-4gb"})
    assert [(host.private_address, [peer.address for peer in host.peers]) for host in hosts.values()] == [(None, [None])] * 2


def test_administrators_reach_the_jump_host_directly_and_the_others_through_it() -> None:
    jumps = {name: host.jump_host for name, host in _hosts(app=APP, redis=STORE).items()}
    assert jumps == {"app-eu-1": None, "app-eu-2": "app-eu-1", "redis-eu-1": "app-eu-1"}


def test_servers_of_stores_are_private() -> None:
    public = {name: host.public for name, host in _hosts(app=APP, database=STORE, redis=STORE, monitoring=MONITORING).items()}
    assert public == {"app-eu-1": True, "app-eu-2": True, "database-eu-1": False, "redis-eu-1": False, "monitoring-eu-1": True}


def test_the_rules_are_those_of_the_role() -> None:
    hosts = _hosts(app=APP, redis=STORE)
    assert "26379" in {rule.port for rule in hosts["redis-eu-1"].rules}
    assert "26379" not in {rule.port for rule in hosts["app-eu-1"].rules}


@pytest.mark.parametrize("store", ["postgresql", "redis"])
@pytest.mark.parametrize(
    ("placement", "names"),
    [
        (SHARED, ["app-eu-1"]),
        ({**STORE, "nodes": 2}, None),
        ({"nodes": 0}, []),
        ({"placement": "app_server", "nodes": 0}, []),
    ],
)
def test_a_store_runs_on_its_own_servers_or_on_the_first_application_server(
    store: str, placement: dict[str, Any], names: list[str] | None
) -> None:
    key = {"postgresql": "database", "redis": "redis"}[store]
    assert _running(store, app=APP, **{key: placement}) == ([f"{key}-eu-1", f"{key}-eu-2"] if names is None else names)


@pytest.mark.parametrize(
    ("monitoring", "names"),
    [({"placement": "app_server"}, ["app-eu-1"]), ({}, []), ({**MONITORING, "placement": "dedicated"}, ["monitoring-eu-1"])],
)
def test_monitoring_runs_on_its_own_server_or_beside_the_application(monitoring: dict[str, Any], names: list[str]) -> None:
    assert _running("monitoring", app={**APP, "servers": 1}, monitoring=monitoring) == names


def test_monitoring_beside_the_application_watches_it_and_its_stores() -> None:
    host = _hosts(app={**APP, "servers": 1}, database=SHARED, redis=SHARED, monitoring={"placement": "app_server", "retention_days": 7})
    monitoring = host["app-eu-1"].monitoring
    assert monitoring
    assert (monitoring.retention_days, monitoring.probe_urls, monitoring.primary_region) == (7, ("https://api.example.com/health",), "eu")


def test_the_application_runs_on_application_servers_and_kubernetes_workers() -> None:
    pools = [{"name": "web", "server_type": "cx33", "nodes_min": 2, "nodes_max": 6}]
    kubernetes = {"enabled": True, "control_server_type": "cx23", "pools": pools}
    names = ["app-eu-1", "app-eu-2", "kubernetes-eu-web-1", "kubernetes-eu-web-2"]
    assert _running("application", app=APP, database=STORE, redis=STORE, monitoring=MONITORING, kubernetes=kubernetes) == names


def test_the_application_has_a_worker_for_each_core_unless_told() -> None:
    for workers, resolved in ((0, 4), (3, 3)):
        application = _hosts(app={**APP, "workers": workers})["app-eu-1"].application
        assert application
        assert application.workers == resolved


def test_the_settings_of_the_application_arrive() -> None:
    settings = {
        "worker_concurrency": 50,
        "worker_memory_mb": 300,
        "port": 9000,
        "health_check_path": "/ready",
        "database_pool_size": 4,
        "database_max_overflow": 6,
    }
    application = _hosts(app={**APP, **settings})["app-eu-1"].application
    assert {name: getattr(application, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("edge", "hostnames"),
    [({"api_subdomain": "backend"}, ("backend.example.com",)), ({"api_subdomain": "api", "enabled": False, "tls": False}, ())],
)
def test_the_application_is_known_by_name_at_the_edge_alone(edge: dict[str, Any], hostnames: tuple[str, ...]) -> None:
    application = _hosts(app=APP, edge=edge)["app-eu-1"].application
    assert application
    assert application.hostnames == hostnames


@pytest.mark.parametrize("store", ["postgresql", "redis"])
def test_the_first_node_of_the_first_region_alone_is_the_primary(store: str) -> None:
    two = {**STORE, "nodes": 2}
    hosts = _hosts(regions=TWO_REGIONS, app=APP, database=two, redis=two)
    assert [name for name, host in hosts.items() if getattr(host, store) and getattr(host, store).primary] == [
        f"{'database' if store == 'postgresql' else 'redis'}-eu-1"
    ]


def test_the_settings_of_postgresql_arrive() -> None:
    settings = {"version": 16, "memory_mb": 2048, "max_connections": 150, "reserved_connections": 7, "synchronous_commit": True}
    postgresql = _hosts(database={**STORE, "nodes": 3, **settings})["database-eu-2"].postgresql
    assert postgresql
    assert {name: getattr(postgresql, name) for name in settings} == settings
    assert postgresql.standbys == 2


@pytest.mark.parametrize(("enabled", "names"), [(True, ["database-eu-1"]), (False, [])])
def test_pgbouncer_stands_before_every_postgresql_or_none(enabled: bool, names: list[str]) -> None:
    pooler = {"enabled": enabled, "max_client_connections": 500, "pool_size": 20}
    hosts = _hosts(app=APP, database={**STORE, "pooler": pooler})
    found = {name: host.pgbouncer for name, host in hosts.items() if host.pgbouncer}
    assert list(found) == names
    assert [(one.max_client_connections, one.pool_size) for one in found.values()] == [(500, 20)] * len(names)


def _clients(**changes: Any) -> int:
    postgresql = _hosts(database=STORE, **changes)["database-eu-1"].postgresql
    assert postgresql
    return postgresql.clients


def test_the_clients_of_the_database_are_all_connections_of_all_workers_with_every_pool_scaled_up() -> None:
    pools = [
        {"name": "web", "server_type": "cx33", "nodes_min": 2, "nodes_max": 6},
        {"name": "jobs", "server_type": "cx43", "nodes_min": 1, "nodes_max": 2},
    ]
    kubernetes = {"enabled": True, "control_server_type": "cx23", "pools": pools}
    each = {"database_pool_size": 4, "database_max_overflow": 6}
    assert _clients(app={**APP, **each}) == 2 * 4 * 10
    assert _clients(app={**APP, **each, "workers": 3}) == 2 * 3 * 10
    assert _clients(app={**APP, **each}, kubernetes=kubernetes) == (2 * 4 + 6 * 4 + 2 * 8) * 10
    assert _clients(app={**each, "servers": 0}, kubernetes=kubernetes) == (6 * 4 + 2 * 8) * 10
    assert _clients(app={**APP, **each}, kubernetes={**kubernetes, "enabled": False}) == 2 * 4 * 10


def test_the_settings_of_redis_arrive() -> None:
    redis = _hosts(redis={**STORE, "nodes": 3, "max_memory_mb": 512, "eviction_policy": "noeviction", "sentinel": True})["redis-eu-2"].redis
    assert redis
    assert (redis.max_memory_mb, redis.eviction_policy, redis.sentinel) == (512, "noeviction", True)


def test_sentinels_vote_in_the_region_of_the_primary_alone() -> None:
    hosts = _hosts(regions=TWO_REGIONS, app=APP, redis={**STORE, "nodes": 3, "sentinel": True})
    assert [name for name, host in hosts.items() if host.redis and host.redis.sentinel] == ["redis-eu-1", "redis-eu-2", "redis-eu-3"]


def test_monitoring_runs_on_its_server_with_its_settings() -> None:
    hosts = _hosts(app=APP, monitoring={**MONITORING, "retention_days": 7, "thresholds": {"cpu_warning_percent": 60}})
    assert [name for name, host in hosts.items() if host.monitoring] == ["monitoring-eu-1"]
    monitoring = hosts["monitoring-eu-1"].monitoring
    assert monitoring
    assert monitoring.retention_days == 7
    assert monitoring.thresholds.cpu_warning_percent == 60


@pytest.mark.parametrize(
    ("changes", "voters"),
    [
        ({"database": STORE}, []),
        ({"database": SHARED}, []),
        ({"database": {**STORE, "nodes": 2}}, ["app-eu-1", "database-eu-1", "database-eu-2"]),
        ({"database": {**STORE, "nodes": 2}, "monitoring": MONITORING}, ["database-eu-1", "database-eu-2", "monitoring-eu-1"]),
        ({"database": {**STORE, "nodes": 3}, "monitoring": MONITORING}, ["database-eu-1", "database-eu-2", "database-eu-3"]),
    ],
)
def test_an_odd_number_votes_on_the_primary_and_a_witness_only_beside_two_nodes(changes: dict[str, Any], voters: list[str]) -> None:
    assert _running("etcd", app=APP, **changes) == voters


def test_without_backups_nothing_is_promised() -> None:
    assert _running("backup", app=APP, database=STORE, redis=STORE) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"database": {**STORE, "nodes": 2}}, ["database-eu-1", "database-eu-2"]),
        ({"database": SHARED, "redis": SHARED}, ["app-eu-1"]),
        ({"redis": {**STORE, "nodes": 2}}, ["redis-eu-1", "redis-eu-2"]),
        ({"database": STORE, "redis": SHARED}, ["app-eu-1", "database-eu-1"]),
    ],
)
def test_servers_with_data_are_backed_up(changes: dict[str, Any], names: list[str]) -> None:
    assert _running("backup", app=APP, monitoring=MONITORING, **changes, **BACKUP) == names


def test_redis_is_backed_up_in_the_region_of_the_primary_alone() -> None:
    assert _running("backup", regions=TWO_REGIONS, app=APP, redis={**STORE, "nodes": 2}, **BACKUP) == ["redis-eu-1", "redis-eu-2"]


def test_a_backup_knows_its_bucket_and_its_promises() -> None:
    backup = _hosts(app=APP, database=SHARED, **BACKUP)["app-eu-1"].backup
    assert backup
    assert backup.bucket == "shop-backups"
    assert (backup.full_every_hours, backup.incremental_every_hours, backup.retention_days) == (24, 6, 30)
    assert (backup.recovery_point_minutes, backup.recovery_time_minutes) == (10, 60)


def test_the_databases_of_other_regions_follow_the_first_one_and_are_as_large_as_it_needs() -> None:
    first = {"database": {**STORE, "nodes": 2, "server_type": "cx43", "max_connections": 300}}
    regions = [{**TWO_REGIONS[0], **first}, {**TWO_REGIONS[1], "database": {**STORE, "max_connections": 100}}]
    hosts = _hosts(regions=regions, app=APP)
    primary, copy = hosts["database-eu-1"].postgresql, hosts["database-north-1"].postgresql

    assert primary
    assert copy
    assert (primary.follows, primary.max_connections, primary.primary_cores) == ((), 300, 0)
    assert copy.follows == ("database-eu-1", "database-eu-2")
    assert (copy.max_connections, copy.primary_cores) == (300, hosts["database-eu-1"].cores)
    assert hosts["database-north-1"].cores < hosts["database-eu-1"].cores


def test_a_larger_copy_keeps_its_own_number_of_connections() -> None:
    regions = [
        {**TWO_REGIONS[0], "database": {**STORE, "max_connections": 50}},
        {**TWO_REGIONS[1], "database": {**STORE, "max_connections": 90}},
    ]
    copy = _hosts(regions=regions, app=APP)["database-north-1"].postgresql

    assert copy
    assert copy.max_connections == 90
