"""The plan and the diff, as data: what every verb reads and `--json` prints. Nothing here runs anything.

`docs/plan-json.md` documents the JSON form, which is stable: fields are added, never renamed or removed.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

UNKNOWN = "[unknown]"
"""Stands for a value that only the provider can say, as in a preview."""

SECRET = "[secret]"  # noqa: S105 (it stands for one)
"""Stands for a secret value. The value itself never enters a plan."""


class Level(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    NOT_BUILT = "not_built"
    TO_SET = "to_set"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """Something that a person should know of a plan.

    `path` is a settings path (`rungway:domain`), or a URN; `action` is what to do, often a command.
    """

    level: Level
    code: str
    path: str
    message: str
    action: str = ""


@dataclass(frozen=True)
class Money:
    """An amount a month, with the names of what has no known price (an unknown price is never zero)."""

    amount: Decimal
    currency: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """What the engine would be told of one resource.

    `inputs` are JSON values under the provider's own property names, with `UNKNOWN` and `SECRET` in place. `dependencies` and `parent`
    are URNs, sorted. `component` is true for component resources, which have no provider behind them.
    """

    urn: str
    type: str
    name: str
    parent: str | None
    component: bool
    inputs: dict[str, Any]
    protect: bool = False
    ignore_changes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    delete_before_replace: bool = False
    retain_on_delete: bool = False
    monthly_cost: Money | None = None


@dataclass(frozen=True)
class Budget:
    """The limit that the phase is held to."""

    amount: Decimal
    currency: str


@dataclass(frozen=True)
class HostBudget:
    """A sum that must fit: memory of one server, or connections of one database.

    `unit` is 'MiB' or 'connections'; `parts` are named shares of `used`, in the order of the sum.
    """

    subject: str
    unit: str
    available: int
    used: int
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Plan:
    """A stack as it would be built, in the order in which the program registered it."""

    stack: str
    pulumi_stack: str
    project: str
    resources: tuple[Resource, ...]
    outputs: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    host_budgets: tuple[HostBudget, ...] = ()
    monthly_cost: Money | None = None
    budget: Budget | None = None
    source: str = "offline"


class Action(StrEnum):
    """What happens to a resource between two plans."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    SAME = "same"


@dataclass(frozen=True)
class Change:
    """One resource of a diff. `urn` is the new side's where there is one. `forced_by` names the properties that force a replacement."""

    urn: str
    action: Action
    type: str
    name: str
    changed: tuple[str, ...] = ()
    forced_by: tuple[str, ...] = ()
    holds_data: bool = False
    moved_from: str | None = None
    cost_before: Money | None = None
    cost_after: Money | None = None


@dataclass(frozen=True)
class Diff:
    """Two plans of the same application, side by side."""

    before: str
    after: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...] = ()
    cost_before: Money | None = None
    cost_after: Money | None = None
    cost_by_component: tuple[tuple[str, Money | None, Money | None], ...] = ()
