"""Whole phases, booted here with their real services: what people would notice of everything that can go wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rungway.rehearsal.rehearse import WORK
from tests.support.machine import require_machine

SERVERS = 7
"""The most that one of these rehearsals boots."""
LONGEST_SECONDS = 1500


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    require_machine(SERVERS)


PHASES = [("mvp",), ("phase2",), ("phase3", "--role", "database", "--role", "redis")]


@pytest.fixture(scope="module", params=PHASES, ids=lambda words: words[0])
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a rehearsal of the phase says, as JSON. It must leave nothing behind, whatever it found."""
    stack = request.param[0].replace("/", "-")
    command = [sys.executable, "-m", "rungway", "rehearse", *request.param, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"exit code {done.returncode}: {done.stderr[-3000:]}")
    assert not list(Path("/run/netns").glob(f"rehearsal-{stack}.*"))
    assert not (WORK / f"rehearsal-{stack}").exists()
    assert f"/rehearsal-{stack}/" not in Path("/proc/mounts").read_text()
    assert (done.returncode == 0) is found["ok"]
    return found


def test_nothing_failed(report: dict[str, Any]) -> None:
    assert [check for check in report["checks"] if check["ok"] is False] == []


def test_no_acknowledged_row_was_lost(report: dict[str, Any]) -> None:
    """Every phase has a power cut of its database among its checks."""
    lost = {check["name"]: check["figure"] for check in report["checks"] if check["name"].endswith("acknowledged rows lost")}
    assert "power cut of the database's primary: acknowledged rows lost" in lost
    assert set(lost.values()) == {0}


def test_a_second_convergence_changed_nothing(report: dict[str, Any]) -> None:
    second = [check for check in report["checks"] if check["name"].startswith("second convergence of ")]
    assert second
    assert {check["note"] for check in second} == {"0 changes"}


def test_what_was_skipped_says_why(report: dict[str, Any]) -> None:
    assert all(check["note"] for check in report["checks"] if check["ok"] is None)
