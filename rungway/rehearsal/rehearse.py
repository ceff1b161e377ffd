"""`rungway rehearse`: boots a phase here, tries what can go wrong, and removes it again."""

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hosts.services.wireguard import linked_peers
from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from infra.settings import Settings
from rungway.errors import RungwayError
from rungway.rehearsal import baseline, certificates, failures
from rungway.rehearsal.machine import check_machine, find_system_programs, kernel_lacks
from rungway.rehearsal.network import OUTSIDE
from rungway.rehearsal.phase import DOMAIN, NOT_HERE, RehearsedPhase, remove_leftovers
from rungway.rehearsal.regions import rows_in_other_regions
from rungway.rehearsal.report import Check, skipped
from rungway.rehearsal.visitors import FrontDoor
from rungway.servers import settings_of_stack
from rungway.stacks import Stack, find_stack, project_root

CACHE = Path("/var/cache/rungway")
WORK = Path("/var/lib/rungway-rehearsal")
"""Not below /tmp: the servers' disks are overlays, which a memory file system may not carry."""
SERVED_SECONDS = 120
END_SECONDS = 120
"""How long a rehearsal that is told to end may take to remove what it made."""

Say = Callable[[str], None]
BASELINE = (baseline.failed_units, baseline.ssh, baseline.open_ports, baseline.links, baseline.exposure, baseline.second_convergence)
FAILURES = (
    failures.reading_and_writing,
    failures.deployment,
    failures.restore_in_time,
    # Its rows are not among those that a restore counts.
    failures.reading_in_other_regions,
    failures.slow_network,
    failures.full_disk,
    failures.database_power_cut,
    failures.redis_power_cut,
    failures.application_power_cut,
    failures.application_reboot,
    failures.clock_jump,
    certificates.other_authority,
)


def rehearsed(stack_name: str, say: Say, *, roles: frozenset[str] = frozenset(), keep: bool = False) -> Iterator[Check]:
    """Rehearse a stack and yield what was found, check by check.

    With `roles` only servers of these roles are rehearsed, and those through which they are reached. `keep` leaves the phase up;
    `take_down` removes it.

    Raises:
        RungwayError: no such stack, a machine that can't do it, or a phase that does not come up.
    """
    stack = find_stack(stack_name, project_root(Path.cwd()))
    settings, hosts = chosen_servers(stack, roles)
    find_system_programs()
    check_machine(len(hosts), CACHE, links=any(linked_peers(host) for host in hosts))
    with ended_by_signals(), _alone(stack):
        yield from _rehearsed(stack, settings, hosts, say, keep=keep)


def _rehearsed(stack: Stack, settings: Settings, hosts: list[HostSpecification], say: Say, *, keep: bool) -> Iterator[Check]:
    name = rehearsal_name(stack)
    remove_leftovers(name, WORK / name)
    phase = RehearsedPhase(name, settings, hosts, WORK / name, CACHE, say)
    with _removed(phase, keep=keep, say=say):
        began = time.monotonic()
        phase.prepare()
        prepared = time.monotonic()
        say(f"{len(hosts)} servers, prepared in {prepared - began:.1f} s")
        phase.boot()
        for host, result in phase.converge().items():
            yield Check(f"first convergence of {host}", True, round(result.seconds, 1), "s", f"{result.changes} changes")
        yield from _skips(settings)
        door = FrontDoor(phase) if phase.public_names() else None
        if door is not None:
            door.trust()
            certificates.ask_acme(phase)
            door.wait_until_served(SERVED_SECONDS)
            yield Check("from nothing to serving", True, round(time.monotonic() - prepared, 1), "s", "roots and packages made before")
        for look in BASELINE:
            yield from look(phase)
        if door is not None:
            for attempt in FAILURES:
                yield from _guarded(attempt.__name__.replace("_", " "), attempt(phase, door))
        else:
            yield from _stores_alone(phase)
        yield from baseline.traffic_between_regions(phase)
        yield from baseline.failed_units(phase)
        yield from baseline.lynis(phase)


def take_down(stack_name: str) -> None:
    """Remove whatever a rehearsal of the stack left here. One that still runs is told to end, and waited for.

    Raises:
        RungwayError: no such stack, or a rehearsal that does not end.
    """
    stack = find_stack(stack_name, project_root(Path.cwd()))
    find_system_programs()
    end = time.monotonic() + END_SECONDS
    while True:
        try:
            with _alone(stack):
                remove_leftovers(rehearsal_name(stack), WORK / rehearsal_name(stack))
                return
        except RehearsedAlreadyError as error:
            if time.monotonic() > end:
                raise
            if error.process:
                with suppress(ProcessLookupError):
                    os.kill(error.process, signal.SIGTERM)
        time.sleep(1)


