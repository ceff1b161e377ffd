"""What a rehearsal refuses before it boots anything, and how it is ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal import rehearse
from rungway.rehearsal.rehearse import RehearsedAlreadyError, _alone, _guarded, ended_by_signals, rehearsal_name, rehearsed, take_down
from rungway.rehearsal.report import Check
from rungway.stacks import Stack

MVP = Stack("mvp", "mvp", Path("Pulumi.mvp.yaml"))


@pytest.mark.parametrize(
    ("stack", "roles", "message"),
    [
        ("mvp", {"databse"}, "mvp: found no server of the role databse; allowed: app"),
        ("phase2", {"app", "x", "y"}, "phase2: found no server of the role x, y; allowed: app, database, monitoring, redis"),
        ("serverless/initial", set(), "serverless/initial: found no server to rehearse; allowed: stacks with servers"),
    ],
)
def test_roles_that_the_stack_has_not_are_refused(stack: str, roles: set[str], message: str) -> None:
    with pytest.raises(RungwayError) as caught:
        list(rehearsed(stack, print, roles=frozenset(roles)))

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        (MVP, "rehearsal-mvp"),
        (Stack("vps/phase3", "phase3", Path("roadmaps/vps/Pulumi.phase3.yaml")), "rehearsal-vps-phase3"),
        (Stack("/home/me/Pulumi.phase3.yaml", "phase3", Path("/home/me/Pulumi.phase3.yaml")), "rehearsal-phase3-bc03e3a0"),
    ],
)
def test_a_rehearsal_is_named_after_its_stack(stack: Stack, name: str) -> None:
    assert rehearsal_name(stack) == name


def test_a_stack_is_rehearsed_once_at_a_time_and_others_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rehearse, "WORK", tmp_path)
    with _alone(MVP):
        with pytest.raises(RehearsedAlreadyError) as caught, _alone(MVP):
            pass
        with _alone(Stack("phase2", "phase2", Path("Pulumi.phase2.yaml"))):
            pass

    assert str(caught.value) == f"mvp: process {os.getpid()} rehearses it already"
    assert caught.value.hint == "wait for it, or end it with `rungway rehearse mvp --down`"
    with _alone(MVP):
        pass


_RUNNING = """
import sys, time
from pathlib import Path
from rungway.rehearsal import rehearse
from rungway.stacks import Stack
rehearse.WORK = Path(sys.argv[1])
with rehearse.ended_by_signals(), rehearse._alone(Stack("mvp", "mvp", Path("Pulumi.mvp.yaml"))):
    try:
        print("running", flush=True)
        time.sleep(300)
    finally:
        print("removed", flush=True)
"""


def test_taking_down_a_running_rehearsal_ends_it_and_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rehearse, "WORK", tmp_path)
    removed = []
    monkeypatch.setattr(rehearse, "remove_leftovers", lambda name, directory: removed.append((name, directory)))
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNING, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "running\n"
        take_down("mvp")
        out, err = running.communicate(timeout=60)

    assert out == "removed\n"
    assert err.endswith("RungwayError: rehearsal: ended by SIGTERM\n")
    assert removed == [("rehearsal-mvp", tmp_path / "rehearsal-mvp")]


def test_a_rehearsal_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rehearse, "WORK", tmp_path)
    monkeypatch.setattr(rehearse, "END_SECONDS", -1)
    with _alone(MVP), pytest.raises(RehearsedAlreadyError):
        take_down("mvp")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_no_failed_check_and_comes_once(number: signal.Signals) -> None:
    removed = []

    def checks() -> Iterator[Check]:
        os.kill(os.getpid(), number)
        yield Check("never", True)

    def attempt() -> None:
        try:
            list(_guarded("an attempt", checks()))
        finally:
            for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), other)
            removed.append("everything")

    before = signal.getsignal(number)
    with pytest.raises(RungwayError) as caught, ended_by_signals():
        attempt()

    assert str(caught.value) == f"rehearsal: ended by {number.name}"
    assert caught.value.exit_code == 128 + number
    assert removed == ["everything"]
    assert signal.getsignal(number) is before


def test_commands_that_run_for_a_rehearsal_end_with_it_and_servers_do_not() -> None:
    """As with Ctrl-C at a terminal, whoever sent the signal."""
    command, server = subprocess.Popen(["sleep", "300"]), subprocess.Popen(["sleep", "300"], start_new_session=True)
    with pytest.raises(RungwayError, match="ended by SIGTERM"), ended_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)

    assert command.wait(10) == -signal.SIGTERM
    assert server.poll() is None
    server.kill()
    server.wait()
