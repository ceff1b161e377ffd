"""Convergence of a real server: Debian 13 with its own init system and sshd, booted here. Each test makes one guard fire."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from hosts.configuration import Account, Directory, HostConfiguration, HostFile, Service, Task, secret
from hosts.converge.request import Request, Result
from infra.host_specifications import host_specifications
from rungway.errors import RungwayError
from rungway.rehearsal.machine import check_machine
from rungway.rehearsal.phase import RehearsedPhase, remove_leftovers
from rungway.rehearsal.rehearse import CACHE, WORK, settings_of
from rungway.rehearsal.server import RehearsedServer
from rungway.stacks import find_stack, project_root

SERVER = "app-eu-1"
NAME = f"test-converge-{os.getpid()}"
CONFIGURATION = "/etc/probe.conf"
UNIT = """\
[Service]
ExecStartPre=/bin/sh -c '! grep --quiet broken /etc/probe.conf'
ExecStart=/usr/bin/sleep infinity

[Install]
WantedBy=multi-user.target
"""


def probe(text: str = "one", **more: Any) -> Service:
    """A small service: it refuses a configuration with the word 'refused' and can't start with 'broken'."""
    files = (HostFile(path=CONFIGURATION, content=f"{text}\n"), HostFile(path="/etc/systemd/system/probe.service", content=UNIT))
    given: dict[str, Any] = {"files": files, "checks": (f"! grep refused {CONFIGURATION}",), "units": ("probe.service",), **more}
    return Service(name="probe", **given)


SLEEP = Task(name="sleep", unless="test -e /run/slept", script="touch /run/sleeping; sleep 4; touch /run/slept")


