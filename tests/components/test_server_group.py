"""Firewalls and placement of the servers of one role."""

from typing import Any

import pulumi
import pytest

from components.app_vps import AppVPS
from components.server_group import ServerGroup
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems

RULES = [
    {"description": "PostgreSQL", "protocol": "tcp", "port": "5432", "sources": ["10.0.0.0/16"]},
    {"description": "ping", "protocol": "icmp", "port": "", "sources": ["0.0.0.0/0", "::/0"]},
]
LABELS = {"app": "shop", "role": "database"}


def groups(provider: str, servers: int = 2) -> Built:
    def program() -> dict[str, Any]:
        args: Any = {"provider": provider, "rules": RULES, "servers": servers, "labels": LABELS}
        one = ServerGroup("database-eu", args)
        without_rules: Any = {**args, "rules": []}
        ServerGroup("database-us", without_rules)
        return {"firewall_id": one.firewall_id, "placement_group_ids": one.placement_group_ids, "tag": one.tag}

    return build(program)


def test_two_groups_side_by_side_at_hetzner() -> None:
    built = groups("hetzner")
    inside = "rungway:index:ServerGroup$hcloud:index"
    assert built.urns == [
        urn
        for name in ("database-eu", "database-us")
        for urn in (
            f"rungway:index:ServerGroup::{name}",
            f"{inside}/firewall:Firewall::{name}",
            f"{inside}/placementGroup:PlacementGroup::{name}",
        )
    ]
    firewall = built.inputs("Firewall", "database-eu")
    assert firewall["labels"] == LABELS
    assert firewall["rules"] == [
        {"direction": "in", "description": "PostgreSQL", "protocol": "tcp", "port": "5432", "sourceIps": ["10.0.0.0/16"]},
        {"direction": "in", "description": "ping", "protocol": "icmp", "sourceIps": ["0.0.0.0/0", "::/0"]},
    ]
    assert built.inputs("Firewall", "database-us")["rules"] == []
    placement = built.inputs("PlacementGroup", "database-eu")
    assert (placement["type"], placement["labels"]) == ("spread", LABELS)
    assert built.outputs == {"firewall_id": UNKNOWN, "placement_group_ids": UNKNOWN, "tag": ""}


def test_two_groups_side_by_side_at_digitalocean() -> None:
    built = groups("digitalocean")
    inside = "rungway:index:ServerGroup$digitalocean:index"
    assert built.urns == [
        urn
        for name in ("database-eu", "database-us")
        for urn in (
            f"rungway:index:ServerGroup::{name}",
            f"{inside}/tag:Tag::{name}",
            f"{inside}/firewall:Firewall::{name}",
        )
    ]
    assert built.inputs("Tag", "database-eu") == {"name": "rungway-database-eu"}
    firewall = built.inputs("Firewall", "database-eu")
    assert firewall["inboundRules"] == [
        {"protocol": "tcp", "portRange": "5432", "sourceAddresses": ["10.0.0.0/16"]},
        {"protocol": "icmp", "sourceAddresses": ["0.0.0.0/0", "::/0"]},
    ]
    everywhere = ["0.0.0.0/0", "::/0"]
    assert firewall["outboundRules"] == [
        {"protocol": "tcp", "portRange": "1-65535", "destinationAddresses": everywhere},
        {"protocol": "udp", "portRange": "1-65535", "destinationAddresses": everywhere},
        {"protocol": "icmp", "destinationAddresses": everywhere},
    ]
    assert built.outputs["placement_group_ids"] == []


@pytest.mark.parametrize(("servers", "placements"), [(0, []), (1, [""]), (10, [""]), (11, ["", "-2"]), (21, ["", "-2", "-3"])])
def test_a_placement_group_for_every_ten_servers(servers: int, placements: list[str]) -> None:
    built = groups("hetzner", servers)
    found = [item.name for item in built.resources if item.type.endswith(":PlacementGroup") and item.name.startswith("database-eu")]
    assert found == [f"database-eu{suffix}" for suffix in placements]
    if not servers:
        assert built.outputs["placement_group_ids"] == []


@pytest.mark.parametrize("provider", ["hetzner", "digitalocean"])
def test_no_server_ever_starts_before_its_firewall(provider: str) -> None:
    def program() -> None:
        group = ServerGroup("app-eu", {"provider": provider, "rules": [], "servers": 1})
        args: Any = {"provider": provider, "location": "fra1", "server_type": "small"}
        args |= {"firewall_ids": [group.firewall_id]} if provider == "hetzner" else {"tags": [group.tag]}
        AppVPS("app-eu-1", args)

    built = build(program)
    package = "hcloud" if provider == "hetzner" else "digitalocean"
    server = "Server" if provider == "hetzner" else "Droplet"
    assert f"{package}:index/firewall:Firewall::app-eu" in built.waits_for(server, "app-eu-1")


def test_every_problem_is_named_at_once() -> None:
    args: Any = {
        "provider": "aws",
        "servers": 1001,
        "rules": [
            {"description": "all", "protocol": "any", "port": "1-65535", "source": []},
            {"description": "late", "protocol": pulumi.Output.from_input("tcp"), "port": 22, "sources": []},
            "tcp",
        ],
    }
    label = "group (ServerGroup)"
    assert problems(lambda: ServerGroup("group", args)) == [
        f"{label}: provider: found 'aws'; allowed: digitalocean, hetzner",
        f"{label}: servers: found 1001; allowed: 0 to 1000",
        f"{label}: rules[0].source: found an unknown argument; allowed: description, port, protocol, sources; did you mean 'sources'?",
        f"{label}: rules[0].sources: found nothing; it is required",
        f"{label}: rules[1].protocol: must be known before deployment; found an Output",
        f"{label}: rules[1].port: found 22; allowed: a text",
        f"{label}: rules[2]: found 'tcp'; allowed: a dictionary",
        f"{label}: rules[0].protocol: found 'any'; allowed: icmp, tcp, udp",
    ]
