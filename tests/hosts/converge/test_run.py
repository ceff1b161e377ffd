"""What is made of the agent's answers, and of a connection whose other end has gone."""

import dataclasses
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hosts.configuration import HostConfiguration, Service
from hosts.converge import run
from hosts.converge.request import Connection, Request

SECRETS = {"password": "s3cr3t"}
CONVERGED = {"event": "converged", "service": "a", "changes": [], "seconds": 1.5}


def _request(*services: str) -> Request:
    configuration = HostConfiguration(name="app-eu-1", private_address=None, services=tuple(Service(name=name) for name in services))
    return Request(configuration=configuration, connection=Connection(address="203.0.113.7"), secrets=SECRETS, addresses={})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the agent answers."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(run, "_ask", lambda *_: given)
    return given


def test_a_text_of_the_server_is_told_without_secrets(answers: list[dict[str, Any]]) -> None:
    """What is not secret any more may have been before."""
    change = {"kind": "file", "name": "/etc/a", "now": "password is s3cr3t"}
    answers.append({**CONVERGED, "changes": [change, {"kind": "unit", "name": "a.service"}]})

    first, second = run.converge(_request("a")).services[0].changes
    assert (first.now, second.now) == ("password is [secret]", None)


def test_a_failure_is_told_without_secrets(answers: list[dict[str, Any]]) -> None:
    answers.append({"event": "failed", "service": "a", "step": "check `test s3cr3t`", "message": "no s3cr3t"})

    with pytest.raises(run.ConvergeError, match=r"^app-eu-1: a: check `test \[secret\]` failed:\nno \[secret\]$"):
        run.converge(_request("a"))


def test_what_the_connection_says_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashed(*_: object) -> None:
        raise run.ConvergeError("KeyError: 's3cr3t'")

    monkeypatch.setattr(run, "_ask", crashed)
    with pytest.raises(run.ConvergeError, match=r"^KeyError: '\[secret\]'$"):
        run.converge(_request("a"))


def test_services_without_an_answer_are_not_taken_for_done(answers: list[dict[str, Any]]) -> None:
    answers += [{"event": "undone", "service": "b"}, CONVERGED]

    with pytest.raises(run.ConvergeError, match="the connection ended half way"):
        run.converge(_request("a", "b"))
    result = run.converge(_request("a"))
    assert (result.undone, result.services[0].seconds) == (("b",), 1.5)


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    assert run._who() == f"{getpass.getuser()} on {socket.gethostname()}"
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert run._who().startswith("user ")


class _Transport:
    """As paramiko's: over a socket, or over a channel of another transport."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.keepalive = 0

    def set_keepalive(self, seconds: int) -> None:
        self.keepalive = seconds


class _Channel:
    def __init__(self, transport: _Transport) -> None:
        self._transport = transport

    def get_transport(self) -> _Transport:
        return self._transport


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_silence_ends_a_connection_also_one_through_a_jump_host() -> None:
    with socket.socket() as tcp:
        jump = _Transport(tcp)
        inner = _Transport(_Channel(jump))
        run._notice_silence(inner)
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == run.SILENCE_SECONDS * 1000
    assert inner.keepalive == jump.keepalive == run.KEEPALIVE_SECONDS


def test_a_connection_through_a_program_is_kept_alive_as_well() -> None:
    transport = _Transport(object())

    run._notice_silence(transport)
    assert transport.keepalive == run.KEEPALIVE_SECONDS


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (Connection(address="203.0.113.7"), "ssh-keygen -R 203.0.113.7"),
        (Connection(address="203.0.113.7", port=2222), "ssh-keygen -R [203.0.113.7]:2222"),
    ],
)
def test_the_command_that_forgets_a_key_knows_the_port(connection: Connection, expected: str) -> None:
    assert run._how_to_forget(connection).endswith(expected)


def test_an_interrupt_at_the_very_beginning_is_one_line_too(tmp_path: Path) -> None:
    """While the program still loads what it needs: here something that never ends loading."""
    (tmp_path / "pydantic.py").write_text(f"import pathlib, time\npathlib.Path({str(tmp_path / 'loading')!r}).touch()\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command, pipe = [sys.executable, "-m", "hosts.converge"], subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        while not (tmp_path / "loading").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, problem = process.communicate(timeout=30)

    assert (process.returncode, said) == (130, "")
    assert problem.startswith("interrupted: ")
    assert problem.count("\n") == 1


def test_the_agent_is_asked_in_ascii() -> None:
    """Whatever encoding the server's locale has."""
    service = Service(name="ü")

    assert json.dumps(run._service(service, service)).isascii()


@pytest.mark.parametrize("home", ["/dev/null", "/proc"])
def test_a_home_that_can_t_be_written_to_is_one_error(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    connection = Connection(address="127.0.0.1", port=1, known_hosts_file=Path("~/.ssh/known_hosts.mine"), patience_seconds=0)
    request = dataclasses.replace(_request("a"), connection=connection)

    with pytest.raises(
        run.ConvergeError, match=r"^app-eu-1: can't keep host keys in ~/\.ssh/known_hosts\.mine: .*Needed: a home directory"
    ):
        run.converge(request)


def test_what_is_no_ssh_server_is_one_error() -> None:
    """Paramiko would log a traceback of what it then raises."""

    def hang_up() -> None:
        # Until the listener is shut down.
        with suppress(OSError):
            while True:
                listener.accept()[0].close()

    listener = socket.create_server(("127.0.0.1", 0))
    answering = threading.Thread(target=hang_up)
    answering.start()
    connection = Connection(address="127.0.0.1", port=listener.getsockname()[1], patience_seconds=0)
    document = TypeAdapter(Request).dump_json(dataclasses.replace(_request("a"), connection=connection))
    done = subprocess.run([sys.executable, "-m", "hosts.converge"], input=document, capture_output=True, timeout=60, check=False)
    listener.shutdown(socket.SHUT_RDWR)
    answering.join()
    listener.close()

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"app-eu-1: no SSH connection to admin@127.0.0.1:")
    assert done.stderr.count(b"\n") == 1


def test_without_a_standard_input_it_is_said() -> None:
    done = subprocess.run(["sh", "-c", f"{sys.executable} -m hosts.converge <&-"], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "standard input: not a convergence request: no JSON\n")
