"""Firewalls: exactly what must pass, from exactly where, and no store that the public can reach."""

import ipaddress
import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hosts import reachability
from hosts.reachability import (
    ADMINS,
    CLOUDFLARE_CIDRS,
    EDGE,
    EVERYWHERE,
    PRIVATE,
    ROLES,
    STORE_PORTS,
    Flow,
    ReachabilityError,
    Rule,
    firewall_rules,
    flows,
)

NETWORK = "10.0.0.0/12"
ADMIN = "198.51.100.7/32"
SITUATIONS = [
    dict(zip(("jump_host", "behind_cloudflare", "behind_load_balancer", "other_regions"), values, strict=True))
    for values in itertools.product((False, True), repeat=4)
]


def _rules(role: str, **changes: Any) -> tuple[Rule, ...]:
    situation = {"jump_host": False, "behind_cloudflare": True, "behind_load_balancer": False}
    return firewall_rules(role, **({"private_cidrs": [NETWORK], "admin_cidrs": [ADMIN]} | situation | changes))


def _public(rules: tuple[Rule, ...]) -> set[tuple[str, str, tuple[str, ...]]]:
    """What is open to more than the private network: protocol, port, sources."""
    return {(rule.protocol, rule.port, rule.sources) for rule in rules if rule.sources != (NETWORK,)}


def test_a_monitoring_server_takes_journals_and_traces_and_asks_for_everything_else_itself() -> None:
    assert [(rule.protocol, rule.port) for rule in _rules("monitoring")] == [
        ("icmp", ""),
        ("tcp", "22"),
        ("tcp", "9100"),
        ("tcp", "19532"),
        ("tcp", "4317-4318"),
        ("tcp", "2379-2380"),
    ]


@pytest.mark.parametrize("role", ROLES)
def test_wireguard_is_open_to_the_internet_only_with_servers_in_other_regions(role: str) -> None:
    alone, linked = _rules(role), _rules(role, other_regions=True)

    assert set(linked) - set(alone) == {Rule("WireGuard between regions", "udp", "51820", ("::/0",))}
    assert not any("51820" in rule.port for rule in alone)


def test_request_metrics_are_reached_over_the_private_network_alone() -> None:
    assert Rule("request metrics", "tcp", "3903", (NETWORK,)) in _rules("app")


def test_a_database_is_reached_over_the_private_network_alone() -> None:
    assert [(rule.protocol, rule.port) for rule in _rules("database")] == [
        ("icmp", ""),
        ("tcp", "22"),
        ("tcp", "9100"),
        ("tcp", "9187"),
        ("tcp", "9127"),
        ("tcp", "5432"),
        ("tcp", "6432"),
        ("tcp", "8008"),
        ("tcp", "2379-2380"),
    ]
    assert _public(_rules("database")) == set()


def test_redis_is_reached_over_the_private_network_alone() -> None:
    assert [(rule.protocol, rule.port) for rule in _rules("redis")] == [
        ("icmp", ""),
        ("tcp", "22"),
        ("tcp", "9100"),
        ("tcp", "9121"),
        ("tcp", "6379"),
        ("tcp", "26379"),
    ]
    assert _public(_rules("redis")) == set()


@pytest.mark.parametrize(("behind_cloudflare", "sources"), [(True, CLOUDFLARE_CIDRS), (False, EVERYWHERE)])
def test_the_web_comes_from_cloudflare_or_without_it_from_everywhere(behind_cloudflare: bool, sources: tuple[str, ...]) -> None:
    assert _public(_rules("app", behind_cloudflare=behind_cloudflare)) == {
        ("tcp", "80", sources),
        ("tcp", "443", sources),
        ("udp", "443", sources),
    }


def test_behind_a_load_balancer_the_web_comes_over_the_private_network() -> None:
    rules = _rules("app", behind_load_balancer=True)

    assert _public(rules) == set()
    assert {"80", "443"} <= {rule.port for rule in rules}


@pytest.mark.parametrize("role", ROLES)
def test_administrators_reach_ssh_on_the_jump_host_and_nothing_else(role: str) -> None:
    behind_load_balancer = {"behind_load_balancer": True}
    assert _public(_rules(role, **behind_load_balancer)) == set()
    assert _public(_rules(role, jump_host=True, **behind_load_balancer)) == {("tcp", "22", (ADMIN,))}


