"""Which servers a region has: names, numbers, addresses, volumes, the jump host, and whom the firewalls let in."""

from typing import Any

import pytest

from infra.roles import has_volume, jump_host, rules_of, servers_of
from infra.settings import Region
from tests.support.stack_config import read

STORE: dict[str, Any] = {"nodes": 2, "server_type": "cx33", "volume_size_gb": 10}
MONITORING: dict[str, Any] = {"servers": 1, "server_type": "cx23"}
KUBERNETES: dict[str, Any] = {
    "enabled": True,
    "control_nodes": 3,
    "control_server_type": "cx23",
    "pools": [
        {"name": "web", "server_type": "cx33", "nodes_min": 2, "nodes_max": 6},
        {"name": "jobs", "server_type": "cx43", "nodes_min": 1, "nodes_max": 2},
    ],
}
DIGITALOCEAN: dict[str, Any] = {
    "regions": [{"name": "eu", "provider": "digitalocean", "location": "fra1"}],
    "app": {"servers": 2, "server_type": "s-2vcpu-4gb"},
}


def _region(**changes: Any) -> Region:
    return read(**changes).regions[0]


def _servers(**changes: Any) -> list[tuple[str, str, int, str, str | None]]:
    return [
        (server.name, server.role, server.number, server.server_type, server.private_address) for server in servers_of(_region(**changes))
    ]


def test_servers_are_counted_from_one_in_each_role_and_come_in_the_order_of_the_roles() -> None:
    assert _servers(app={"servers": 2, "server_type": "cx33"}, database=STORE, redis={**STORE, "nodes": 1}, monitoring=MONITORING) == [
        ("app-eu-1", "app", 1, "cx33", "10.0.1.10"),
        ("app-eu-2", "app", 2, "cx33", "10.0.1.11"),
        ("database-eu-1", "database", 1, "cx33", "10.0.2.10"),
        ("database-eu-2", "database", 2, "cx33", "10.0.2.11"),
        ("redis-eu-1", "redis", 1, "cx33", "10.0.3.10"),
        ("monitoring-eu-1", "monitoring", 1, "cx23", "10.0.4.10"),
    ]


def test_stores_on_the_application_server_have_no_servers_of_their_own() -> None:
    shared = {"placement": "app_server", "nodes": 1}
    app = {"servers": 1, "server_type": "cx33", "data_volume_size_gb": 40}
    assert [name for name, *_ in _servers(app=app, database=shared, redis=shared)] == ["app-eu-1"]


def test_addresses_follow_the_network_of_the_region() -> None:
    settings = read(regions=[{"name": "eu", "location": "nbg1"}, {"name": "north", "location": "hel1"}])
    found = [(server.name, server.private_address) for region in settings.regions for server in servers_of(region)]
    assert found == [("app-eu-1", "10.0.1.10"), ("app-north-1", "10.1.1.10")]


def test_digitalocean_gives_its_own_addresses() -> None:
    assert [(name, address) for name, *_, address in _servers(**DIGITALOCEAN)] == [("app-eu-1", None), ("app-eu-2", None)]


def test_kubernetes_nodes_are_named_by_pool_and_a_pool_never_moves_the_next_ones_addresses() -> None:
    region = _region(app={"servers": 0}, kubernetes=KUBERNETES)
    assert [(server.name, server.role, server.pool, server.number, server.private_address) for server in servers_of(region)] == [
        ("kubernetes-eu-control-1", "kubernetes-control", "control", 1, "10.0.6.10"),
        ("kubernetes-eu-control-2", "kubernetes-control", "control", 2, "10.0.6.11"),
        ("kubernetes-eu-control-3", "kubernetes-control", "control", 3, "10.0.6.12"),
        ("kubernetes-eu-web-1", "kubernetes-worker", "web", 1, "10.0.8.10"),
        ("kubernetes-eu-web-2", "kubernetes-worker", "web", 2, "10.0.8.11"),
        ("kubernetes-eu-jobs-1", "kubernetes-worker", "jobs", 1, "10.0.8.110"),
    ]


