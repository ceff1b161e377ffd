"""rungway drill over a real SSH connection: what is asked, what comes back, and what is said when nothing does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rungway.errors import RungwayError
from rungway.remote import run_on_server, ssh_arguments
from tests.support.database_host import database_host
from tests.support.ssh_server import NO_NAME, SshServer, needs_client, server_with_sudo

ROOT = Path(__file__).resolve().parents[2]
HOST = database_host()
CHECK = {"name": "recovery time", "ok": True, "found": 5.7, "limit": 3600, "unit": "s", "note": ""}
KEPT = {"server": "vm", "began": "2026-11-21T10:31:14+00:00", "target": "", "ok": True, "checks": [CHECK]}
MISSED = {**KEPT, "ok": False, "checks": [{**CHECK, "ok": False, "found": 4000}]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """A server whose sudo runs as who it is."""
    with server_with_sudo(tmp_path) as started:
        yield started


def test_ssh_asks_nothing_and_gets_the_command_as_one_word() -> None:
    assert ssh_arguments("database-eu-1", "echo 'a  b' > /x", None) == [
        "ssh",
        *("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR"),
        "--",
        "database-eu-1",
        """sudo --non-interactive sh -c 'echo '"'"'a  b'"'"' > /x'""",
    ]


def test_a_configuration_of_its_own_is_named_first() -> None:
    assert ssh_arguments("database-eu-1", "true", Path("my config"))[:3] == ["ssh", "-F", "my config"]


@needs_client
@pytest.mark.parametrize("command", ["printf '%s' \"a  b\"", "printf '%s' 'a  b' | cat", "printf 'a  %s' \\\nb", "x=b; printf 'a  %s' $x"])
def test_a_command_arrives_as_it_was_written(server: SshServer, command: str) -> None:
    assert run_on_server(HOST, command, ssh_config=server.config_file) == (0, "a  b")


@needs_client
def test_status_and_standard_error_of_the_command_come_back(server: SshServer, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_on_server(HOST, "echo out; echo err >&2; exit 7", ssh_config=server.config_file) == (7, "out\n")
    assert capfd.readouterr() == ("", "err\n")


@needs_client
def test_a_connection_that_breaks_is_told_with_a_command_to_try(server: SshServer) -> None:
    server.breaks = True
    with pytest.raises(RungwayError) as caught:
        run_on_server(HOST, "true", ssh_config=server.config_file)

    assert str(caught.value).startswith("database-eu-1: ssh failed: ")
    assert caught.value.hint == f"try ssh -F {server.config_file} database-eu-1"


@needs_client
def test_a_server_that_does_not_answer_is_told(server: SshServer, tmp_path: Path) -> None:
    config = tmp_path / "closed"
    config.write_text("Host *\n  HostName 127.0.0.1\n  Port 1\n")
    with pytest.raises(RungwayError) as caught:
        run_on_server(HOST, "true", ssh_config=config)

    assert str(caught.value) == "database-eu-1: ssh failed: ssh: connect to host 127.0.0.1 port 1: Connection refused"
    assert caught.value.hint == f"try ssh -F {config} database-eu-1"


@needs_client
@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        (
            {},
            "Host monitoring-eu-1\n  HostName PUBLIC-ADDRESS\n  User admin\n"
            "Host database-eu-1\n  HostName 10.0.2.10\n  User admin\n  ProxyJump monitoring-eu-1",
        ),
        (
            {"private_address": None},
            "Host monitoring-eu-1\n  HostName PUBLIC-ADDRESS\n  User admin\n"
            "Host database-eu-1\n  HostName PRIVATE-ADDRESS\n  User admin\n  ProxyJump monitoring-eu-1",
        ),
        ({"jump_host": None}, "Host database-eu-1\n  HostName PUBLIC-ADDRESS\n  User admin"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_what_to_write(tmp_path: Path, changes: dict[str, Any], entries: str) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  HostName {NO_NAME}\n")
    with pytest.raises(RungwayError) as caught:
        run_on_server(database_host(**changes), "true", ssh_config=config)

    assert str(caught.value).startswith(f"database-eu-1: ssh failed: ssh: Could not resolve hostname {NO_NAME}: ")
    assert caught.value.hint == f"write into {config}, with the addresses that `pulumi stack output servers` shows:\n{entries}"


def test_without_a_client_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RungwayError, match=r"^ssh: not found on PATH$"):
        run_on_server(HOST, "true", ssh_config=None)


def _drill(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rungway", "drill", "phase2", "--ssh-config", str(config), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def _answers(server: SshServer, body: str) -> None:
    """From now on sudo runs this in place of the drill."""
    sudo = server.config_file.parent / "programs" / "sudo"
    sudo.write_text(f"#!/bin/sh\n{body}\n")


@needs_client
def test_a_drill_that_kept_every_promise_ends_with_0(server: SshServer) -> None:
    _answers(server, f"echo '{json.dumps(KEPT)}'")
    done = _drill(server.config_file)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "database-eu-2: restored, began 2026-11-21T10:31:14+00:00",
        "",
        "ok      recovery time                              5.7 s  at most 3600 s",
        "",
        "every promise was kept",
    ]
    assert server.asked == ["sudo --non-interactive sh -c /usr/local/sbin/rungway-drill"]


@needs_client
def test_a_drill_that_missed_a_promise_ends_with_1_for_programs_too(server: SshServer) -> None:
    _answers(server, f"echo restoring >&2; echo '{json.dumps(MISSED)}'; exit 1")
    done = _drill(server.config_file, "--json", "--server", "database-eu-1", "--to", "2026-11-21 10:30")

    assert (done.returncode, done.stderr) == (1, "restoring\n")
    assert json.loads(done.stdout) == {**MISSED, "server": "database-eu-1"}
    assert server.asked == ["""sudo --non-interactive sh -c '/usr/local/sbin/rungway-drill --to '"'"'2026-11-21 10:30'"'"''"""]


@needs_client
def test_an_answer_that_is_none_is_told(server: SshServer) -> None:
    _answers(server, "echo 'sudo: a password is required' >&2; exit 1")
    done = _drill(server.config_file)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "sudo: a password is required",
        "error: database-eu-2: the drill ended with status 1 and said: nothing; expected: one line of JSON",
        "hint: on the server: journalctl --unit backup-drill; /usr/local/sbin/rungway-drill",
    ]


def test_a_server_that_the_stack_does_not_have_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.touch()
    done = _drill(config, "--server", "database-eu-3")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: --server database-eu-3: found no database server with backups of this name; allowed: database-eu-1, database-eu-2\n"
    )


def test_a_configuration_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = _drill(tmp_path / "none")

    assert done.returncode == 2
    assert "does not exist" in done.stderr
