"""rungway drift over a real SSH connection: what is asked, what comes back, and what is said when nothing does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.configuration import HostConfiguration, HostFile, Service, secret
from hosts.converge import run
from hosts.render import host_configuration
from rungway.drift import drift_of, drift_text
from rungway.errors import RungwayError
from rungway.servers import servers_of_stack
from tests.support.database_host import database_host
from tests.support.ssh_server import NO_NAME, SshServer, needs_client, server_with_sudo, set_sudo

ROOT = Path(__file__).resolve().parents[2]
HOST = database_host()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """A server whose sudo runs as who it is."""
    with server_with_sudo(tmp_path) as started:
        yield started


def _drift(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rungway", "drift", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def _answered(server: SshServer, answers: list[dict[str, Any]], status: int = 0) -> None:
    """From now on sudo answers this in place of the agent."""
    file = server.config_file.parent / "answers"
    file.write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
    set_sudo(server, f"cat > /dev/null; cat {file}; exit {status}")


@needs_client
def test_the_agent_looks_and_changes_nothing(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, which is sent along, here on files of this test."""
    wanted, hidden = tmp_path / "wanted.conf", tmp_path / "hidden.conf"
    wanted.write_text("as it is\n")
    lock, real = tmp_path / "lock", run._agent_input
    monkeypatch.setattr(
        run, "_agent_input", lambda question: [line.replace("/run/rungway-converge.lock", str(lock)) for line in real(question)]
    )
    files = (HostFile(path=str(wanted), content="as it should be\n"), HostFile(path=str(hidden), content=secret("redis"), mode=0o600))
    configuration = HostConfiguration(name=HOST.name, private_address=None, services=(Service(name="probe", files=files),))

    found = drift_of(HOST, configuration, server.config_file)
    assert drift_text([found]).splitlines() == [
        "database-eu-1: 1 difference; 1 with secrets or certificates not compared",
        f"  probe: file {wanted}",
        "    --- on the server",
        "    +++ wanted",
        "    @@ -1 +1 @@",
        "    -as it is",
        "    +as it should be",
    ]
    assert (wanted.read_text(), hidden.exists(), lock.exists()) == ("as it is\n", False, True)


@needs_client
def test_the_user_s_own_port_is_used(server: SshServer, in_project: Path) -> None:
    (host,) = servers_of_stack("mvp")
    _answered(server, [{"event": "looked", "service": service.name, "changes": []} for service in host_configuration(host).services])
    done = _drift("mvp", "--ssh-config", str(server.config_file))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("app-eu-1: 0 differences; ")


@needs_client
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("echo 'sudo: a password is required' >&2; exit 1", "app-eu-1: the agent could not run: sudo: a password is required"),
        ("exit 127", "app-eu-1: the agent could not run: exit status 127, without a word"),
        ("cat > /dev/null", "app-eu-1: the connection ended half way. Run it again: it goes on with what is not done yet."),
    ],
)
def test_an_agent_that_does_not_answer_is_told(server: SshServer, body: str, expected: str) -> None:
    set_sudo(server, body)
    done = _drift("mvp", "--ssh-config", str(server.config_file))

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {expected}\n")


@needs_client
def test_a_convergence_that_is_at_work_is_told(server: SshServer) -> None:
    _answered(server, [{"event": "busy", "message": "ann on laptop, since noon"}], status=1)
    done = _drift("mvp", "--ssh-config", str(server.config_file))

    assert done.returncode == 1
    assert done.stderr.startswith("error: app-eu-1: another convergence is at work: ann on laptop, since noon. ")


@needs_client
def test_names_that_lead_nowhere_are_told_with_one_configuration_for_all(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n  HostName {NO_NAME}\n")
    done = _drift("phase2", "--ssh-config", str(config))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count(f"ssh failed: ssh: Could not resolve hostname {NO_NAME}") == 6
    assert done.stderr.count("hint: ") == done.stderr.count(f"write into {config}") == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("Host ")] == [
        "Host monitoring-eu-1",
        "Host app-eu-1",
        "Host database-eu-1",
        "Host database-eu-2",
        "Host redis-eu-1",
        "Host redis-eu-2",
    ]
    assert done.stderr.count("  ProxyJump monitoring-eu-1\n") == 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mvp", "--server", "nope"], "--server nope: found no server of this name in mvp; allowed: app-eu-1"),
        (["serverless/initial"], "serverless/initial: found no server to look at; allowed: stacks with servers"),
    ],
)
def test_what_is_not_there_can_t_be_looked_at(arguments: list[str], expected: str) -> None:
    done = _drift(*arguments)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {expected}\n")


@pytest.mark.parametrize("command", ["drift", "drill"])
def test_ctrl_c_waits_for_no_server(tmp_path: Path, command: str) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/started\nexec sleep 1000\n")
    ssh.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", "rungway", command, "phase2"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, error = process.communicate(timeout=60)

    assert (process.returncode, said, error.strip()) == (130, "", "interrupted")
    assert [pid for pid in (tmp_path / "started").read_text().split() if Path("/proc", pid).exists()] == []


def test_without_a_client_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RungwayError, match=r"^ssh: not found on PATH$"):
        drift_of(HOST, HostConfiguration(name="a", private_address=None, services=()), None)