def test_managed_kubernetes_has_no_servers_of_ours() -> None:
    pools = [{"name": "web", "server_type": "s-2vcpu-4gb", "nodes_min": 2, "nodes_max": 6}]
    assert _servers(**{**DIGITALOCEAN, "app": {"servers": 0}}, kubernetes={"enabled": True, "pools": pools}) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"monitoring": MONITORING, "kubernetes": KUBERNETES}, "monitoring-eu-1"),
        ({"kubernetes": KUBERNETES}, "app-eu-1"),
        ({"app": {"servers": 0}, "kubernetes": KUBERNETES}, "kubernetes-eu-control-1"),
        ({"app": {"servers": 0}, "database": STORE}, None),
    ],
)
def test_administrators_come_through_monitoring_else_the_application_else_a_control_node(changes: dict[str, Any], name: str | None) -> None:
    assert jump_host(_region(**changes)) == name


def test_only_the_first_application_server_and_servers_of_stores_have_volumes() -> None:
    region = _region(
        app={"servers": 2, "server_type": "cx33", "data_volume_size_gb": 40},
        database=STORE,
        redis=STORE,
        monitoring=MONITORING,
        kubernetes=KUBERNETES,
    )
    assert [server.name for server in servers_of(region) if has_volume(region, server)] == [
        "app-eu-1",
        "database-eu-1",
        "database-eu-2",
        "redis-eu-1",
        "redis-eu-2",
    ]


@pytest.mark.parametrize(("size", "found"), [(0, False), (10, True)])
def test_monitoring_has_a_volume_when_one_is_bought(size: int, found: bool) -> None:
    region = _region(monitoring={**MONITORING, "volume_size_gb": size})
    monitoring = next(server for server in servers_of(region) if server.role == "monitoring")
    assert has_volume(region, monitoring) is found


def _sources(role: str, port: str, **changes: Any) -> set[str]:
    settings = read(**changes)
    rules = rules_of(settings, settings.regions[0], role)
    return {source for rule in rules if rule.port == port and rule.protocol == "tcp" for source in rule.sources}


def test_ssh_is_open_to_administrators_on_the_jump_host_alone() -> None:
    for role, sources in (("monitoring", {"10.0.0.0/12", "198.51.100.7/32"}), ("app", {"10.0.0.0/12"})):
        assert _sources(role, "22", monitoring=MONITORING) == sources
    assert _sources("app", "22") == {"10.0.0.0/12", "198.51.100.7/32"}


def test_web_traffic_comes_from_everywhere_from_cloudflare_or_from_the_load_balancer() -> None:
    assert {"0.0.0.0/0", "::/0"} <= _sources("app", "443", edge={"enabled": False, "tls": False})
    behind_cloudflare = _sources("app", "443")
    assert "104.16.0.0/13" in behind_cloudflare
    assert "0.0.0.0/0" not in behind_cloudflare
    assert _sources("app", "443", load_balancer={"enabled": True, "type": "lb11"}) == {"10.0.0.0/12"}


@pytest.mark.parametrize(("elsewhere", "open_"), [("app", True), ("kubernetes", False)])
def test_wireguard_is_open_where_another_region_has_servers_that_converge(elsewhere: str, open_: bool) -> None:
    app = {"servers": 1, "server_type": "cx33"}
    other = {"app": app} if elsewhere == "app" else {"app": {"servers": 0}, "kubernetes": KUBERNETES}
    settings = read(regions=[{"name": "eu", "location": "nbg1", "app": app}, {"name": "north", "location": "hel1", **other}])

    def ports(role: str) -> set[str]:
        return {rule.port for rule in rules_of(settings, settings.regions[0], role) if rule.protocol == "udp"}

    assert ("51820" in ports("app")) is open_
    assert "51820" not in ports("kubernetes-worker")


def test_stores_are_reached_from_the_network_of_the_stack() -> None:
    assert _sources("redis", "6379", network={"cidr": "10.16.0.0/12"}, redis=STORE) == {"10.16.0.0/12"}
