"""Runs commands on a stack's servers, with the OpenSSH client of this machine and its configuration."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from hosts.services.ssh import ADMIN_USER
from hosts.specification import HostSpecification
from rungway.errors import RungwayError

CONNECT_SECONDS = 10
"""How long a server may take to answer."""
SILENT_SECONDS = 15
"""How long a server may be silent before ssh asks whether it is still there; the third time without an answer ends the connection."""
SSH_FAILED = 255
"""Exit status of ssh itself (ssh(1)); any other is the command's."""

_under_way: set[subprocess.Popen[str]] = set()
_ended = threading.Event()


class UnknownServerError(RungwayError):
    """A server whose name leads nowhere; the hint is what the SSH configuration has to hold."""

    def __init__(self, message: str, host: HostSpecification, ssh_config: Path | None) -> None:
        super().__init__(message, hint=entries_of([host], ssh_config))
        self.host = host


def run_on_server(host: HostSpecification, command: str, *, ssh_config: Path | None) -> tuple[int, str]:
    """Run a shell command as root on the server; return its exit status and its standard output. Its standard error goes to ours.

    Raises:
        RungwayError: as `call`.
    """
    done = call(host, command, ssh_config=ssh_config)
    sys.stderr.write(done.stderr)
    return done.returncode, done.stdout


def call(host: HostSpecification, command: str, *, ssh_config: Path | None, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shell command as root on the server, with `given` on its standard input.

    The SSH configuration, `ssh_config` or the user's own, knows the server by its name.

    Raises:
        RungwayError: no OpenSSH client here, or the connection can't be made or broke.
    """
    arguments, pipe = ssh_arguments(host.name, command, ssh_config), subprocess.PIPE
    try:
        process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise RungwayError("ssh: not found on PATH", hint="install the OpenSSH client") from error
    _under_way.add(process)
    with process:
        try:
            if _ended.is_set():
                process.kill()
            said, complained = process.communicate(given)
        finally:
            process.kill()
            process.wait()
            _under_way.discard(process)
    done = subprocess.CompletedProcess(arguments, process.returncode, said, complained)
    if done.returncode == SSH_FAILED:
        problem = f"{host.name}: ssh failed: {'; '.join(done.stderr.splitlines()) or 'without a word'}"
        if "Could not resolve hostname" in done.stderr:
            raise UnknownServerError(problem, host, ssh_config)
        raise RungwayError(problem, hint=f"try {shlex.join(['ssh', *_configuration(ssh_config), host.name])}")
    return done


def end_calls() -> None:
    """End every call that is under way in any thread, and each that begins after this: the program is about to end.

    What runs on a server already goes on there.
    """
    # Before: a thread may be just about to start one.
    _ended.set()
    for process in [*_under_way]:
        process.kill()


def ssh_arguments(name: str, command: str, ssh_config: Path | None) -> list[str]:
    """The call of ssh that runs the command as root. It never asks for anything, and says errors alone."""
    options = ("BatchMode=yes", f"ConnectTimeout={CONNECT_SECONDS}", f"ServerAliveInterval={SILENT_SECONDS}", "LogLevel=ERROR")
    given = [word for option in options for word in ("-o", option)]
    return ["ssh", *_configuration(ssh_config), *given, "--", name, f"sudo --non-interactive sh -c {shlex.quote(command)}"]


def _configuration(file: Path | None) -> Iterable[str]:
    return ("-F", str(file)) if file else ()


def entries_of(hosts: Sequence[HostSpecification], ssh_config: Path | None) -> str:
    """What the SSH configuration has to hold for the servers, and for those through which they are reached."""
    entries: dict[str, list[str]] = {}
    for host in hosts:
        if host.jump_host:
            entries.setdefault(host.jump_host, ["  HostName PUBLIC-ADDRESS"])
            entries[host.name] = [f"  HostName {host.private_address or 'PRIVATE-ADDRESS'}", f"  ProxyJump {host.jump_host}"]
        else:
            entries[host.name] = ["  HostName PUBLIC-ADDRESS"]
    lines = [f"write into {ssh_config or '~/.ssh/config'}, with the addresses that `pulumi stack output servers` shows:"]
    for name, entry in entries.items():
        lines += [f"Host {name}", entry[0], f"  User {ADMIN_USER}", *entry[1:]]
    return "\n".join(lines)
