"""What can go wrong between here and a server: each is one error that says what to do, and the server ends what it began."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hosts.configuration import HostFile, Service, secret
from hosts.converge.request import Request
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.server import RehearsedServer
from tests.support.rehearsed_server import (
    ADDRESS,
    SERVER,
    WAIT,
    agent,
    ask,
    changed,
    changes,
    error,
    probe,
    read,
    request,
    started,
    wait,
    wait_for_the_middle,
)

DIRECT: dict[str, Any] = {"address": ADDRESS, "config_file": None}
NEXT = Service(name="next", files=(HostFile(path="/etc/next", content="\n"),))


def _key(directory: Path) -> Path:
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


def _let_it_end(server: RehearsedServer) -> None:
    """The server ends the service that is under way, and begins no other."""
    server.run("touch /run/go")
    wait(lambda: not [answer for answer in agent(server) if answer["event"] == "busy"])
    assert read(server) == "two\n"
    assert server.run("test -e /etc/next")[0] == 1
    assert server.run("ls /var/lib/rungway/previous")[1] == ""
    assert changed(agent(server, probe("two", before=(WAIT,)), NEXT)) == ["/etc/next"]
    server.run("rm /etc/next")


def test_an_interrupt_ends_with_one_line_and_the_server_ends_what_it_began(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = started(phase, probe("two", before=(WAIT,)), NEXT)
    wait_for_the_middle(server)
    process.send_signal(signal.SIGINT)

    said, problem = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said == ""
    assert problem == "interrupted: the server ends the service that is under way. Run it again: it goes on with what is not done yet.\n"
    _let_it_end(server)


def test_a_connection_that_breaks_is_one_error_and_the_server_ends_what_it_began(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = started(phase, probe("two", before=(WAIT,)), NEXT)
    wait_for_the_middle(server)
    server.run("pkill --signal KILL sshd-session")

    said, problem = process.communicate(timeout=10)
    assert (process.returncode, said) == (1, "")
    assert problem == f"{SERVER}: the connection ended half way. Run it again: it goes on with what is not done yet.\n"
    _let_it_end(server)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ({**DIRECT, "address": "198.51.100.250"}, "no SSH connection to admin@198.51.100.250:22"),
        ({**DIRECT, "port": 2222}, f"no SSH connection to admin@{ADDRESS}:2222"),
        ({**DIRECT, "address": "unknown.invalid"}, "no SSH connection to admin@unknown.invalid:22"),
    ],
    ids=["no host", "no port", "no name"],
)
def test_a_server_that_does_not_answer_is_one_error(phase: RehearsedPhase, connection: dict[str, Any], expected: str) -> None:
    assert expected in error(ask(phase, probe(), patience_seconds=0.0, **connection))


def test_a_wrong_key_is_refused_at_once(phase: RehearsedPhase, tmp_path: Path) -> None:
    began = time.monotonic()

    said = error(ask(phase, probe(), **DIRECT, key_file=_key(tmp_path)))
    assert "Authentication" in said
    assert "the key of an administrator in ssh_public_keys" in said
    assert time.monotonic() - began < 60


def test_another_host_key_is_refused_at_once(phase: RehearsedPhase, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    kind, public, *_ = _key(tmp_path).with_suffix(".pub").read_text().split()
    known.write_text(f"{ADDRESS} {kind} {public}\n")
    began = time.monotonic()

    said = error(ask(phase, probe(), **DIRECT, known_hosts_file=known))
    assert "host key" in said.lower()
    assert f"ssh-keygen -R {ADDRESS} -f {known}" in said
    assert "ssh_public_keys" not in said
    assert time.monotonic() - began < 60


def test_a_server_that_is_new_here_is_no_reason_for_a_warning(phase: RehearsedPhase, server: RehearsedServer, tmp_path: Path) -> None:
    known = tmp_path / "new/known_hosts"

    done = ask(phase, probe(), **DIRECT, known_hosts_file=known)
    assert changes(done) == []
    assert done.stderr == ""
    assert ADDRESS in known.read_text()


def test_a_first_boot_that_did_not_end_well_is_one_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("printf '#!/bin/sh\\nexit 1\\n' > /usr/local/bin/cloud-init; chmod 755 /usr/local/bin/cloud-init")
    try:
        assert "cloud-init did not end well: `cloud-init status --long` on the server says why" in error(ask(phase, probe()))
        # 2: with errors that it went on from.
        server.run("sed -i 's/exit 1/exit 2/' /usr/local/bin/cloud-init")
        assert changes(ask(phase, probe())) == []
    finally:
        server.run("rm /usr/local/bin/cloud-init")


def test_an_administrator_who_may_not_become_root_is_one_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("mkdir /root/sudoers; mv /etc/sudoers.d/90-* /root/sudoers")
    try:
        said = error(ask(phase, probe()))
    finally:
        server.run("mv /root/sudoers/* /etc/sudoers.d; rmdir /root/sudoers")
    assert said.startswith(f"{SERVER}: admin can't become root without a password; needed: NOPASSWD")


def test_a_placeholder_without_a_value_is_one_error(phase: RehearsedPhase) -> None:
    assert error(ask(phase, probe(secret("unknown")))) == f"{SERVER}: not given: secret unknown\n"


@pytest.mark.parametrize(
    ("closing", "expected"),
    [
        (">&-", "standard output is closed: needed for the result. Nothing was done.\n"),
        ("| true", f"{SERVER}: the convergence ended, but its result could not be printed: Broken pipe\n"),
    ],
    ids=["closed", "nobody reads"],
)
def test_a_result_that_nobody_takes_is_one_error(phase: RehearsedPhase, server: RehearsedServer, closing: str, expected: str) -> None:
    script = f'set -o pipefail; "$@" {closing}'
    done = subprocess.run(
        ["ip", "netns", "exec", phase.network.outside, "bash", "-c", script, "bash", sys.executable, "-m", "hosts.converge"],
        input=TypeAdapter(Request).dump_json(request(phase, probe())).decode(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == expected


@pytest.mark.parametrize("given", ["", "{}", "[1", '{"secrets": {"a": "s3cr3t"}, "mode": 1}'])
def test_what_is_no_request_is_one_error_that_does_not_repeat_it(given: str) -> None:
    done = subprocess.run([sys.executable, "-m", "hosts.converge"], input=given, capture_output=True, text=True)

    assert done.returncode == 1
    assert done.stderr.startswith("standard input: not a convergence request: ")
    assert len(done.stderr.splitlines()) == 1
    assert "s3cr3t" not in done.stderr


def test_an_agent_that_cannot_run_is_one_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("mv /run/rungway-converge.lock /root; ln --symbolic none/none /run/rungway-converge.lock")
    try:
        said = ask(phase, probe())
    finally:
        server.run("rm /run/rungway-converge.lock; mv /root/rungway-converge.lock /run")
    assert said.returncode == 1
    assert said.stderr.startswith(f"{SERVER}: the agent could not run:\n")
    assert "/run/rungway-converge.lock" in said.stderr
