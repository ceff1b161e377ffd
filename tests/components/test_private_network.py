"""Private networks: one at Hetzner with a subnet a region, a VPC a region at DigitalOcean."""

from typing import Any

import pulumi
import pytest

from components.private_network import PrivateNetwork
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems
from tests.support.deployed import deploy, id_of

SUBNETS = [
    {"name": "eu", "location": "nbg1", "cidr": "10.0.0.0/16"},
    {"name": "north", "location": "hel1", "cidr": "10.1.0.0/16"},
]
LABELS = {"app": "shop", "managed-by": "rungway"}


def network(name: str, args: dict[str, Any]) -> PrivateNetwork:
    built: Any = {"cidr": "10.0.0.0/12", "subnets": SUBNETS, "labels": LABELS, **args}
    return PrivateNetwork(name, built)


def program() -> dict[str, Any]:
    hetzner = network("private-eu-central", {"provider": "hetzner", "network_zone": "eu-central"})
    digitalocean = network("private-fra1", {"provider": "digitalocean"})
    return {
        "hetzner": {"network_id": hetzner.network_id, "subnet_ids": hetzner.subnet_ids},
        "digitalocean": {"network_id": digitalocean.network_id, "subnet_ids": digitalocean.subnet_ids},
    }


def both() -> Built:
    return build(program)


def test_two_networks_side_by_side_have_these_urns() -> None:
    inside = "rungway:index:PrivateNetwork$"
    assert both().urns == [
        "rungway:index:PrivateNetwork::private-eu-central",
        f"{inside}hcloud:index/network:Network::private-eu-central",
        f"{inside}hcloud:index/networkSubnet:NetworkSubnet::private-eu-central-eu",
        f"{inside}hcloud:index/networkSubnet:NetworkSubnet::private-eu-central-north",
        "rungway:index:PrivateNetwork::private-fra1",
        f"{inside}digitalocean:index/vpc:Vpc::private-fra1-eu",
        f"{inside}digitalocean:index/vpc:Vpc::private-fra1-north",
    ]


def test_the_engine_is_told_this() -> None:
    built = both()

    assert built.inputs("Network", "private-eu-central") == {"ipRange": "10.0.0.0/12", "labels": LABELS}
    assert built.inputs("NetworkSubnet", "private-eu-central-north") == {
        "networkId": UNKNOWN,
        "type": "cloud",
        "networkZone": "eu-central",
        "ipRange": "10.1.0.0/16",
    }
    assert built.waits_for("NetworkSubnet", "private-eu-central-north") == ["hcloud:index/network:Network::private-eu-central"]
    # Subnets of a network cannot overlap.
    assert built["NetworkSubnet", "private-eu-central-north"].delete_before_replace
    assert built.inputs("Vpc", "private-fra1-north") == {"region": "hel1", "ipRange": "10.1.0.0/16"}


def test_networks_are_protected() -> None:
    assert both().protected() == [("Network", "private-eu-central"), ("Vpc", "private-fra1-eu"), ("Vpc", "private-fra1-north")]


def test_subnets_are_found_by_region() -> None:
    assert deploy(program).outputs == {
        "hetzner": {
            "network_id": id_of("Network", "private-eu-central"),
            "subnet_ids": {region: id_of("NetworkSubnet", f"private-eu-central-{region}") for region in ("eu", "north")},
        },
        "digitalocean": {"network_id": "", "subnet_ids": {region: id_of("Vpc", f"private-fra1-{region}") for region in ("eu", "north")}},
    }


def test_a_subnet_names_its_network_by_number() -> None:
    subnet = deploy(program).inputs["NetworkSubnet", "private-eu-central-eu"]

    assert subnet["networkId"] == int(id_of("Network", "private-eu-central"))


def test_a_further_region_leaves_the_others_as_they_are() -> None:
    def with_subnets(count: int) -> list[tuple[str, dict[str, Any]]]:
        args = {"provider": "hetzner", "network_zone": "eu-central", "subnets": SUBNETS[:count]}
        return [(each.urn, each.inputs) for each in build(lambda: network("private-eu-central", args) and None).resources]

    assert with_subnets(2)[:3] == with_subnets(1)


@pytest.mark.parametrize(
    ("args", "wrong"),
    [
        ({"provider": "hetzner"}, ["network_zone: found None; allowed: one of Hetzner's network zones, for example eu-central"]),
        ({"provider": "digitalocean", "subnets": [SUBNETS[0], SUBNETS[0]]}, ["subnets: found 'eu'; allowed: a name only once"]),
        (
            {"provider": "digitalocean", "subnets": [{"location": "fra1", "cdir": "10.0.0.0/16"}]},
            [
                "subnets[0].cdir: found an unknown argument; allowed: cidr, location, name; did you mean 'cidr'?",
                "subnets[0].cidr: found nothing; it is required",
                "subnets[0].name: found nothing; it is required",
            ],
        ),
        (
            {"provider": "digitalocean", "subnets": pulumi.Output.from_input(SUBNETS)},
            ["subnets: must be known before deployment; found an Output"],
        ),
    ],
)
def test_wrong_arguments_are_named(args: dict[str, Any], wrong: list[str]) -> None:
    assert problems(lambda: network("private-x", args)) == [f"private-x (PrivateNetwork): {line}" for line in wrong]