def chosen_servers(stack: Stack, roles: frozenset[str]) -> tuple[Settings, list[HostSpecification]]:
    """The stack's settings in a rehearsal, and the servers of these roles (all without any) with those through which they are reached.

    Raises:
        RungwayError: the stack has no server, or none of a role.
    """
    settings = settings_of(stack)
    everyone = [host for host in host_specifications(settings) if not host.role.startswith("kubernetes")]
    known = {host.role for host in everyone}
    if not known or roles - known:
        found = f"no server of the role {', '.join(sorted(roles - known))}" if roles - known else "no server to rehearse"
        raise RungwayError(f"{stack.name}: found {found}; allowed: {', '.join(sorted(known)) or 'stacks with servers'}")
    names = {host.name for host in everyone if not roles or host.role in roles}
    names |= {host.jump_host for host in everyone if host.name in names and host.jump_host}
    return settings, [host for host in everyone if host.name in names]


def settings_of(stack: Stack) -> Settings:
    """The stack's settings, with a rehearsal's own values for what only its user knows."""
    return settings_of_stack(stack, {"rungway:domain": DOMAIN, "rungway:admin_cidrs": f'["{OUTSIDE}/32"]'})


def rehearsal_name(stack: Stack) -> str:
    """What everything of the stack's rehearsal is called: processes, networks and folders. A stack by path has its digest in it."""
    if stack.name.endswith(".yaml"):
        return f"rehearsal-{stack.pulumi_stack}-{hashlib.sha256(stack.name.encode()).hexdigest()[:8]}"
    return "rehearsal-" + stack.name.replace("/", "-")


class RehearsedAlreadyError(RungwayError):
    """The stack is being rehearsed by `process`; 0 when it has not said which one it is yet."""

    def __init__(self, stack: Stack, process: int) -> None:
        super().__init__(
            f"{stack.name}: process {process or '(just started)'} rehearses it already",
            hint=f"wait for it, or end it with `rungway rehearse {stack.name} --down`",
        )
        self.process = process


@contextmanager
def _alone(stack: Stack) -> Iterator[None]:
    """No other rehearsal of the stack while the block runs: each removes what an earlier one left, and would remove a running one.

    Raises:
        RehearsedAlreadyError: another one runs.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / f"{rehearsal_name(stack)}.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RehearsedAlreadyError(stack, int(lock.read() or 0)) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _skips(settings: Settings) -> Iterator[Check]:
    for lack in kernel_lacks():
        yield skipped(lack.what, f"this kernel can't; {lack.consequence}")
    if any(region.kubernetes.enabled for region in settings.regions):
        yield skipped("Kubernetes nodes", "they are not rehearsed yet, and neither is the application on them")
    for service, reason in NOT_HERE.items():
        if any(region.monitoring.servers for region in settings.regions):
            yield skipped(service, reason)


def _stores_alone(phase: RehearsedPhase) -> Iterator[Check]:
    """What can be tried without an application in front."""
    yield skipped("everything through the front door", "no application server is rehearsed")
    for attempt in (rows_in_other_regions, failures.backup_and_drill, failures.database_failover, failures.redis_failover):
        yield from _guarded(attempt.__name__.replace("_", " "), attempt(phase))


def _guarded(what: str, checks: Iterable[Check]) -> Iterator[Check]:
    """What the checks find; one that can't go on fails alone, and the others are still tried."""
    try:
        yield from checks
    except RungwayError as error:
        yield Check(what, False, note=str(error))


@contextmanager
def _removed(phase: RehearsedPhase, *, keep: bool, say: Say) -> Iterator[None]:
    try:
        yield
    finally:
        if keep:
            say(f"left up: ssh -F {phase.directory}/ssh_config SERVER, from `ip netns exec {phase.network.outside}`; end it with --down")
        else:
            phase.remove()


class _Ended(BaseException):
    """A signal. No error: what makes a failed check of an error must let it through."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A rehearsal that is told to end removes what it made, as after an error.

    Raises:
        RungwayError: it was told to, by a signal.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        # Once is enough, by whichever: what follows is the clean-up.
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        _pass_on(number)
        raise _Ended(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except _Ended as ended:
        raise RungwayError(f"rehearsal: ended by {signal.Signals(ended.number).name}", exit_code=128 + ended.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(number: int) -> None:
    """Send a signal to the commands that run for us, as a terminal does: they would be waited for. Servers have sessions of their own."""
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(ProcessLookupError):
                if os.getpgid(int(child)) == os.getpgrp():
                    os.kill(int(child), number)
