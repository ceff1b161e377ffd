"""What differs between a stack's servers and what they should be, without changing anything: the dry run of a convergence, with a diff.

Secrets stay where they are: files and tasks that hold one are left out, and counted. So are the servers' certificates.
"""

import difflib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hosts.configuration import PLACEHOLDER, HostConfiguration, Service, Task
from hosts.converge.request import Change
from hosts.converge.run import ConvergeError, look_at
from hosts.render import host_configuration
from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.remote import UnknownServerError, call, end_calls, entries_of
from rungway.servers import servers_of_stack

AT_ONCE = 8
"""Servers that are looked at side by side."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs on one server, service by service; `not_compared` counts what holds a secret or a certificate."""

    server: str
    changes: tuple[tuple[str, Change], ...]
    not_compared: int
    wanted: dict[str, str]


def look(stack_name: str, *, server: str | None, ssh_config: Path | None) -> list[Drift]:
    """Look at every server of the stack, or at one. The SSH configuration, `ssh_config` or the user's own, knows them by their names.

    Raises:
        RungwayError: no such stack or server, or servers that can't be looked at: all of them are listed.
    """
    hosts = {host.name: host for host in servers_of_stack(stack_name)}
    if not hosts:
        raise RungwayError(f"{stack_name}: found no server to look at; allowed: stacks with servers")
    if server is not None and server not in hosts:
        raise RungwayError(f"--server {server}: found no server of this name in {stack_name}; allowed: {', '.join(hosts)}")
    chosen = [host for name, host in hosts.items() if server in (None, name)]
    problems: list[RungwayError] = []
    found = []
    wanted = [(host, host_configuration(host), ssh_config) for host in chosen]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        try:
            for future in [pool.submit(drift_of, *each) for each in wanted]:
                try:
                    found.append(future.result())
                except RungwayError as error:
                    problems.append(error)
        except KeyboardInterrupt:
            # Else it would wait for servers that may never answer.
            pool.shutdown(wait=False, cancel_futures=True)
            end_calls()
            raise
    if problems:
        raise RungwayError("\n".join(str(problem) for problem in problems), hint=_hint(problems, ssh_config))
    return found


def _hint(problems: list[RungwayError], ssh_config: Path | None) -> str:
    """What to do about them: one configuration for all servers that it lacks, and each other thing once."""
    unknown = [problem.host for problem in problems if isinstance(problem, UnknownServerError)]
    others = [problem.hint for problem in problems if not isinstance(problem, UnknownServerError)]
    return "\n".join(dict.fromkeys(filter(None, [*others, entries_of(unknown, ssh_config) if unknown else ""])))


def drift_of(host: HostSpecification, configuration: HostConfiguration, ssh_config: Path | None) -> Drift:
    """What differs between one server and its configuration.

    Raises:
        RungwayError: it can't be looked at.
    """
    known = replace(configuration, services=tuple(_without_secrets(service) for service in configuration.services))

    def run(command: str, given: str) -> tuple[int, str, str]:
        done = call(host, command, ssh_config=ssh_config, given=given)
        return done.returncode, done.stdout, done.stderr

    try:
        result = look_at(known, run)
    except ConvergeError as error:
        raise RungwayError(str(error)) from error
    changes = tuple((service.service, change) for service in result.services for change in service.changes)
    left_out = _size(configuration) - _size(known)
    return Drift(configuration.name, changes, left_out, {file.path: file.content for file in known.files})


def _without_secrets(service: Service) -> Service:
    def tasks(given: tuple[Task, ...]) -> tuple[Task, ...]:
        return tuple(task for task in given if not PLACEHOLDER.search(task.unless + task.script))

    files = tuple(file for file in service.files if not PLACEHOLDER.search(file.content))
    # Neither runs when a server is only looked at.
    return replace(service, files=files, before=tasks(service.before), after=tasks(service.after), checks=(), probe="")


def _size(configuration: HostConfiguration) -> int:
    return sum(len(service.files) + len(service.before) + len(service.after) for service in configuration.services)


def drift_text(drifts: list[Drift]) -> str:
    """What differs, server by server, with a diff of every file."""
    return "\n".join(line for drift in drifts for line in _lines(drift))


def _lines(drift: Drift) -> Iterator[str]:
    count = len(drift.changes)
    left_out = f"; {drift.not_compared} with secrets or certificates not compared" if drift.not_compared else ""
    yield f"{drift.server}: {count} difference{'' if count == 1 else 's'}{left_out}"
    for service, change in drift.changes:
        yield f"  {service}: {change.kind} {change.name}"
        if change.kind == "file" and change.name in drift.wanted:
            before = (change.now or "").splitlines()
            after = drift.wanted[change.name].splitlines()
            yield from (f"    {line}" for line in list(difflib.unified_diff(before, after, "on the server", "wanted", lineterm="", n=1)))


def drift_json(drifts: list[Drift]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "servers": [
            {
                "server": drift.server,
                "not_compared": drift.not_compared,
                "changes": [{"service": service, "kind": change.kind, "name": change.name} for service, change in drift.changes],
            }
            for drift in drifts
        ]
    }
