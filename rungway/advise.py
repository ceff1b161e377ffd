"""Is this phase outgrown? Reads what Prometheus has seen, and says stay, tune or climb: why, since when, to which phase, for how much.

The figures come from the rules in hosts/templates/prometheus. Two more are the application's to tell, when it can: `rungway_users`
(registered users) and `rungway_concurrent_users`, for example as a file in the node exporter's textfile directory.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from rungway.cost import money_text, to_cents
from rungway.errors import RungwayError
from rungway.model import Money
from rungway.servers import settings_of_stack
from rungway.stacks import Stack, all_stacks, find_stack, project_root

if TYPE_CHECKING:
    from infra.settings import Settings

Query = Callable[[str], float | None]
"""Answers a PromQL expression with one number, or None when there is none."""

MEMORY_OUTGROWN_PERCENT = 85
"""Memory use from which a larger server is worth its money (growth plan 001, "When to upgrade": RAM consistently above 85 %)."""

SUSTAINED_PERCENT = 25
"""A limit of a resource is passed when it was for so much of the time: six busy hours a day. Our own choice for "consistently"."""

PEAK_PERCENT = 1
"""A target, which is about peaks, is passed when it was for so much of the time: 100 minutes a week. Our own choice."""

ENOUGH_PERCENT = 50
"""So much of the days asked for must have figures: less says nothing of a week. Our own choice."""

_STEP_SECONDS = 300

NO_DATA = 5
"""Exit code when there is too little to judge by."""

TIMEOUT_SECONDS = 30


class Verdict(StrEnum):
    """What to do."""

    STAY = "stay"
    TUNE = "tune"
    CLIMB = "climb"
    NO_DATA = "no data"


@dataclass(frozen=True)
class Reason:
    """A limit that was passed: the `found` figure against its `limit`, since when (Unix time), and for how much of the time.

    `action` is what to do about it within the phase; it is empty when only the next phase helps.
    """

    what: str
    found: float
    limit: float
    unit: str
    share_percent: float
    since: float | None
    action: str


@dataclass(frozen=True)
class Step:
    """The next phase, with what both cost a month in the same currency."""

    stack: str
    cost_before: Money
    cost_after: Money


@dataclass(frozen=True)
class Advice:
    """A verdict on `stack` after a look at the last `days`. `missing` names figures that Prometheus doesn't have."""

    stack: str
    days: int
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    missing: tuple[str, ...] = ()
    next_step: Step | None = None

    @property
    def exit_code(self) -> int:
        """0 when there is a verdict, NO_DATA when there is none."""
        return NO_DATA if self.verdict is Verdict.NO_DATA else 0


@dataclass(frozen=True)
class _Trigger:
    """A figure with its limit. `needed` says that without it nothing can be said of the phase."""

    what: str
    expression: str
    limit: float
    unit: str
    action: str = ""
    needed: bool = True
    below: bool = False
    share_percent: int = SUSTAINED_PERCENT


def advise(settings: "Settings", stack: str, query: Query, *, days: int = 7) -> Advice:
    """The verdict on a stack, without the next phase.

    One thing outgrown is tuned; a target that is passed, or two things at once, call for the next phase. When a needed figure is missing
    or does not reach back far enough, and nothing else is outgrown, there is no verdict: silence is not health.
    """
    reasons: list[Reason] = []
    missing: list[str] = []
    needed_missing = False
    for trigger in _triggers(settings):
        known = query(f"max(count_over_time(({trigger.expression})[{days}d:{_STEP_SECONDS}s]))") or 0
        known_days = known * _STEP_SECONDS / 86_400
        # Figures that ended some days ago say nothing of today, however many there are.
        if known_days < days * ENOUGH_PERCENT / 100 or query(f"count({trigger.expression})") is None:
            missing.append(f"{trigger.what} ({known_days:.1f} of {days} days, up to now)")
            needed_missing |= trigger.needed
        if known and (reason := _reason(trigger, query, days, known)):
            reasons.append(reason)
    return Advice(stack, days, _verdict(reasons, needed_missing), tuple(reasons), tuple(missing))


def _verdict(reasons: Sequence[Reason], needed_missing: bool) -> Verdict:
    if len(reasons) > 1 or any(not reason.action for reason in reasons):
        return Verdict.CLIMB
    if reasons:
        return Verdict.TUNE
    return Verdict.NO_DATA if needed_missing else Verdict.STAY


