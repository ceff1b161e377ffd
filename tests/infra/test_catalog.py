"""The catalogue of sizes and places is whole, dated, and agrees with the prices."""

import re
from datetime import date
from itertools import product
from typing import Any

import pytest
import yaml

from infra import catalog
from infra.catalog import SIZES_FILE, kubernetes_version, load_balancer_types, locations, replacement_of_retired, server_types

PROVIDERS = ("hetzner", "digitalocean")


def test_a_server_type_is_typed() -> None:
    assert server_types("hetzner")["cax21"] == catalog.ServerType(
        "cax21", 4, 8192, 80, "arm", False, ("fsn1", "nbg1", "hel1"), server_types("hetzner")["cax21"].scarce
    )
    assert server_types("hetzner")["ccx33"].dedicated
    assert server_types("digitalocean")["s-4vcpu-8gb"].memory_mb == 8192


def test_retired_types_can_not_be_ordered_and_name_their_successor() -> None:
    assert "cx22" not in server_types("hetzner")
    assert replacement_of_retired("hetzner", "cx22") == "cx23"
    assert replacement_of_retired("hetzner", "cx23") is None
    assert replacement_of_retired("digitalocean", "nothing") is None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_type_is_sold_where_the_provider_is(provider: str) -> None:
    places = set(locations(provider))

    assert {name: set(kind.locations) - places for name, kind in server_types(provider).items() if set(kind.locations) - places} == {}
    assert {kind.architecture for kind in server_types(provider).values()} <= {"x86", "arm"}
    assert all(kind.cores > 0 and kind.memory_mb >= 1024 and kind.disk_gb >= 10 for kind in server_types(provider).values())


@pytest.mark.parametrize(("provider", "name"), [(provider, name) for provider in PROVIDERS for name in locations(provider)])
def test_every_location_lies_somewhere(provider: str, name: str) -> None:
    place = locations(provider)[name]

    assert -90 < place.latitude < 90
    assert -180 < place.longitude < 180
    assert re.fullmatch("[A-Z]{2}", place.country)
    assert place.network_zone


def test_load_balancers_and_versions() -> None:
    assert load_balancer_types("hetzner") == ("lb11", "lb21", "lb31")
    assert load_balancer_types("digitalocean") == ()
    assert all(kubernetes_version(provider) for provider in PROVIDERS)


def test_every_source_has_an_address_and_a_day() -> None:
    content: Any = yaml.safe_load(SIZES_FILE.read_text(encoding="utf-8"))

    assert [
        name for name, row in content["sources"].items() if not row["url"].startswith("https://") or type(row["as_of"]) is not date
    ] == []
    retired = [row for rows in content["server_types"].values() for row in rows.values() if "retired" in row]
    assert all(row["replaced_by"] in server_types("hetzner") for row in retired)


def test_no_two_locations_of_a_provider_are_one_and_the_same_network_unless_they_share_it() -> None:
    for first, second in product(locations("digitalocean").values(), repeat=2):
        assert (first.network_zone == second.network_zone) == (first.name == second.name)
