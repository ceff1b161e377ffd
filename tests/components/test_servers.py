"""The four server components at both providers."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.app_vps import AppVPS
from components.database_vps import DatabaseVPS
from components.monitoring_vps import MonitoringVPS
from components.redis_node import RedisNode
from rungway.model import SECRET, UNKNOWN
from tests.support.built import Built, build, problems

CLASSES: tuple[Any, ...] = (AppVPS, DatabaseVPS, RedisNode, MonitoringVPS)
WITH_DATA: tuple[Any, ...] = (DatabaseVPS, RedisNode)
IN_SERVER = "hcloud:index/server:Server"
LABELS = {"app": "shop", "role": "database"}
TAGS = ["app:shop", "role:database"]

HETZNER: dict[str, Any] = {"provider": "hetzner", "location": "nbg1", "server_type": "cx33", "volume_size_gb": 20}
DIGITALOCEAN: dict[str, Any] = {"provider": "digitalocean", "location": "fra1", "server_type": "s-2vcpu-4gb", "volume_size_gb": 20}
NETWORKED = {"subnet_id": "10-10.0.0.0/16", "private_address": "10.0.1.1"}
EVERYTHING = {
    "hostname": "db-1",
    "firewall_ids": ["7"],
    "placement_group_id": "8",
    "ssh_key_ids": ["9"],
    "user_data": "#cloud-config",
    "public_address_id": "11",
    "image_backups": True,
    "labels": LABELS,
}
OUTPUTS = ("server_id", "public_ipv4", "public_ipv6", "private_address", "volume_id")


def servers(class_: Callable[..., Any], first: dict[str, Any], second: dict[str, Any]) -> Built:
    def program() -> dict[str, Any]:
        one, two = class_("server-eu-1", first), class_("server-eu-2", second)
        return {f"{index}-{key}": getattr(server, key) for index, server in ((1, one), (2, two)) for key in OUTPUTS}

    return build(program)


def one(class_: Callable[..., Any], args: dict[str, Any]) -> Built:
    return servers(class_, args, args)


@pytest.mark.parametrize("class_", CLASSES)
def test_two_servers_side_by_side_at_hetzner_have_these_urns(class_: Any) -> None:
    inside = f"rungway:index:{class_.__name__}"
    assert one(class_, {**HETZNER, **NETWORKED}).urns == [
        f"{inside}{start}{name}{end}"
        for name in ("server-eu-1", "server-eu-2")
        for start, end in (
            ("::", ""),
            ("$hcloud:index/server:Server::", ""),
            ("$hcloud:index/serverNetwork:ServerNetwork::", "-private"),
            ("$rungway:index:DataVolume::", "-data"),
            ("$rungway:index:DataVolume$hcloud:index/volume:Volume::", "-data"),
            ("$rungway:index:DataVolume$hcloud:index/volumeAttachment:VolumeAttachment::", "-data-attachment"),
        )
    ]


@pytest.mark.parametrize("class_", CLASSES)
def test_two_servers_side_by_side_at_digitalocean_have_these_urns(class_: Any) -> None:
    inside = f"rungway:index:{class_.__name__}"
    assert one(class_, {**DIGITALOCEAN, "public_address_id": "192.0.2.1"}).urns == [
        f"{inside}{start}{name}{end}"
        for name in ("server-eu-1", "server-eu-2")
        for start, end in (
            ("::", ""),
            ("$digitalocean:index/droplet:Droplet::", ""),
            ("$digitalocean:index/reservedIpAssignment:ReservedIpAssignment::", "-ipv4"),
            ("$rungway:index:DataVolume::", "-data"),
            ("$rungway:index:DataVolume$digitalocean:index/volume:Volume::", "-data"),
            ("$rungway:index:DataVolume$digitalocean:index/volumeAttachment:VolumeAttachment::", "-data-attachment"),
        )
    ]


@pytest.mark.parametrize("args", [HETZNER, DIGITALOCEAN])
@pytest.mark.parametrize("class_", CLASSES)
def test_volumes_and_servers_that_hold_data_are_protected(class_: Any, args: dict[str, Any]) -> None:
    server = "Server" if args is HETZNER else "Droplet"
    servers = [(server, "server-eu-1"), (server, "server-eu-2")] if class_ in WITH_DATA else []

    assert sorted(one(class_, args).protected()) == sorted([*servers, ("Volume", "server-eu-1-data"), ("Volume", "server-eu-2-data")])


@pytest.mark.parametrize("class_", CLASSES)
def test_no_edit_replaces_a_server(class_: Any) -> None:
    assert set(one(class_, HETZNER)["Server", "server-eu-1"].ignore_changes) == {"userData", "sshKeys", "image", "location"}
    assert set(one(class_, DIGITALOCEAN)["Droplet", "server-eu-1"].ignore_changes) >= {
        "userData",
        "sshKeys",
        "image",
        "region",
        "vpcUuid",
        "monitoring",
    }


@pytest.mark.parametrize("class_", CLASSES)
def test_a_plain_server_at_hetzner(class_: Any) -> None:
    guarded = class_ in WITH_DATA
    built = one(class_, HETZNER)
    assert built.inputs("Server", "server-eu-2") == {
        "name": "server-eu-2",
        "serverType": "cx33",
        "location": "nbg1",
        "image": "debian-13",
        "keepDisk": True,
        "publicNets": [{"ipv4Enabled": not guarded, "ipv6Enabled": True}],
        "backups": False,
        "deleteProtection": guarded,
        "rebuildProtection": guarded,
        "shutdownBeforeDeletion": True,
    }
    assert built.outputs["1-server_id"] == UNKNOWN
    assert built.outputs["1-private_address"] == ""
    assert built.outputs["1-volume_id"] == UNKNOWN


@pytest.mark.parametrize("class_", CLASSES)
def test_a_full_server_at_hetzner(class_: Any) -> None:
    built = one(class_, {**HETZNER, **NETWORKED, **EVERYTHING, "public_ipv4": True})
    inputs = built.inputs("Server", "server-eu-1")
    assert inputs["name"] == "db-1"
    assert inputs["publicNets"] == [{"ipv4Enabled": True, "ipv4": 11, "ipv6Enabled": True}]
    assert (inputs["firewallIds"], inputs["placementGroupId"], inputs["sshKeys"]) == ([7], 8, ["9"])
    assert inputs["userData"] == SECRET
    assert inputs["backups"] is True
    assert inputs["labels"] == LABELS
    assert built.inputs("ServerNetwork", "server-eu-1-private") == {
        "serverId": UNKNOWN,
        "subnetId": "10-10.0.0.0/16",
        "ip": "10.0.1.1",
    }
    assert built.inputs("Volume", "server-eu-1-data")["labels"] == LABELS
    assert built.outputs["1-private_address"] == "10.0.1.1"


def test_a_database_asks_for_a_public_address_to_get_one() -> None:
    built = servers(DatabaseVPS, HETZNER, {**HETZNER, "public_ipv4": True})
    nets = [built.inputs("Server", f"server-eu-{number}")["publicNets"][0]["ipv4Enabled"] for number in (1, 2)]
    assert nets == [False, True]


@pytest.mark.parametrize("class_", CLASSES)
def test_a_plain_server_at_digitalocean(class_: Any) -> None:
    assert one(class_, DIGITALOCEAN).inputs("Droplet", "server-eu-1") == {
        "name": "server-eu-1",
        "size": "s-2vcpu-4gb",
        "region": "fra1",
        "image": "debian-13-x64",
        "resizeDisk": False,
        "tags": [],
        "ipv6": True,
        "monitoring": True,
        "backups": False,
        "gracefulShutdown": True,
    }


@pytest.mark.parametrize("class_", CLASSES)
def test_a_full_server_at_digitalocean(class_: Any) -> None:
    args = {**DIGITALOCEAN, **EVERYTHING, "subnet_id": "vpc", "tags": ["behind-the-firewall"], "public_address_id": "192.0.2.1"}
    built = one(class_, args)
    inputs = built.inputs("Droplet", "server-eu-1")
    assert inputs["name"] == "db-1"
    assert (inputs["vpcUuid"], inputs["sshKeys"], inputs["backups"]) == ("vpc", ["9"], True)
    assert inputs["userData"] == SECRET
    assert inputs["tags"] == [*TAGS, "behind-the-firewall"]
    assert built.inputs("Volume", "server-eu-1-data")["tags"] == TAGS
    assert built.inputs("ReservedIpAssignment", "server-eu-1-ipv4") == {"dropletId": UNKNOWN, "ipAddress": "192.0.2.1"}
    assert built["ReservedIpAssignment", "server-eu-1-ipv4"].delete_before_replace
    assert built.outputs["1-public_ipv4"] == "192.0.2.1"
    assert built.outputs["1-private_address"] == UNKNOWN


@pytest.mark.parametrize("args", [HETZNER, DIGITALOCEAN])
@pytest.mark.parametrize("class_", [AppVPS, MonitoringVPS])
def test_a_server_that_holds_nothing_needs_no_volume(class_: Any, args: dict[str, Any]) -> None:
    without = {key: value for key, value in args.items() if key != "volume_size_gb"}
    built = servers(class_, without, {**args, "volume_size_gb": 0})
    assert [urn for urn in built.urns if "olume" in urn] == []
    assert built.outputs["1-volume_id"] == built.outputs["2-volume_id"] == ""


@pytest.mark.parametrize("class_", CLASSES)
def test_every_problem_is_named_at_once(class_: Any) -> None:
    args = {"provider": "aws", "location": "nbg1", "volume_size_gb": "20", "public_ipv4": "yes", "servertype": "cx33"}
    label = f"server-eu-1 ({class_.__name__})"
    found = problems(lambda: class_("server-eu-1", args))
    allowed = found[0].partition("; allowed: ")[2].partition(";")[0].split(", ")
    assert allowed == sorted(allowed)
    assert {"provider", "location", "server_type", "labels"} <= set(allowed)
    assert found == [
        f"{label}: servertype: found an unknown argument; allowed: {', '.join(allowed)}; did you mean 'server_type'?",
        f"{label}: server_type: found nothing; it is required",
        f"{label}: provider: found 'aws'; allowed: digitalocean, hetzner",
        f"{label}: public_ipv4: found 'yes'; allowed: true or false",
        f"{label}: volume_size_gb: found '20'; allowed: a whole number",
        *([f"{label}: volume_size_gb: found 0; allowed: 10 or more"] if class_ in WITH_DATA else []),
    ]


@pytest.mark.parametrize("class_", CLASSES)
def test_what_decides_the_structure_must_be_known(class_: Any) -> None:
    def program() -> None:
        late = pulumi.Output.from_input
        class_("server-eu-1", {**HETZNER, "provider": late("hetzner"), "public_ipv4": late(True)})

    assert problems(program) == [
        f"server-eu-1 ({class_.__name__}): provider: must be known before deployment; found an Output",
        f"server-eu-1 ({class_.__name__}): public_ipv4: must be known before deployment; found an Output",
    ]


@pytest.mark.parametrize("class_", WITH_DATA)
def test_a_server_with_data_needs_a_volume(class_: Any) -> None:
    args = {key: value for key, value in HETZNER.items() if key != "volume_size_gb"}
    assert problems(lambda: class_("server-eu-1", args)) == [
        f"server-eu-1 ({class_.__name__}): volume_size_gb: found 0; allowed: 10 or more"
    ]


def test_a_volume_that_no_provider_sells() -> None:
    assert problems(lambda: AppVPS("server-eu-1", {**HETZNER, "volume_size_gb": 9})) == [  # type: ignore[typeddict-item]
        "server-eu-1-data (DataVolume): size_gb: found 9; allowed: 10 to 10000"
    ]
