"""Private addresses: never two alike, always inside, and the same for ever."""

import ipaddress
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hosts.addresses import BLOCKS, AddressError, address, region_cidrs

ROOM = {role: 1960 if role == "kubernetes-worker" else 245 for role in BLOCKS}
"""Servers of each role that a region has addresses for."""

servers = st.sampled_from(sorted(ROOM)).flatmap(lambda role: st.tuples(st.just(role), st.integers(1, ROOM[role])))
PRIVATE = [ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


@st.composite
def networks(draw: st.DrawFn, smallest: int = 20) -> ipaddress.IPv4Network:
    """A private network of at least the given size."""
    whole = draw(st.sampled_from(PRIVATE))
    prefix = draw(st.integers(whole.prefixlen, smallest))
    number = draw(st.integers(0, 2 ** (prefix - whole.prefixlen) - 1))
    return ipaddress.IPv4Network((int(whole.network_address) + number * 2 ** (32 - prefix), prefix))


@pytest.mark.parametrize(
    ("role", "number", "expected"),
    [
        ("app", 1, "10.1.1.10"),
        ("app", 2, "10.1.1.11"),
        ("app", 245, "10.1.1.254"),
        ("database", 1, "10.1.2.10"),
        ("redis", 3, "10.1.3.12"),
        ("monitoring", 1, "10.1.4.10"),
        ("load-balancer", 1, "10.1.5.10"),
        ("kubernetes-control", 3, "10.1.6.12"),
        ("kubernetes-worker", 1, "10.1.8.10"),
        ("kubernetes-worker", 245, "10.1.8.254"),
        ("kubernetes-worker", 246, "10.1.9.10"),
        ("kubernetes-worker", 1960, "10.1.15.254"),
    ],
)
def test_addresses_are_frozen(role: str, number: int, expected: str) -> None:
    """A change here moves servers that are running."""
    assert address("10.1.0.0/16", role, number) == expected


def test_no_two_servers_of_a_full_region_share_an_address() -> None:
    everyone = [address("10.0.0.0/20", role, number) for role, room in ROOM.items() for number in range(1, room + 1)]

    assert len(set(everyone)) == len(everyone) == sum(ROOM.values())


@hypothesis_settings(deadline=None)
@given(network=networks(), server=servers)
def test_an_address_is_inside_and_not_one_that_the_provider_keeps(network: ipaddress.IPv4Network, server: tuple[str, int]) -> None:
    found = ipaddress.IPv4Address(address(str(network), *server))

    assert found in network
    # Hetzner keeps the first address of a network, DigitalOcean the first four, and both the last.
    assert int(found) - int(network.network_address) >= 256
    assert found != network.broadcast_address


@hypothesis_settings(deadline=None)
@given(network=networks(), one=servers, other=servers)
def test_different_servers_have_different_addresses(network: ipaddress.IPv4Network, one: tuple[str, int], other: tuple[str, int]) -> None:
    assert (address(str(network), *one) == address(str(network), *other)) == (one == other)


@hypothesis_settings(deadline=None)
@given(network=networks(), server=servers)
def test_a_larger_region_moves_nobody(network: ipaddress.IPv4Network, server: tuple[str, int]) -> None:
    """What counts is where a region starts, so that it can grow at its end."""
    assert address(str(network), *server) == address(f"{network.network_address}/20", *server)


@hypothesis_settings(deadline=None)
@given(network=networks(smallest=16), data=st.data())
def test_another_region_moves_none_and_overlaps_none(network: ipaddress.IPv4Network, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 2 ** (16 - network.prefixlen)))
    regions = region_cidrs(str(network), count)

    assert len(regions) == count
    assert region_cidrs(str(network), count - 1) == regions[:-1]
    subnets = [ipaddress.IPv4Network(region) for region in regions]
    assert all(subnet.subnet_of(network) for subnet in subnets)
    # They come in order, so that neighbours that don't overlap are enough.
    assert all(one.broadcast_address < two.network_address for one, two in itertools.pairwise(subnets))


@pytest.mark.parametrize("region", ["10.0.0.0/21", "10.0.0.0/24", "192.168.1.1/32"])
def test_a_region_that_is_too_small_is_refused(region: str) -> None:
    with pytest.raises(AddressError, match=rf"^{re.escape(region)} is too small: a region needs at least a /20$"):
        address(region, "app", 1)


@pytest.mark.parametrize("role", sorted(ROOM))
def test_a_server_beyond_the_last_is_refused_and_never_gets_the_next_roles_address(role: str) -> None:
    for number in (-1, 0, ROOM[role] + 1):
        with pytest.raises(AddressError, match=rf"^{role} {number}: a region has room for {role} 1 to {ROOM[role]}$"):
            address("10.0.0.0/16", role, number)


@pytest.mark.parametrize(("network", "count", "room"), [("10.0.0.0/12", 17, 16), ("10.0.0.0/16", 2, 1), ("10.0.0.0/20", 1, 0)])
def test_more_regions_than_the_network_holds_are_refused(network: str, count: int, room: int) -> None:
    with pytest.raises(AddressError, match=rf"^{re.escape(network)} has room for {room} regions of a /16; {count} are needed$"):
        region_cidrs(network, count)
