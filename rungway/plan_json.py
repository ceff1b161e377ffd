"""Plans and diffs as JSON for programs, and plans back from it. docs/plan-json.md describes the form, plan.schema.json defines it."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rungway.cost import to_cents
from rungway.errors import RungwayError
from rungway.model import Budget, Change, Diff, Finding, HostBudget, Level, Money, Plan, Resource

FORMAT_VERSION = 1
"""Raised only when a reader of the form has to change. Added fields do not raise it."""


class PlanFormatError(RungwayError):
    """A document that is not a plan in the documented form. The text starts with the path of what is wrong."""


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The JSON document of a plan. Amounts are numbers rounded to two decimals."""
    return {
        "format_version": FORMAT_VERSION,
        "stack": plan.stack,
        "pulumi_stack": plan.pulumi_stack,
        "project": plan.project,
        "source": plan.source,
        "monthly_cost": _money(plan.monthly_cost),
        "budget": None if plan.budget is None else {"amount": _amount(plan.budget.amount), "currency": plan.budget.currency},
        "findings": _findings(plan.findings),
        "host_budgets": [
            {
                "subject": budget.subject,
                "unit": budget.unit,
                "available": budget.available,
                "used": budget.used,
                "parts": [{"name": name, "amount": amount} for name, amount in budget.parts],
            }
            for budget in plan.host_budgets
        ],
        "outputs": plan.outputs,
        "resources": [
            {
                "urn": resource.urn,
                "type": resource.type,
                "name": resource.name,
                "parent": resource.parent,
                "component": resource.component,
                "inputs": resource.inputs,
                "protect": resource.protect,
                "ignore_changes": list(resource.ignore_changes),
                "aliases": list(resource.aliases),
                "dependencies": list(resource.dependencies),
                "delete_before_replace": resource.delete_before_replace,
                "retain_on_delete": resource.retain_on_delete,
                "monthly_cost": _money(resource.monthly_cost),
            }
            for resource in plan.resources
        ],
    }


def diff_to_json(diff: Diff) -> dict[str, Any]:
    """The JSON document of a diff. Amounts are numbers rounded to two decimals."""
    return {
        "format_version": FORMAT_VERSION,
        "before": diff.before,
        "after": diff.after,
        "cost_before": _money(diff.cost_before),
        "cost_after": _money(diff.cost_after),
        "cost_by_component": [
            {"component": component, "before": _money(before), "after": _money(after)}
            for component, before, after in diff.cost_by_component
        ],
        "findings": _findings(diff.findings),
        "changes": [_change(change) for change in diff.changes],
    }


def plan_from_json(document: Any) -> Plan:
    """The plan of a document that `plan_to_json` of this or any earlier version wrote. Fields that it does not know are ignored.

    Raises:
        PlanFormatError: not such a document, or one of a later form.
    """
    root = _Reader(document, "")
    version = root.integer("format_version")
    if version != FORMAT_VERSION:
        raise PlanFormatError(f"format_version: found {version}; allowed: {FORMAT_VERSION}; a newer Rungway wrote this plan")
    return Plan(
        stack=root.text("stack"),
        pulumi_stack=root.text("pulumi_stack"),
        project=root.text("project"),
        source=root.text("source"),
        monthly_cost=_read_money(root.optional("monthly_cost")),
        budget=None if (budget := root.optional("budget")) is None else Budget(budget.amount("amount"), budget.text("currency")),
        findings=tuple(
            Finding(
                Level(finding.one_of("level", [level.value for level in Level])),
                finding.text("code"),
                finding.text("path"),
                finding.text("message"),
                finding.text("action"),
            )
            for finding in root.items("findings")
        ),
        host_budgets=tuple(
            HostBudget(
                subject=budget.text("subject"),
                unit=budget.text("unit"),
                available=budget.integer("available"),
                used=budget.integer("used"),
                parts=tuple((part.text("name"), part.integer("amount")) for part in budget.items("parts")),
            )
            for budget in root.items("host_budgets")
        ),
        outputs=root.mapping("outputs"),
        resources=tuple(_read_resource(resource) for resource in root.items("resources")),
    )


