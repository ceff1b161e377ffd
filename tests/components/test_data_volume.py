"""Volumes that nothing takes away."""

from typing import Any

import pulumi
import pytest

from components.data_volume import DataVolume
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems

LABELS = {"role": "app", "app": "shop"}


def volumes(provider: str) -> Built:
    def program() -> dict[str, Any]:
        place = {"provider": provider, "location": "fra1", "labels": LABELS}
        first: Any = {**place, "size_gb": 10, "server_id": "42"}
        second: Any = {**place, "size_gb": pulumi.Output.from_input(40)}
        one = DataVolume("app-eu-1-data", first)
        DataVolume("app-us-1-data", second)
        return {"volume_id": one.volume_id}

    return build(program)


@pytest.mark.parametrize(("provider", "package"), [("hetzner", "hcloud"), ("digitalocean", "digitalocean")])
def test_two_volumes_side_by_side_have_these_urns(provider: str, package: str) -> None:
    built = volumes(provider)
    inside = f"rungway:index:DataVolume${package}:index"
    assert built.urns == [
        "rungway:index:DataVolume::app-eu-1-data",
        f"{inside}/volume:Volume::app-eu-1-data",
        f"{inside}/volumeAttachment:VolumeAttachment::app-eu-1-data-attachment",
        "rungway:index:DataVolume::app-us-1-data",
        f"{inside}/volume:Volume::app-us-1-data",
    ]
    assert built.protected() == [("Volume", "app-eu-1-data"), ("Volume", "app-us-1-data")]
    assert built["VolumeAttachment", "app-eu-1-data-attachment"].delete_before_replace
    assert built.outputs == {"volume_id": UNKNOWN}


def test_inputs_at_hetzner() -> None:
    built = volumes("hetzner")
    volume = {"location": "fra1", "format": "ext4", "deleteProtection": True, "labels": LABELS}
    assert built.inputs("Volume", "app-eu-1-data") == {**volume, "size": 10}
    assert built.inputs("Volume", "app-us-1-data") == {**volume, "size": 40}
    assert built["Volume", "app-eu-1-data"].ignore_changes == ("format",)
    assert built.inputs("VolumeAttachment", "app-eu-1-data-attachment") == {"volumeId": UNKNOWN, "serverId": 42, "automount": False}


def test_inputs_at_digitalocean() -> None:
    built = volumes("digitalocean")
    volume = {"region": "fra1", "initialFilesystemType": "ext4", "tags": ["app:shop", "role:app"]}
    for name, size in (("app-eu-1-data", 10), ("app-us-1-data", 40)):
        inputs = built.inputs("Volume", name)
        assert {key: inputs[key] for key in volume} == volume
        assert inputs["size"] == size
    assert built["Volume", "app-eu-1-data"].ignore_changes == ("initialFilesystemType",)
    assert built.inputs("VolumeAttachment", "app-eu-1-data-attachment") == {"volumeId": UNKNOWN, "dropletId": 42}


def test_every_problem_is_named_at_once() -> None:
    args: Any = {"provider": "aws", "size_gb": 10_001, "servr_id": "1"}
    assert problems(lambda: DataVolume("data", args)) == [
        "data (DataVolume): servr_id: found an unknown argument; allowed: labels, location, provider, server_id, size_gb; "
        "did you mean 'server_id'?",
        "data (DataVolume): location: found nothing; it is required",
        "data (DataVolume): provider: found 'aws'; allowed: digitalocean, hetzner",
        "data (DataVolume): size_gb: found 10001; allowed: 10 to 10000",
    ]


@pytest.mark.parametrize("size_gb", [9, 0, -1])
def test_a_size_that_is_too_small(size_gb: int) -> None:
    assert problems(lambda: DataVolume("data", {"provider": "hetzner", "location": "nbg1", "size_gb": size_gb})) == [
        f"data (DataVolume): size_gb: found {size_gb}; allowed: 10 to 10000"
    ]