def _reason(trigger: _Trigger, query: Query, days: int, known: float) -> Reason | None:
    """Why the trigger counts as passed; None while it doesn't. `known` is how many figures there are of the longest series."""
    window = f"[{days}d:{_STEP_SECONDS}s]"
    sign = "<" if trigger.below else ">"
    passed = query(f"max(sum_over_time(({trigger.expression} {sign} bool {trigger.limit}){window}))") or 0
    share = 100 * passed / known
    if share < trigger.share_percent:
        return None
    since = query(f"min(min_over_time(timestamp({trigger.expression} {sign} {trigger.limit}){window}))")
    # Nineteen of twenty moments were no worse than this.
    quantile, worst = (0.05, "min") if trigger.below else (0.95, "max")
    found = query(f"{worst}(quantile_over_time({quantile}, ({trigger.expression}){window}))")
    return Reason(trigger.what, trigger.limit if found is None else found, trigger.limit, trigger.unit, share, since, trigger.action)


def _triggers(settings: "Settings") -> Iterator[_Trigger]:
    """Everything that a phase can be outgrown by, tier by tier, with the limits of its settings."""
    from infra.roles import servers_of

    servers = [server for region in settings.regions for server in servers_of(region)]
    region = settings.regions[0]
    limits = region.monitoring.thresholds
    types = {server.role: server.server_type for server in servers if server.role != "monitoring"}
    for role, server_type in types.items():
        larger = f"a larger server than {server_type} ({_setting(role)})"
        yield _Trigger(
            f"CPU of {role} servers",
            f'server:cpu_used:percent{{role="{role}"}}',
            limits.cpu_warning_percent,
            "%",
            f"more workers, or {larger}" if role == "app" else larger,
        )
        yield _Trigger(f"memory of {role} servers", f'server:memory_used:percent{{role="{role}"}}', MEMORY_OUTGROWN_PERCENT, "%", larger)
    # On Kubernetes nothing measures it yet, which the advice says.
    yield _Trigger(
        "response time (95th percentile)",
        "region:response_time:p95_ms",
        limits.response_p95_warning_ms,
        "ms",
        "caching, and indexes for the slowest queries (pg_stat_statements)",
        needed=region.app.servers > 0,
    )
    if region.database.nodes:
        yield _Trigger(
            "connections of PostgreSQL",
            "server:postgresql_connections:percent",
            limits.connections_warning_percent,
            "%",
            "a larger pool, or PgBouncer (rungway:database.pooler)",
        )
        cache = limits.cache_hit_warning_percent
        memory = "more memory for PostgreSQL, or indexes"
        yield _Trigger("cache hits of PostgreSQL", "server:postgresql_cache_hits:percent", cache, "%", memory, needed=False, below=True)
    yield from _targets(settings)


def _setting(role: str) -> str:
    return "rungway:kubernetes" if role.startswith("kubernetes") else f"rungway:{role}.server_type"


def _targets(settings: "Settings") -> Iterator[_Trigger]:
    """What the phase is for. Nothing within the phase helps when it is passed, so these have no action."""
    targets = settings.targets
    for what, expression, limit, unit in (
        ("registered users", "rungway_users", targets.users_max, "users"),
        ("users at the same time", "rungway_concurrent_users", targets.concurrent_users, "users"),
        ("requests", "sum(region:requests:per_second)", targets.requests_per_second, "a second"),
    ):
        if limit:
            yield _Trigger(what, expression, limit, unit, needed=False, share_percent=PEAK_PERCENT)


def next_stack(stack: Stack) -> Stack | None:
    """The next phase of the same ladder (the stack files of one folder, in the order of their targets); None on the last one."""
    folder = [other for other in all_stacks(stack.path.parent) if other.path.parent == stack.path.parent]
    ladder = sorted(folder, key=lambda other: _place(other))
    places = [other.path for other in ladder]
    if stack.path not in places or stack.path == places[-1]:
        return None
    following = ladder[places.index(stack.path) + 1]
    prefix = stack.name.removesuffix(stack.pulumi_stack)
    return Stack(f"{prefix}{following.pulumi_stack}", following.pulumi_stack, following.path)


def _place(stack: Stack) -> tuple[int, int, int]:
    targets = settings_of_stack(stack).targets
    return targets.users_min, targets.concurrent_users, targets.requests_per_second


def advise_stack(name: str, prometheus_url: str, days: int = 7) -> Advice:
    """The advice for the stack called `name`, from the Prometheus at `prometheus_url`, with the next phase and its price.

    Raises:
        RungwayError: no such stack, problems in its file, or no Prometheus at that address.
    """
    if days < 1:
        raise RungwayError(f"--days: found {days}; allowed: 1 or more")
    stack = find_stack(name, project_root(Path.cwd()))
    advice = advise(settings_of_stack(stack), stack.name, prometheus(prometheus_url), days=days)
    following = next_stack(stack) if advice.reasons else None
    return dataclasses.replace(advice, next_step=_step(stack, following)) if following else advice


