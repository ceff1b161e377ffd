"""`rungway rehearse`: boots a phase here, tries what can go wrong, and removes it again."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from infra.settings import Settings
from rungway.errors import RungwayError
from rungway.rehearsal import baseline, failures
from rungway.rehearsal.machine import check_machine, kernel_lacks
from rungway.rehearsal.network import OUTSIDE
from rungway.rehearsal.phase import DOMAIN, NOT_HERE, RehearsedPhase, remove_leftovers
from rungway.rehearsal.report import Check, skipped
from rungway.rehearsal.visitors import FrontDoor
from rungway.servers import settings_of_stack
from rungway.stacks import Stack, find_stack, project_root

CACHE = Path("/var/cache/rungway")
WORK = Path("/var/lib/rungway-rehearsal")
"""Not below /tmp: the servers' disks are overlays, which a memory file system may not carry."""
SERVED_SECONDS = 120

Say = Callable[[str], None]
BASELINE = (baseline.failed_units, baseline.ssh, baseline.open_ports, baseline.exposure, baseline.second_convergence)
FAILURES = (
    failures.reading_and_writing,
    failures.deployment,
    failures.restore_in_time,
    failures.slow_network,
    failures.full_disk,
    failures.database_power_cut,
    failures.redis_power_cut,
    failures.application_power_cut,
    failures.application_reboot,
    failures.clock_jump,
)


def rehearsed(stack_name: str, say: Say, *, roles: frozenset[str] = frozenset(), keep: bool = False) -> Iterator[Check]:
    """Rehearse a stack and yield what was found, check by check.

    With `roles` only servers of these roles are rehearsed, and those through which they are reached. `keep` leaves the phase up;
    `take_down` removes it.

    Raises:
        RungwayError: no such stack, a machine that can't do it, or a phase that does not come up.
    """
    stack = find_stack(stack_name, project_root(Path.cwd()))
    settings = settings_of(stack)
    everyone = [host for host in host_specifications(settings) if not host.role.startswith("kubernetes")]
    known = {host.role for host in everyone}
    if not known or roles - known:
        found = f"no server of the role {', '.join(sorted(roles - known))}" if roles - known else "no server to rehearse"
        raise RungwayError(f"{stack_name}: found {found}; allowed: {', '.join(sorted(known)) or 'stacks with servers'}")
    hosts = _chosen(everyone, roles)
    check_machine(len(hosts), CACHE)
    name = _name(stack.name)
    remove_leftovers(name, WORK / name)
    phase = RehearsedPhase(name, settings, hosts, WORK / name, CACHE, say)
    with _ended_by_signals(), _removed(phase, keep=keep, say=say):
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
            _certify(phase)
            door.trust()
            door.wait_until_served(SERVED_SECONDS)
            yield Check("from nothing to serving", True, round(time.monotonic() - prepared, 1), "s", "roots and packages made before")
        for look in BASELINE:
            yield from look(phase)
        if door is not None:
            for attempt in FAILURES:
                yield from _guarded(attempt.__name__.replace("_", " "), attempt(phase, door))
        else:
            yield from _stores_alone(phase)
        yield from baseline.failed_units(phase)
        yield from baseline.lynis(phase)


def take_down(stack_name: str) -> None:
    """Remove whatever a rehearsal of the stack left here."""
    name = _name(find_stack(stack_name, project_root(Path.cwd())).name)
    remove_leftovers(name, WORK / name)


def _chosen(everyone: list[HostSpecification], roles: frozenset[str]) -> list[HostSpecification]:
    """The servers of these roles (all without any), and those through which they are reached."""
    names = {host.name for host in everyone if not roles or host.role in roles}
    names |= {host.jump_host for host in everyone if host.name in names and host.jump_host}
    return [host for host in everyone if host.name in names]


def settings_of(stack: Stack) -> Settings:
    """The stack's settings, with a rehearsal's own values for what only its user knows."""
    return settings_of_stack(stack, {"rungway:domain": DOMAIN, "rungway:admin_cidrs": f'["{OUTSIDE}/32"]'})


def _name(stack: str) -> str:
    return "rehearsal-" + stack.replace("/", "-")


def _certify(phase: RehearsedPhase) -> None:
    """Have the certificates made now: the timer would come within minutes."""
    for server in phase.servers.values():
        if server.host.application and server.host.application.hostnames:
            server.run("systemctl start rungway-certificate.service", 120)


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
    for attempt in (failures.backup_and_drill, failures.database_failover, failures.redis_failover):
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


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A rehearsal that is told to end removes what it made, as after an error."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        # Once is enough: what follows is the clean-up.
        signal.signal(number, signal.SIG_IGN)
        raise RungwayError(f"rehearsal: ended by {signal.Signals(number).name}", exit_code=128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
