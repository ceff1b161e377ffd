"""What a rehearsal says of links between regions: each way in which one can be wrong is a failed check."""

from types import SimpleNamespace
from typing import Any

import pytest

from hosts.specification import HostSpecification
from rungway.rehearsal.baseline import links, traffic_between_regions
from rungway.rehearsal.network import Addresses
from rungway.rehearsal.report import Check
from rungway.servers import servers_of_stack

ANSWERS = "3 packets transmitted, 3 received, 0% packet loss\nrtt min/avg/max/mdev = 1.0/2.5/3.0/0.1 ms"
SILENCE = "3 packets transmitted, 0 received, 100% packet loss"
RIGHT = {"three": ANSWERS, "forty": "40 packets transmitted, 40 received", "without": 1, "again": 0}


class Server:
    """Stands for a server: it says what a test has it say."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said

    def run(self, command: str) -> tuple[int, str]:
        if "reload" in command:
            return 0, self._said["forty"]
        if "stop" in command:
            return self._said["without"], ""
        if "until" in command:
            return self._said["again"], ""
        return 0, self._said["three"] if "ping" in command else ""


@pytest.fixture
def hosts(in_project: object) -> dict[str, HostSpecification]:
    """Two servers of one region and one of another."""
    every = {host.name: host for host in servers_of_stack("vps/phase4")}
    return {name: every[name] for name in ("redis-eu-1", "redis-eu-2", "redis-us-1")}


def _phase(hosts: dict[str, HostSpecification], passed: tuple[int, int] = (9, 0), **said: Any) -> Any:
    return SimpleNamespace(
        hosts=hosts,
        servers={name: Server(RIGHT | said) for name in hosts},
        addresses={name: Addresses(host.private_address or "", None, "2001:db8::1", host.region) for name, host in hosts.items()},
        network=SimpleNamespace(passed_between_regions=lambda: passed),
    )


def _failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_links_that_answer_are_right(hosts: dict[str, HostSpecification]) -> None:
    checks = list(links(_phase(hosts)))

    assert _failed(checks) == []
    assert [(check.name, check.figure, check.note) for check in checks[:3]] == [
        ("links of redis-eu-1 to other regions", 2.5, "the slowest of 1"),
        ("links of redis-eu-2 to other regions", 2.5, "the slowest of 1"),
        ("links of redis-us-1 to other regions", 2.5, "the slowest of 2"),
    ]


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ({"three": SILENCE}, [f"links of redis-{name} to other regions" for name in ("eu-1", "eu-2", "us-1")]),
        ({"forty": "40 packets transmitted, 39 received"}, ["links of redis-us-1 read anew"]),
        ({"forty": "bash: ping: command not found"}, ["links of redis-us-1 read anew"]),
        ({"without": 0}, ["no way from redis-us-1 to redis-eu-1 but the tunnel"]),
        ({"again": 124}, ["the tunnel of redis-us-1 up again"]),
    ],
)
def test_what_is_wrong_with_a_link_is_said(said: dict[str, Any], failed: list[str], hosts: dict[str, HostSpecification]) -> None:
    assert _failed(list(links(_phase(hosts, **said)))) == failed


@pytest.mark.parametrize(("passed", "failed"), [((9, 0), 0), ((9, 1), 1), ((0, 0), 1)])
def test_packets_beside_the_tunnels_and_tunnels_without_packets_fail(
    passed: tuple[int, int], failed: int, hosts: dict[str, HostSpecification]
) -> None:
    assert len(_failed(list(traffic_between_regions(_phase(hosts, passed))))) == failed


def test_servers_of_one_region_have_no_links_to_try(hosts: dict[str, HostSpecification]) -> None:
    phase = _phase({name: host for name, host in hosts.items() if host.region == "eu"})

    assert [*links(phase), *traffic_between_regions(phase)] == []