def _step(stack: Stack, following: Stack) -> Step:
    from rungway.diff import diff
    from rungway.planning import plan_stack

    nothing = Money(Decimal(0), "EUR")
    difference = diff(plan_stack(stack.name), plan_stack(following.name))
    return Step(following.name, difference.cost_before or nothing, difference.cost_after or nothing)


def prometheus(url: str) -> Query:
    """Asks the HTTP API of the Prometheus at `url`. Errors show the address without the login that it may hold."""
    shown = re.sub("//.*@", "//", url)

    def query(expression: str) -> float | None:
        try:
            answer = requests.get(f"{url.rstrip('/')}/api/v1/query", params={"query": expression}, timeout=TIMEOUT_SECONDS)
        except (requests.RequestException, ValueError) as error:
            raise _no_prometheus(shown, _why_no_answer(error)) from error
        try:
            document = answer.json()
            if document["status"] != "success":
                raise RungwayError(f"{shown}: found the answer '{document['error']}' to {expression}; allowed: a number")
            result = document["data"]["result"]
            value = float(result[0]["value"][1]) if result else math.nan
        except (ValueError, LookupError, TypeError) as error:
            form = answer.headers.get("content-type", "no type")
            raise _no_prometheus(shown, f"an answer that is not Prometheus' (status {answer.status_code}, {form})") from error
        return value if math.isfinite(value) else None

    return query


def _why_no_answer(error: Exception) -> str:
    """What went wrong on the way, in the words of the system where it has any."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if isinstance(error, requests.TooManyRedirects):
        return "redirects without an end"
    if isinstance(error, ValueError):
        # Requests' own errors about addresses are of this kind, too.
        return "no address of the form http://HOST:PORT"
    cause: BaseException | None = error
    said = "no connection"
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            said = f"no connection ({cause.strerror})"
        cause = cause.__context__
    return said


def _no_prometheus(shown: str, found: str) -> RungwayError:
    return RungwayError(
        f"--prometheus '{shown}': found {found}; allowed: the address of a Prometheus, which answers /api/v1/query",
        hint="ssh -N -L 9090:127.0.0.1:9090 admin@MONITORING-SERVER, then --prometheus http://127.0.0.1:9090",
    )


def advice_text(advice: Advice) -> str:
    """The advice as people read it."""
    headline = {
        Verdict.STAY: f"{advice.stack}: stay. Nothing was outgrown in the last {advice.days} days.",
        Verdict.TUNE: f"{advice.stack}: tune. One limit was passed; the phase still fits.",
        Verdict.CLIMB: f"{advice.stack}: climb. The phase is outgrown.",
        Verdict.NO_DATA: f"{advice.stack}: no verdict. Too little is known of the last {advice.days} days.",
    }
    lines = [headline[advice.verdict]]
    for reason in advice.reasons:
        since = f", first on {_date(reason.since)}" if reason.since is not None else ""
        found = f"{reason.found:.0f} {reason.unit} (95 % of the time no worse), limit {reason.limit:.0f} {reason.unit}"
        lines.append(f"  {reason.what}: {found}; passed {reason.share_percent:.0f} % of the time{since}")
        if reason.action:
            lines.append(f"    within the phase: {reason.action}")
    lines += [f"  not known: {item}" for item in advice.missing]
    if step := advice.next_step:
        lines.append(
            f"  next phase: {step.stack}, {money_text(step.cost_after)} a month instead of {money_text(step.cost_before)} ({_delta(step)})"
        )
        lines.append(f"  rungway diff {advice.stack} {step.stack} shows what changes")
    elif advice.verdict is Verdict.CLIMB:
        lines.append("  there is no next phase in this ladder: write one, or take larger servers")
    return "\n".join(lines)


def _delta(step: Step) -> str:
    return f"{to_cents(step.cost_after.amount - step.cost_before.amount):+} {step.cost_after.currency}"


def _date(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def advice_json(advice: Advice) -> dict[str, Any]:
    """The advice for programs. Times are ISO 8601 in UTC, amounts are a month's."""
    step = advice.next_step
    return {
        "stack": advice.stack,
        "days": advice.days,
        "verdict": advice.verdict.value,
        "reasons": [
            {
                "what": reason.what,
                "found": reason.found,
                "limit": reason.limit,
                "unit": reason.unit,
                "share_percent": reason.share_percent,
                "since": None if reason.since is None else datetime.fromtimestamp(reason.since, UTC).isoformat(),
                "action": reason.action,
            }
            for reason in advice.reasons
        ],
        "missing": list(advice.missing),
        "next": None
        if step is None
        else {
            "stack": step.stack,
            "currency": step.cost_after.currency,
            "cost_before": float(to_cents(step.cost_before.amount)),
            "cost_after": float(to_cents(step.cost_after.amount)),
            "unknown_prices": [*step.cost_before.unknown, *step.cost_after.unknown],
        },
    }
