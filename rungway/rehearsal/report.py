"""What a rehearsal found: checks, each with its figure, and what was left out with the reason."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `ok` is None when it was skipped, and `note` says why; `figure` is in `unit`, None without one."""

    name: str
    ok: bool | None
    figure: float | None = None
    unit: str = ""
    note: str = ""


def skipped(name: str, reason: str) -> Check:
    """A check that this machine or this phase can't do."""
    return Check(name, None, note=reason)


def check_text(check: Check) -> str:
    """One line."""
    state = {True: "ok", False: "FAILED", None: "skipped"}[check.ok]
    figure = "" if check.figure is None else f"  {check.figure:g} {check.unit}".rstrip()
    return f"{state:<8}{check.name}{figure}{'  ' if check.note else ''}{check.note}"


def summary(checks: Sequence[Check]) -> str:
    """How many of each kind."""
    counts = {state: sum(check.ok is state for check in checks) for state in (True, False, None)}
    return f"{counts[True]} ok, {counts[False]} failed, {counts[None]} skipped"


def report_json(stack: str, seconds: float, checks: Sequence[Check]) -> dict[str, Any]:
    """The whole rehearsal for programs: `ok` is whether nothing failed."""
    return {
        "stack": stack,
        "ok": all(check.ok is not False for check in checks),
        "seconds": round(seconds, 1),
        "checks": [asdict(check) for check in checks],
    }
