"""rungway drill: which server is asked, what it answers, and an exit status that a schedule can rely on."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rungway.drill import COMMAND, Drill, drill_json, drill_text, run_drill
from rungway.errors import RungwayError
from tests.support.database_host import database_host

HOSTS = [database_host(1, nodes=2), database_host(2, nodes=2), database_host(1, name="database-us-1", region="us")]
KEPT = {"name": "recovery time", "ok": True, "found": 5.7, "limit": 3600, "unit": "s", "note": ""}
MISSED = {"name": "recovery point", "ok": False, "found": 400.5, "limit": 300, "unit": "s", "note": ""}
READ = {"name": "page checksums", "ok": True, "found": None, "limit": None, "unit": "", "note": "all of them"}


def _answer(*checks: dict[str, Any]) -> str:
    ok = all(check["ok"] for check in checks)
    return json.dumps({"server": "vm", "began": "2026-11-21T10:31:14+00:00", "target": "", "ok": ok, "checks": checks})


class Servers:
    """Every server is this one: the drill's program is replaced by a shell script, and who was asked is kept."""

    def __init__(self, directory: Path, body: str) -> None:
        self.asked: list[str] = []
        self._program = directory / "rungway-drill"
        self._program.write_text(f"#!/bin/bash\n{body}\n")
        self._program.chmod(0o755)

    def run(self, server: str, command: str) -> tuple[int, str]:
        self.asked.append(server)
        done = subprocess.run(["bash", "-c", command.replace(COMMAND, str(self._program))], stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout


def _run(tmp_path: Path, body: str, **arguments: Any) -> Drill:
    return run_drill(HOSTS, Servers(tmp_path, body).run, **arguments)


def test_kept_promises_end_with_0_and_every_check_has_a_line(tmp_path: Path) -> None:
    drill = _run(tmp_path, f"echo noise; echo '{_answer(KEPT, READ)}'")

    assert drill.exit_code == 0
    assert drill_text(drill).splitlines() == [
        "database-eu-2: restored, began 2026-11-21T10:31:14+00:00",
        "",
        "ok      recovery time                              5.7 s  at most 3600 s",
        "ok      page checksums                                                          all of them",
        "",
        "every promise was kept",
    ]


def test_a_missed_promise_ends_with_1(tmp_path: Path) -> None:
    drill = _run(tmp_path, f"echo '{_answer(KEPT, MISSED)}'; exit 1")

    assert drill.exit_code == 1
    assert "MISSED  recovery point                           400.5 s  at most 300 s" in drill_text(drill).splitlines()
    assert drill_text(drill).splitlines()[-1] == "a promise was missed"


def test_an_exit_status_is_believed_more_than_words(tmp_path: Path) -> None:
    assert _run(tmp_path, f"echo '{_answer(KEPT)}'; exit 1").exit_code == 1


def test_programs_get_the_same(tmp_path: Path) -> None:
    shown = drill_json(_run(tmp_path, f"echo '{_answer(MISSED)}'; exit 1"))

    assert (shown["server"], shown["ok"], shown["checks"]) == ("database-eu-2", False, (MISSED,))


@pytest.mark.parametrize(("server", "asked"), [(None, "database-eu-2"), ("database-us-1", "database-us-1")])
def test_a_standby_of_the_first_region_is_asked_unless_another_is_named(tmp_path: Path, server: str | None, asked: str) -> None:
    servers = Servers(tmp_path, f"echo '{_answer(KEPT)}'")

    assert run_drill(HOSTS, servers.run, server=server).server == asked
    assert servers.asked == [asked]


def test_the_time_to_restore_to_is_one_word_with_a_blank_in_it(tmp_path: Path) -> None:
    body = f'[ "$#" = 2 ] && [ "$1" = --to ] && [ "$2" = "2026-11-21 10:00" ] && echo \'{_answer(KEPT)}\''

    assert _run(tmp_path, body, to="2026-11-21 10:00").ok


@pytest.mark.parametrize("to", ["yesterday", "2026-11-21 10:00; exit 0", "21.11.2026", "--help"])
def test_what_is_no_time_is_refused_before_anything_is_asked(tmp_path: Path, to: str) -> None:
    servers = Servers(tmp_path, "exit 0")

    with pytest.raises(RungwayError, match=f"^--to '{to}': found no time of ISO 8601; allowed: "):
        run_drill(HOSTS, servers.run, to=to)
    assert servers.asked == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("exit 255", "status 255 and said: nothing"),
        ("echo '[]'", "status 0 and said: []"),
        ("echo oops; exit 2", "status 2 and said: oops"),
    ],
)
def test_an_answer_that_is_none_is_shown(tmp_path: Path, body: str, found: str) -> None:
    with pytest.raises(RungwayError) as caught:
        _run(tmp_path, body)

    assert str(caught.value) == f"database-eu-2: the drill ended with {found}; expected: one line of JSON"


def test_a_name_that_is_no_database_server_with_backups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RungwayError) as caught:
        _run(tmp_path, "exit 0", server="app-eu-1")

    assert str(caught.value) == (
        "--server app-eu-1: found no database server with backups of this name; allowed: database-eu-1, database-eu-2, database-us-1"
    )


def test_a_stack_without_backups_has_nothing_to_restore(tmp_path: Path) -> None:
    servers = Servers(tmp_path, "exit 0")

    with pytest.raises(RungwayError, match=r"rungway:backup\.enabled"):
        run_drill([database_host(backup=None)], servers.run)
    assert servers.asked == []
