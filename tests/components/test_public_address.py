"""Addresses that outlive servers."""

from typing import Any

import pytest

from components.public_address import PublicAddress
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems

LABELS = {"app": "shop"}


def addresses(provider: str) -> Built:
    def program() -> dict[str, Any]:
        one, _two = (
            PublicAddress(f"app-{region}-1-ipv4", {"provider": provider, "location": location, "labels": LABELS})  # type: ignore[typeddict-item]
            for region, location in (("eu", "fra1"), ("us", "nyc3"))
        )
        return {"address_id": one.address_id, "ip_address": one.ip_address}

    return build(program)


@pytest.mark.parametrize(
    ("provider", "token"), [("hetzner", "hcloud:index/primaryIp:PrimaryIp"), ("digitalocean", "digitalocean:index/reservedIp:ReservedIp")]
)
def test_two_addresses_side_by_side_have_these_urns(provider: str, token: str) -> None:
    built = addresses(provider)
    assert built.urns == [
        "rungway:index:PublicAddress::app-eu-1-ipv4",
        f"rungway:index:PublicAddress${token}::app-eu-1-ipv4",
        "rungway:index:PublicAddress::app-us-1-ipv4",
        f"rungway:index:PublicAddress${token}::app-us-1-ipv4",
    ]
    # A phase without servers gives the address back: protected, it would stop the climb.
    assert built.protected() == []
    assert built.outputs == {"address_id": UNKNOWN, "ip_address": UNKNOWN}


def test_inputs() -> None:
    assert addresses("hetzner").inputs("PrimaryIp", "app-us-1-ipv4") == {
        "type": "ipv4",
        "location": "nyc3",
        "autoDelete": False,
        "labels": LABELS,
    }
    reserved = addresses("digitalocean")["ReservedIp", "app-us-1-ipv4"]
    assert reserved.inputs == {"region": "nyc3"}
    assert reserved.ignore_changes == ("dropletId",)


def test_every_problem_is_named_at_once() -> None:
    args: Any = {"provider": 1, "tags": []}
    assert problems(lambda: PublicAddress("ip", args)) == [
        "ip (PublicAddress): tags: found an unknown argument; allowed: labels, location, provider",
        "ip (PublicAddress): location: found nothing; it is required",
        "ip (PublicAddress): provider: found 1; allowed: a text",
    ]