def test_a_jump_host_without_administrators_is_not_open_to_everybody() -> None:
    assert _public(_rules("monitoring", jump_host=True, admin_cidrs=[])) == set()


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_only_web_ssh_and_wireguard_are_ever_public_and_no_rule_is_empty(role: str, situation: dict[str, bool]) -> None:
    rules = _rules(role, **situation)

    public = {(protocol, port) for protocol, port, _ in _public(rules)}
    assert public <= {("tcp", "22"), ("tcp", "80"), ("tcp", "443"), ("udp", "443"), ("udp", "51820")}
    assert all(rule.sources for rule in rules)
    # A provider refuses two equal rules, and one without an explanation can't be judged later.
    assert len({(rule.protocol, rule.port, rule.sources) for rule in rules}) == len(rules)
    assert all(rule.description for rule in rules)


@pytest.mark.parametrize("role", ROLES)
def test_every_flow_has_a_known_source_and_says_its_ports(role: str) -> None:
    for flow in flows(role):
        assert flow.role == role
        assert flow.source in {PRIVATE, EDGE, ADMINS}
        assert flow.protocol in {"tcp", "udp", "icmp"}
        assert re.fullmatch(r"\d+(-\d+)?", flow.port) or (flow.protocol, flow.port) == ("icmp", "")


@pytest.mark.parametrize("role", ROLES)
def test_every_port_of_a_store_that_is_opened_is_known_as_one(role: str) -> None:
    names = ("PostgreSQL", "PgBouncer", "Patroni", "etcd", "Redis", "Sentinel", "replication")
    stores = [flow for flow in flows(role) if flow.why.startswith(names) and not flow.why.endswith("metrics")]

    assert {int(port) for flow in stores for port in flow.port.split("-")} <= STORE_PORTS
    assert all(flow.source == PRIVATE for flow in stores)


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "203.0.0.0/8", "10.0.0.0/7", "100.64.0.0/10"])
def test_a_public_network_is_not_taken_for_a_private_one(cidr: str) -> None:
    with pytest.raises(ReachabilityError, match=rf"^{re.escape(cidr)}: found a public network; allowed: private networks$"):
        _rules("database", private_cidrs=[NETWORK, cidr])


@pytest.mark.parametrize("port", ["5432", "5000-6000", "1-65535", "2380", "6379-6380", ""])
@pytest.mark.parametrize(("source", "network"), [(EDGE, "173.245.48.0/20"), (ADMINS, ADMIN)])
def test_a_store_that_somebody_opens_is_refused_by_port_and_by_range(
    monkeypatch: pytest.MonkeyPatch, port: str, source: str, network: str
) -> None:
    monkeypatch.setattr(reachability, "flows", lambda role: iter([Flow(role, source, "tcp", port, "a mistake")]))

    message = f"port {port or 'of any number'} (a mistake): found source {network}; allowed: private networks"
    with pytest.raises(ReachabilityError, match=f"^{re.escape(message)}$"):
        _rules("database")


@hypothesis_settings(deadline=None)
@given(first=st.integers(1, 65_535), length=st.integers(0, 5000), protocol=st.sampled_from(["tcp", "udp"]))
def test_a_public_range_is_refused_exactly_when_a_store_is_in_it(first: int, length: int, protocol: str) -> None:
    last = min(first + length, 65_535)
    port = f"{first}-{last}" if length else str(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reachability, "flows", lambda role: iter([Flow(role, EDGE, protocol, port, "a mistake")]))
        try:
            opened = bool(_rules("app"))
        except ReachabilityError:
            opened = False

    assert opened == STORE_PORTS.isdisjoint(range(first, last + 1))


def test_cloudflares_networks_are_public_and_named_once() -> None:
    networks = [ipaddress.ip_network(cidr) for cidr in CLOUDFLARE_CIDRS]

    assert [sum(network.version == version for network in networks) for version in (4, 6)] == [15, 7]
    assert not any(network.is_private for network in networks)
    assert not any(one.version == two.version and one.overlaps(two) for one, two in itertools.combinations(networks, 2))