def _amount(amount: Decimal) -> float:
    return float(to_cents(amount))


def _money(money: Money | None) -> dict[str, Any] | None:
    return None if money is None else {"amount": _amount(money.amount), "currency": money.currency, "unknown": list(money.unknown)}


def _findings(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [
        {
            "level": finding.level.value,
            "code": finding.code,
            "path": finding.path,
            "message": finding.message,
            "action": finding.action,
        }
        for finding in findings
    ]


def _change(change: Change) -> dict[str, Any]:
    return {
        "urn": change.urn,
        "action": change.action.value,
        "type": change.type,
        "name": change.name,
        "changed": list(change.changed),
        "forced_by": list(change.forced_by),
        "holds_data": change.holds_data,
        "moved_from": change.moved_from,
        "cost_before": _money(change.cost_before),
        "cost_after": _money(change.cost_after),
    }


class _Reader:
    """An object of the document, with its path for errors."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise PlanFormatError(f"{path or 'plan'}: found {_shown(value)}; allowed: an object")
        self._object = value
        self._prefix = f"{path}." if path else ""

    def text(self, name: str) -> str:
        return str(self._typed(name, str, "a string"))

    def optional_text(self, name: str) -> str | None:
        return None if self._object.get(name) is None else self.text(name)

    def one_of(self, name: str, allowed: Iterable[str]) -> str:
        found = self.text(name)
        if found not in allowed:
            raise PlanFormatError(f"{self._prefix}{name}: found {_shown(found)}; allowed: {', '.join(allowed)}")
        return found

    def integer(self, name: str) -> int:
        return int(self._typed(name, int, "an integer"))

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool, "true or false"))

    def amount(self, name: str) -> Decimal:
        # By way of its text: 7.99 is meant, not the nearest binary fraction.
        return Decimal(str(self._typed(name, int | float, "a number")))

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._typed(name, dict, "an object"))

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._typed(name, list, "a list of strings")
        for index, item in enumerate(found):
            if not isinstance(item, str):
                raise PlanFormatError(f"{self._prefix}{name}[{index}]: found {_shown(item)}; allowed: a string")
        return tuple(found)

    def optional(self, name: str) -> "_Reader | None":
        value = self._object.get(name)
        return None if value is None else _Reader(value, f"{self._prefix}{name}")

    def items(self, name: str) -> "list[_Reader]":
        found = self._typed(name, list, "a list")
        return [_Reader(item, f"{self._prefix}{name}[{index}]") for index, item in enumerate(found)]

    def _typed(self, name: str, type_: Any, expected: str) -> Any:
        found = self._object.get(name)
        if not isinstance(found, type_) or (isinstance(found, bool) and type_ is not bool):
            raise PlanFormatError(f"{self._prefix}{name}: found {_shown(found)}; allowed: {expected}")
        return found


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)


def _read_money(reader: _Reader | None) -> Money | None:
    return None if reader is None else Money(reader.amount("amount"), reader.text("currency"), reader.texts("unknown"))


def _read_resource(reader: _Reader) -> Resource:
    return Resource(
        urn=reader.text("urn"),
        type=reader.text("type"),
        name=reader.text("name"),
        parent=reader.optional_text("parent"),
        component=reader.flag("component"),
        inputs=reader.mapping("inputs"),
        protect=reader.flag("protect"),
        ignore_changes=reader.texts("ignore_changes"),
        aliases=reader.texts("aliases"),
        dependencies=reader.texts("dependencies"),
        delete_before_replace=reader.flag("delete_before_replace"),
        retain_on_delete=reader.flag("retain_on_delete"),
        monthly_cost=_read_money(reader.optional("monthly_cost")),
    )
