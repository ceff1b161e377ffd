"""The networks of a rehearsal: their names, what each server is connected to, and that only they are removed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.reachability import TUNNEL_PORT
from rungway.rehearsal import network
from rungway.rehearsal.network import Addresses, Network

PUBLIC = Addresses("10.0.1.10", "198.51.100.10", "2001:db8:100::10", "eu")
PRIVATE = Addresses("10.0.2.10", None, "2001:db8:100::11", "eu")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be run."""
    ran: list[str] = []
    monkeypatch.setattr(network, "run", lambda command: ran.append(" ".join(command)))
    return ran


def test_every_namespace_is_named_after_the_rehearsal(commands: list[str]) -> None:
    made = Network("rehearsal-mvp")
    made.create()

    assert (made.hub, made.outside) == ("rehearsal-mvp.hub", "rehearsal-mvp.outside")
    assert made.add_server("app-eu-1", PUBLIC, 16) == made.namespace("app-eu-1") == "rehearsal-mvp.app-eu-1"
    added = [command.split()[-1] for command in commands if command.startswith("ip netns add ")]
    assert added == ["rehearsal-mvp.hub", "rehearsal-mvp.outside", "rehearsal-mvp.app-eu-1"]
    assert all(command.startswith(("ip netns add rehearsal-mvp.", "ip -n rehearsal-mvp.", "ip link add port")) for command in commands)


def test_a_server_is_in_both_networks(commands: list[str]) -> None:
    Network("r").add_server("app", PUBLIC, 16)

    assert "ip -n r.app address add 10.0.1.10/16 dev eth1" in commands
    assert "ip -n r.app address add 198.51.100.10/24 dev eth0" in commands
    assert "ip -n r.app address add 2001:db8:100::10/64 dev eth0 nodad" in commands
    assert "ip -n r.app route add default via 198.51.100.1" in commands


def test_a_private_server_has_no_way_out_over_ipv4(commands: list[str]) -> None:
    Network("r").add_server("database", PRIVATE, 16)

    assert [command for command in commands if "route" in command] == ["ip -n r.database -6 route add default via 2001:db8:100::1"]
    assert not any("198.51.100." in command for command in commands)


def test_every_port_of_the_bridges_has_its_own_name(commands: list[str]) -> None:
    made = Network("r")
    made.create()
    made.add_server("app", PUBLIC, 16)
    made.add_server("database", PRIVATE, 16)

    ports = [command.split()[3] for command in commands if command.startswith("ip link add ")]
    assert ports == ["port1", "port2", "port3", "port4", "port5"]


def test_links_are_cut_and_slowed_where_they_are(commands: list[str]) -> None:
    made = Network("r")
    made.cut("app")
    made.slow("app", "1mbit")
    made.restore_speed("app")

    assert commands == [
        "ip -n r.app link set eth0 down",
        "ip -n r.app link set eth1 down",
        "tc -n r.app qdisc replace dev eth1 root tbf rate 1mbit burst 16kb latency 400ms",
        "tc -n r.app qdisc del dev eth1 root",
    ]


EU = Addresses("10.0.1.10", None, "2001:db8:100::10", "eu")
US = Addresses("10.1.1.10", None, "2001:db8:100::11", "us")
EU_TOO = Addresses("10.0.1.11", None, "2001:db8:100::12", "eu")


@pytest.fixture
def regions() -> Iterator[Network]:
    """Two servers of one region and one of another, really there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    made = Network(f"test{os.getpid()}")
    try:
        made.create()
        for name, addresses in {"eu": EU, "us": US, "eu-too": EU_TOO}.items():
            made.add_server(name, addresses, 8)
        made.watch_regions([EU, US, EU_TOO])
        yield made
    finally:
        made.remove()


REFUSED = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 2)
except ConnectionRefusedError:
    sys.exit(0)
except OSError:
    sys.exit(1)
"""


def _reaches(regions: Network, address: str) -> bool:
    """Whether a server answers, if only that nothing listens there."""
    program = ["ip", "netns", "exec", regions.namespace("eu"), sys.executable, "-c", REFUSED, address]
    return subprocess.run(program, check=False).returncode == 0


def test_neighbours_find_a_server_at_once_that_comes_back_after_a_power_cut(regions: Network) -> None:
    """With another hardware address it would be silence for them until theirs of it has expired."""
    assert _reaches(regions, EU_TOO.private)
    regions.cut("eu-too")
    regions.remove_server("eu-too")
    regions.add_server("eu-too", EU_TOO, 16)

    assert _reaches(regions, EU_TOO.private)


def test_private_networks_of_regions_do_not_meet(regions: Network) -> None:
    assert _reaches(regions, EU_TOO.private)
    assert not _reaches(regions, US.private)


def test_what_passes_between_regions_is_counted_by_what_it_is(regions: Network) -> None:
    def send(address: str, port: int) -> None:
        program = f"import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('{address}', {port}))"
        subprocess.run(["ip", "netns", "exec", regions.namespace("eu"), sys.executable, "-c", program], check=True)

    for _ in range(2):
        send(US.public_v6, int(TUNNEL_PORT))
    send(EU_TOO.public_v6, 5432)
    assert regions.passed_between_regions() == (2, 0)

    send(US.public_v6, 5432)
    assert regions.passed_between_regions() == (2, 1)


@pytest.fixture
def namespace() -> Iterator[str]:
    """The name of a real network namespace, gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    name = f"test{os.getpid()}-plus.hub"
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_its_own_namespaces_are_removed(namespace: str) -> None:
    Network(namespace.removesuffix(".hub")).remove()

    assert not Path("/run/netns", namespace).exists()


def test_those_of_another_rehearsal_stay(namespace: str) -> None:
    """The stacks lean/scale and lean/scale-plus, for example."""
    Network(namespace.removesuffix("-plus.hub")).remove()

    assert Path("/run/netns", namespace).exists()
