"""One Debian 13 server with its own init system and sshd, booted here, and ways to converge it: over SSH, and by the agent alone."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from hosts.configuration import HostConfiguration, HostFile, Service, Task
from hosts.converge import run
from hosts.converge.request import Request, Result
from infra.host_specifications import host_specifications
from rungway.rehearsal.cgroups import CGROUPS
from rungway.rehearsal.phase import RehearsedPhase, remove_leftovers
from rungway.rehearsal.rehearse import CACHE, WORK, settings_of
from rungway.rehearsal.server import RehearsedServer
from rungway.stacks import find_stack, project_root
from tests.support.machine import require_machine

SERVER = "app-eu-1"
ADDRESS = "198.51.100.10"
NAME = f"test-converge-{os.getpid()}"
CONFIGURATION = "/etc/probe.conf"
UNIT = """\
[Service]
ExecStartPre=/bin/sh -c 'if grep --quiet broken /etc/probe.conf; then echo it is broken; exit 1; fi'
ExecStart=/usr/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""

WAIT = Task(
    name="wait",
    unless="test -e /run/waited",
    script="touch /run/waiting\nfor i in {1..300}; do if test -e /run/go; then break; fi; sleep 0.1; done\ntouch /run/waited",
)
"""Waits until a test lets it go on: whatever is to happen half way can happen then."""


def probe(text: str = "one", **more: Any) -> Service:
    """A small service: it refuses a configuration with the word 'refused' and can't start with 'broken'."""
    files = (HostFile(path=CONFIGURATION, content=f"{text}\n"), HostFile(path="/etc/systemd/system/probe.service", content=UNIT))
    given: dict[str, Any] = {"files": files, "checks": (f"! grep refused {CONFIGURATION}",), "units": ("probe.service",), **more}
    return Service(name="probe", **given)


def _silently(_: str) -> None:
    return None


@contextmanager
def rehearsed_phase() -> Iterator[RehearsedPhase]:
    """One server, as its provider hands it over. Skips the test where none can be booted; where CI is true that is a failure."""
    require_machine(1)
    settings = settings_of(find_stack("mvp", project_root(Path.cwd())))
    phase = RehearsedPhase(NAME, settings, host_specifications(settings), WORK / NAME, CACHE, _silently)
    # Nothing of the phase itself is needed, nor its packages.
    phase.configurations[SERVER] = HostConfiguration(
        name=SERVER, private_address=None, services=(Service(name="none", packages=("tree",)),)
    )
    phase.secrets = {"password": "s3cr3t-of-the-test"}
    try:
        phase.prepare()
        phase.boot()
        yield phase
    finally:
        phase.remove()
        remove_leftovers(NAME, WORK / NAME)
    assert NAME not in Path("/proc/mounts").read_text()
    assert str(WORK / NAME) not in subprocess.run(["losetup", "--list", "--json"], capture_output=True, text=True, check=True).stdout
    assert not list(Path("/run/netns").glob(f"{NAME}.*"))
    assert not [*CGROUPS.glob(NAME), *CGROUPS.glob(f"*/{NAME}")]


def request(phase: RehearsedPhase, *services: Service, **connection: Any) -> Request:
    """What is asked: only these services, in the way that `connection` changes."""
    configuration = HostConfiguration(name=SERVER, private_address=None, services=services)
    asked = phase.request(SERVER)
    return dataclasses.replace(asked, configuration=configuration, connection=dataclasses.replace(asked.connection, **connection))


def ask(phase: RehearsedPhase, *services: Service, **connection: Any) -> subprocess.CompletedProcess[str]:
    """A convergence of these services, by the program that `pulumi up` runs."""
    return phase.ask(request(phase, *services, **connection))


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a convergence that succeeded changed."""
    assert done.returncode == 0, done.stderr
    result = TypeAdapter(Result).validate_json(done.stdout)
    return [change.name for service in result.services for change in service.changes]


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one error of a convergence that failed."""
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"{SERVER}: ")
    return done.stderr


def started(phase: RehearsedPhase, *services: Service) -> subprocess.Popen[str]:
    """A convergence that is under way."""
    command = ["ip", "netns", "exec", phase.network.outside, sys.executable, "-m", "hosts.converge"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(TypeAdapter(Request).dump_json(request(phase, *services)).decode())
    process.stdin.close()
    # communicate() would flush what is closed.
    process.stdin = None
    return process


def agent(server: RehearsedServer, *services: Service, **constants: Any) -> list[dict[str, Any]]:
    """The answers of the agent, run on the server without a connection; `constants` are set in its module first."""
    program = Path(run.__file__).with_name("agent.py").read_text()
    start = 'if __name__ == "__main__":\n'
    assert start in program
    program = program.replace(start, "".join(f"{name} = {value!r}\n" for name, value in constants.items()) + start)
    question = {"mode": "apply", "who": "a test", "services": [run._service(service, service) for service in services]}
    _, said = server.run(f'python3 -I -c "{run._RUN_AGENT}"', 120, stdin=f"{json.dumps(program)}\n{json.dumps(question)}\n")
    return [json.loads(line) for line in said.splitlines()]


def changed(answers: list[dict[str, Any]]) -> list[str]:
    """What an agent that succeeded changed."""
    assert all(answer["event"] in ("undone", "converged") for answer in answers), answers
    return [change["name"] for answer in answers for change in answer.get("changes", [])]


def failure(answers: list[dict[str, Any]]) -> str:
    """What an agent that failed said."""
    assert answers[-1]["event"] == "failed", answers
    return f"{answers[-1]['step']} failed: {answers[-1]['message']}"


def wait(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for_the_middle(server: RehearsedServer) -> None:
    """Until the task `WAIT` waits: the new files are in place then, and the service does not run with them yet."""
    wait(lambda: server.run("test -e /run/waiting")[0] == 0)


def read(server: RehearsedServer, path: str = CONFIGURATION) -> str:
    """The text of a file of the server."""
    return server.run(f"cat {path}")[1]


def main_process(server: RehearsedServer) -> str:
    """The service's process."""
    return server.run("systemctl show --property=MainPID --value probe.service")[1].strip()