def _silently(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def phase() -> Iterator[RehearsedPhase]:
    """One server, as its provider hands it over."""
    try:
        check_machine(1, CACHE)
    except RungwayError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
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
    assert not list(Path("/run/netns").glob(f"{NAME}.*"))


@pytest.fixture
def server(phase: RehearsedPhase) -> RehearsedServer:
    """The server, with the small service on it and nothing left of other tests."""
    server = phase.servers[SERVER]
    done = ask(phase, probe())
    assert done.returncode == 0, done.stderr
    server.run("rm -f /run/sleeping /run/slept")
    return server


def request(phase: RehearsedPhase, *services: Service, **connection: Any) -> Request:
    """What is asked: only these services, in the way that `connection` changes."""
    configuration = HostConfiguration(name=SERVER, private_address=None, services=services)
    asked = phase.request(SERVER)
    return dataclasses.replace(asked, configuration=configuration, connection=dataclasses.replace(asked.connection, **connection))


def ask(phase: RehearsedPhase, *services: Service, **connection: Any) -> subprocess.CompletedProcess[str]:
    return phase.ask(request(phase, *services, **connection))


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    result = TypeAdapter(Result).validate_json(done.stdout)
    return [change.name for service in result.services for change in service.changes]


def error(done: subprocess.CompletedProcess[str]) -> str:
    """The one error of a convergence that failed."""
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
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


def wait(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def read(server: RehearsedServer, path: str = CONFIGURATION) -> str:
    return server.run(f"cat {path}")[1]


def main_process(server: RehearsedServer) -> str:
    return server.run("systemctl show --property=MainPID --value probe.service")[1].strip()


def test_packages_accounts_and_directories_are_made_and_a_second_time_nothing(phase: RehearsedPhase, server: RehearsedServer) -> None:
    wanted = probe(
        "ünï çødé " + "x" * 300_000,
        packages=("tree",),
        accounts=(Account(name="probe", groups=("adm",)),),
        directories=(Directory(path="/srv/deep/probe", owner="probe", group="probe", mode=0o750),),
        masked=("unused.service",),
        after=(Task(name="mark", unless="test -e /srv/deep/probe/mark", script="touch /srv/deep/probe/mark"),),
    )

    first = changes(ask(phase, wanted))
    assert first == ["tree", "probe", "/srv/deep/probe", CONFIGURATION, "unused.service", "mark"]
    assert changes(ask(phase, wanted)) == []
    assert server.run("stat --format='%A %U' /srv/deep /srv/deep/probe; id --groups --name probe")[1].split("\n")[:3] == [
        "drwxr-xr-x root",
        "drwxr-x--- probe",
        "probe adm",
    ]
    assert read(server).startswith("ünï çødé x")


def test_looking_shows_what_differs_and_changes_nothing(phase: RehearsedPhase, server: RehearsedServer) -> None:
    asked = dataclasses.replace(request(phase, probe("two")), mode="look")

    found = json.loads(phase.ask(asked).stdout)["services"][0]["changes"]
    assert found == [{"kind": "file", "name": CONFIGURATION, "now": "one\n"}]
    assert read(server) == "one\n"


@pytest.mark.parametrize(
    "drift",
    [
        f"echo other > {CONFIGURATION}",
        f"chmod 600 {CONFIGURATION}",
        f"chown nobody {CONFIGURATION}",
        f"rm {CONFIGURATION}",
        f"ln --symbolic --force /etc/hostname {CONFIGURATION}",
    ],
    ids=["content", "mode", "owner", "gone", "link"],
)
def test_a_file_that_drifted_is_put_back(phase: RehearsedPhase, server: RehearsedServer, drift: str) -> None:
    server.run(drift)

    assert changes(ask(phase, probe())) == [CONFIGURATION]
    assert server.run(f"stat --format='%F %a %U' {CONFIGURATION}")[1] == "regular file 644 root\n"
    assert server.run("cat /etc/hostname")[1] == f"{SERVER}\n"


def test_a_file_that_must_not_be_there_goes(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("touch /etc/left-over")

    assert changes(ask(phase, probe(absent=("/etc/left-over",)))) == ["/etc/left-over"]
    assert server.run("test -e /etc/left-over")[0] == 1


def test_a_configuration_that_its_own_checker_refuses_replaces_nothing(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = main_process(server)

    said = error(ask(phase, probe("refused")))
    assert f"{SERVER}: probe: check `! grep refused {CONFIGURATION}` failed" in said
    assert "Nothing was changed." in said
    assert (read(server), main_process(server)) == ("one\n", process)


def test_a_service_that_does_not_start_gets_its_old_files_back(phase: RehearsedPhase, server: RehearsedServer) -> None:
    said = error(ask(phase, probe("broken")))
    assert "systemctl restart probe.service failed" in said
    assert "The files of probe are as they were before" in said
    assert read(server) == "one\n"
    assert server.run("systemctl is-active probe.service")[0] == 0
    assert changes(ask(phase, probe())) == []


def test_a_service_that_does_not_answer_gets_its_old_files_back(phase: RehearsedPhase, server: RehearsedServer) -> None:
    said = error(ask(phase, probe("two", probe="grep --quiet one /etc/probe.conf", probe_seconds=1)))
    assert "did not succeed within 1 s" in said
    assert read(server) == "one\n"


def test_a_new_service_that_does_not_start_leaves_nothing_failed(phase: RehearsedPhase, server: RehearsedServer) -> None:
    unit = "/etc/systemd/system/late.service"
    files = (HostFile(path=unit, content="[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"),)

    error(ask(phase, Service(name="late", files=files, units=("late.service",))))
    assert server.run(f"test -e {unit}")[0] == 1
    assert server.run("systemctl list-units --failed --plain --no-legend")[1] == ""
    assert server.run("ls /etc/systemd/system/multi-user.target.wants/late.service")[0] != 0


def test_a_task_that_does_not_do_what_it_is_for_is_an_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    said = error(ask(phase, probe(after=(Task(name="mark", unless="test -e /run/never", script="true"),))))
    assert "task “mark” failed" in said
    assert "does not hold afterwards" in said


def test_what_was_interrupted_is_undone_first(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = started(phase, probe("two", before=(SLEEP,)))
    wait(lambda: server.run("test -e /run/sleeping")[0] == 0)
    assert read(server) == "two\n"
    # Nothing of it can clean up, as after a power cut.
    server.run("pkill --signal KILL --full 'python3 -I -c'")
    process.communicate(timeout=30)
    assert process.returncode == 1

    done = ask(phase, probe())
    assert json.loads(done.stdout)["undone"] == ["probe"]
    assert read(server) == "one\n"
    assert changes(ask(phase, probe())) == []


def test_two_at_once_are_refused(phase: RehearsedPhase, server: RehearsedServer) -> None:
    first = started(phase, probe("two", before=(SLEEP,)))
    wait(lambda: server.run("test -e /run/sleeping")[0] == 0)

    assert "another convergence is at work: root on " in error(ask(phase, probe("three")))
    first.communicate(timeout=30)
    assert first.returncode == 0
    assert read(server) == "two\n"


def test_an_interrupt_ends_with_one_line_and_the_server_ends_what_it_began(phase: RehearsedPhase, server: RehearsedServer) -> None:
    process = started(phase, probe("two", before=(SLEEP,)), Service(name="next", files=(HostFile(path="/etc/next", content="\n"),)))
    wait(lambda: server.run("test -e /run/sleeping")[0] == 0)
    process.send_signal(2)

    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("interrupted: the server ends the service")
    assert "Traceback" not in said
    wait(lambda: server.run("test -e /run/slept")[0] == 0)
    wait(lambda: ask(phase, probe("two", before=(SLEEP,))).returncode == 0)
    assert server.run("test -e /etc/next")[0] == 1


def test_a_full_disk_changes_nothing(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("mkdir -p /var/lib/rungway; mount -t tmpfs -o size=64k tmpfs /var/lib/rungway")
    try:
        said = error(ask(phase, probe("x" * 200_000)))
    finally:
        server.run("umount /var/lib/rungway")
    assert "No space left on device" in said
    assert read(server) == "one\n"


def test_a_mirror_that_is_down_is_one_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    server.run("mv /etc/apt/sources.list /etc/apt/kept; echo 'deb [trusted=yes] http://198.51.100.1:9/ ./' > /etc/apt/sources.list")
    server.run("mv /var/lib/apt/lists /var/lib/apt/kept")
    try:
        said = error(ask(phase, probe(packages=("hello",))))
    finally:
        server.run("rm -rf /var/lib/apt/lists; mv /var/lib/apt/kept /var/lib/apt/lists; mv /etc/apt/kept /etc/apt/sources.list")
    assert "installing packages failed" in said
    assert "apt-get install hello failed 3 times" in said
    assert server.run("test -e /usr/sbin/policy-rc.d")[0] == 1


def test_a_secret_is_nowhere_to_be_seen(phase: RehearsedPhase, server: RehearsedServer) -> None:
    """Not among the processes while a task uses it, and not in an error, even when a program repeats it."""
    looks = """\
for file in /proc/[0-9]*/cmdline; do
  if [[ "$(tr '\\0' ' ' < $file 2>/dev/null)" == *"$wanted"* ]]; then echo "seen in $file"; exit 1; fi
done
echo "it is $wanted"
exit 1
"""
    task = Task(name="look", unless="false", script=f"wanted={secret('password')}\n{looks}")

    said = error(ask(phase, probe(after=(task,))))
    assert "it is [secret]" in said
    assert phase.secrets["password"] not in said


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ({"address": "198.51.100.250", "config_file": None, "patience_seconds": 0.0}, "no SSH connection to admin@198.51.100.250:22"),
        (
            {"address": "198.51.100.10", "config_file": None, "port": 2222, "patience_seconds": 0.0},
            "no SSH connection to admin@198.51.100.10:2222",
        ),
    ],
    ids=["no host", "no port"],
)
def test_a_server_that_does_not_answer_is_one_error(
    phase: RehearsedPhase, server: RehearsedServer, connection: dict[str, Any], expected: str
) -> None:
    assert expected in error(ask(phase, probe(), **connection))


def test_a_wrong_key_is_refused_at_once(phase: RehearsedPhase, server: RehearsedServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    began = time.monotonic()

    said = error(ask(phase, probe(), address="198.51.100.10", config_file=None, key_file=key))
    assert "Authentication" in said
    assert "the key of an administrator in ssh_public_keys" in said
    assert time.monotonic() - began < 60


def test_another_host_key_is_refused(phase: RehearsedPhase, server: RehearsedServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    known = tmp_path / "known_hosts"
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    known.write_text(f"198.51.100.10 {kind} {public}\n")

    said = error(ask(phase, probe(), address="198.51.100.10", config_file=None, known_hosts_file=known, patience_seconds=0.0))
    assert "host key" in said.lower()


def test_a_placeholder_without_a_value_is_one_error(phase: RehearsedPhase, server: RehearsedServer) -> None:
    assert error(ask(phase, probe(secret("unknown")))) == f"{SERVER}: not given: secret unknown\n"


def test_drift_is_shown_with_a_diff_and_without_secrets(phase: RehearsedPhase, server: RehearsedServer) -> None:
    """By the command, against the server of the real stack: this one has next to nothing of it."""
    config = phase.directory / "ssh_config"
    command = ["ip", "netns", "exec", phase.network.outside, sys.executable, "-m", "rungway", "drift", "mvp", "--ssh-config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 6, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith(f"{SERVER}: ")
    assert first.endswith("with secrets or certificates not compared")
    assert "  ssh: file /etc/ssh/sshd_config.d/00-bootstrap.conf" in lines
    assert "    +++ wanted" in lines
    assert not any("users.acl" in line for line in lines)
    assert server.run("test -e /etc/nginx")[0] == 1
