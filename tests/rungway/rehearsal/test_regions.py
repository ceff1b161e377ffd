"""What a rehearsal says of databases in other regions: each way in which a copy can be wrong is a failed check."""

from types import SimpleNamespace
from typing import Any

import pytest

from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.rehearsal import regions
from rungway.rehearsal.regions import copies_follow, rows_in_other_regions
from rungway.rehearsal.report import Check
from rungway.servers import servers_of_stack

WRITTEN, SEEN = "1000.5", "1000.512"


class Server:
    """Stands for a server: its PostgreSQL says what a test has it say."""

    def __init__(self, host: HostSpecification, said: dict[str, str]) -> None:
        self.host = host
        self._said = said

    def run(self, command: str, timeout_seconds: float = 60, stdin: str | None = None) -> tuple[int, str]:
        del command, timeout_seconds
        asked = stdin or ""
        copies = self.host.postgresql is not None and bool(self.host.postgresql.follows)
        answers = {
            "pg_is_in_recovery": "t" if copies else "f",
            "pg_stat_archiver": self._said["archived"],
            "pg_stat_replication": self._said["synchronous"],
            "RETURNING": f"8|{WRITTEN}",
            "watch": f"\n{SEEN}" if self._said["arrives"] == "t" else "",
            ">=": self._said["arrives"],
            "max(n), 0) FROM": "7",
            "CREATE TABLE": "",
        }
        answer = next(answer for part, answer in answers.items() if part in asked)
        return int("watch" in asked and not answer), answer


RIGHT = {"archived": "0", "synchronous": "database-eu-2", "arrives": "t"}


@pytest.fixture
def hosts(in_project: object, monkeypatch: pytest.MonkeyPatch) -> dict[str, HostSpecification]:
    """Two database servers of one region and one of another, with no time to wait."""
    monkeypatch.setattr(regions, "ARRIVAL_SECONDS", 0)
    monkeypatch.setattr(regions, "_OPEN_SECONDS", 0)
    every = {host.name: host for host in servers_of_stack("vps/phase4")}
    return {name: every[name] for name in ("database-eu-1", "database-eu-2", "database-us-1")}


def _phase(hosts: dict[str, HostSpecification], **said: str) -> Any:
    return SimpleNamespace(servers={name: Server(host, RIGHT | said) for name, host in hosts.items()})


def _failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


def test_a_row_is_timed_from_its_commit_until_it_is_seen(hosts: dict[str, HostSpecification]) -> None:
    checks = list(rows_in_other_regions(_phase(hosts)))

    assert _failed(checks) == []
    assert (checks[0].name, checks[0].figure, checks[0].unit) == ("a row of database-eu-1 is read on database-us-1", 12.0, "ms")


def test_a_row_that_does_not_arrive_is_an_error(hosts: dict[str, HostSpecification]) -> None:
    with pytest.raises(RungwayError, match="database-us-1 has no row of database-eu-1"):
        list(rows_in_other_regions(_phase(hosts, arrives="f")))


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ({"archived": "3"}, ["database-us-1 archives nothing"]),
        ({"synchronous": "database-us-1"}, ["no commit waits for another region"]),
        ({"synchronous": "database-eu-2\ndatabase-us-1"}, ["no commit waits for another region"]),
        ({"synchronous": ""}, []),
    ],
)
def test_what_a_copy_must_not_do_is_said(said: dict[str, str], failed: list[str], hosts: dict[str, HostSpecification]) -> None:
    assert _failed(list(rows_in_other_regions(_phase(hosts, **said)))) == failed


@pytest.mark.parametrize(("arrives", "follows"), [("t", True), ("f", False)])
def test_a_copy_that_does_not_follow_a_failover_is_said(
    arrives: str, follows: bool, hosts: dict[str, HostSpecification], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(regions, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    phase = _phase(hosts, arrives=arrives)
    (check,) = copies_follow(phase, phase.servers["database-eu-2"], 0.0)

    assert (check.name, check.ok) == ("database-us-1 follows the new primary", follows)


def test_a_stack_of_one_region_has_nothing_to_try(hosts: dict[str, HostSpecification]) -> None:
    phase = _phase({name: host for name, host in hosts.items() if host.region == "eu"})

    assert [check.ok for check in rows_in_other_regions(phase)] == [None]
    assert list(copies_follow(phase, phase.servers["database-eu-1"], 0.0)) == []
