"""Two plans side by side: what happens to each resource on the way from one to the other, what it costs, and what data it puts at risk.

The rules follow the engine's own (step_generator.go): resources are matched by URN and alias, `ignoreChanges` keeps the old value, a
change of a property that forces it replaces the resource, and so does a replaced resource whose output such a property takes. What the
engine knows and two plans do not, values that only a provider can say, is treated as follows:

- A value that is unknown after, and before was unknown too or known (from a state), counts as the same while what it comes from is neither
  another resource than before nor replaced.
- A plan does not record which dependency feeds which input. It is the one whose type the input is named for (`serverId`, a Server); when
  there is none, it may be any of them.
- Any other pair with an unknown or a secret on one side counts as changed, and a note says that this is a guess.
"""

import dataclasses
import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from infra.catalog.prices import load_prices
from rungway.cost import by_component
from rungway.facts import forces_replacement, holds_data
from rungway.model import SECRET, UNKNOWN, Action, Change, Diff, Finding, Level, Money, Plan, Resource

ERRORS_EXIT_CODE = 3
"""Exit code of a diff with errors: data at risk that nobody confirmed, or a change that can't work."""

_ROOT_STACK = "pulumi:pulumi:Stack"
_HETZNER_SERVER = "hcloud:index/server:Server"
_MISSING: Any = object()


def diff(before: Plan, after: Plan, *, allowed: Collection[str] = ()) -> Diff:
    """What happens to each resource when what `before` describes becomes what `after` describes.

    The stacks may have different names: URNs of `before` are read as if they were in the stack of `after`, as `pulumi state move` leaves
    them. `allowed` holds the URNs, old or new, of resources that may be replaced or deleted although they hold data.

    Changes are in the order of `after`, then deletions in the order of `before`. Costs of `before` are shown in the currency of `after`.
    """
    before = _in_currency(before, after)
    pairs = _Pairs(before, after)
    steps = _steps(pairs)
    changes = [_change(step) for step in steps]
    findings = [
        *_risks(steps, allowed),
        *_unmatched(steps, allowed),
        *(finding for step in steps for finding in _warnings(step)),
        *_notes(steps, before, after),
    ]
    return Diff(
        before=before.stack,
        after=after.stack,
        changes=tuple(changes),
        findings=tuple(findings),
        cost_before=before.monthly_cost,
        cost_after=after.monthly_cost,
        cost_by_component=_by_component(before, after),
    )


def exit_code(result: Diff) -> int:
    """3 when the diff has an error, else 0."""
    return ERRORS_EXIT_CODE if any(finding.level is Level.ERROR for finding in result.findings) else 0


@dataclasses.dataclass
class _Step:
    """What happens to one resource: `resource` is the later side, or the earlier one of what is deleted; `old` the earlier side."""

    action: Action
    resource: Resource
    old: Resource | None
    changed: tuple[str, ...] = ()
    forced_by: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    aliased: bool = False

    @property
    def new(self) -> Resource | None:
        """The later side, where there is one."""
        return None if self.action is Action.DELETE else self.resource

    @property
    def urns(self) -> set[str]:
        """The URNs under which people may know the resource."""
        return {self.resource.urn, *([self.old.urn] if self.old else [])}


class _Pairs:
    """Which resource of the one plan is which of the other."""

    def __init__(self, before: Plan, after: Plan) -> None:
        self._stack = after.pulumi_stack
        self.before = before.resources
        self.after = after.resources
        by_new_urn = {self.moved(resource.urn): resource for resource in before.resources}
        root = next((resource for resource in after.resources if resource.type == _ROOT_STACK), None)
        for resource in before.resources:
            # The root stack is named for the stack.
            if resource.type == _ROOT_STACK and root is not None:
                by_new_urn[root.urn] = resource
        self.old_of: dict[str, Resource] = {}
        self.aliased: set[str] = set()
        self._new_urn_of: dict[str, str] = {}
        for resource in after.resources:
            self._match(resource, by_new_urn, (resource.urn,))
        # An exact match wins over anybody's alias.
        for resource in after.resources:
            if resource.urn not in self.old_of and self._match(resource, by_new_urn, resource.aliases):
                self.aliased.add(resource.urn)

    def moved(self, urn: str) -> str:
        """`urn` as it reads in the stack of the later plan."""
        return re.sub(r"^urn:pulumi:.*?::", lambda _: f"urn:pulumi:{self._stack}::", urn, count=1)

    def new_urn(self, old_urn: str) -> str:
        """The URN that a resource of the earlier plan has in the later one; its moved URN if it is not there."""
        return self._new_urn_of.get(old_urn, self.moved(old_urn))

    def is_gone(self, resource: Resource) -> bool:
        """Whether a resource of the earlier plan has no successor."""
        return resource.urn not in self._new_urn_of

    def _match(self, resource: Resource, by_new_urn: Mapping[str, Resource], urns: Sequence[str]) -> bool:
        for urn in urns:
            old = by_new_urn.get(self.moved(urn))
            if old is not None and old.urn not in self._new_urn_of:
                self.old_of[resource.urn] = old
                self._new_urn_of[old.urn] = resource.urn
                return True
        return False


def _steps(pairs: _Pairs) -> list[_Step]:
    actions: dict[str, Action] = {}
    steps: dict[str, _Step] = {}
    # Dependencies come first, so that a replacement is known when what depends on it is looked at.
    for resource in _dependencies_first(pairs.after):
        step = _step(resource, pairs, actions)
        steps[resource.urn] = step
        actions[resource.urn] = step.action
    gone = [_Step(Action.DELETE, resource, resource) for resource in pairs.before if pairs.is_gone(resource)]
    return [*(steps[resource.urn] for resource in pairs.after), *gone]


def _dependencies_first(resources: Sequence[Resource]) -> Iterator[Resource]:
    by_urn = {resource.urn: resource for resource in resources}
    done: set[str] = set()
    for resource in resources:
        waiting = [resource]
        while waiting:
            current = waiting[-1]
            missing = [by_urn[urn] for urn in current.dependencies if urn in by_urn and urn not in done and by_urn[urn] not in waiting]
            if missing:
                waiting.append(missing[0])
                continue
            waiting.pop()
            if current.urn not in done:
                done.add(current.urn)
                yield current


def _step(resource: Resource, pairs: _Pairs, actions: Mapping[str, Action]) -> _Step:
    old = pairs.old_of.get(resource.urn)
    if old is None:
        return _Step(Action.CREATE, resource, None)
    aliased = resource.urn in pairs.aliased
    if resource.component or old.component:
        return _Step(Action.SAME, resource, old, aliased=aliased)
    changed: list[str] = []
    guessed: list[str] = []
    forced_by: list[str] = []
    for path, was, becomes in _differences(old.inputs, _with_ignored(old.inputs, resource.inputs, resource.ignore_changes), ""):
        guess = UNKNOWN in (was, becomes) or SECRET in (was, becomes)
        because = ""
        if becomes == UNKNOWN and was is not _MISSING and (was == UNKNOWN or resource.dependencies):
            feeding = _feeding(path, resource.dependencies)
            replaced = [_name(urn) for urn in feeding if actions.get(urn) is Action.REPLACE]
            if not replaced and not _rewired(_feeding(path, [pairs.new_urn(urn) for urn in old.dependencies]), feeding):
                continue
            if replaced:
                guess = False
                because = f" ({', '.join(replaced)} is replaced)"
        changed.append(path)
        if guess:
            guessed.append(path)
        if forces_replacement(resource.type, path, _none(was), _none(becomes)):
            forced_by.append(f"{path}{because}")
    action = Action.REPLACE if forced_by else Action.UPDATE if changed else Action.SAME
    return _Step(action, resource, old, tuple(changed), tuple(forced_by), tuple(guessed), aliased)


def _feeding(path: str, dependencies: Sequence[str]) -> list[str]:
    """Which of `dependencies` may give the input at `path` its value."""
    stem = re.sub(r"(Id|Name)?s?$", "", re.findall(r"[^.\[\]]+", re.sub(r"\[\d+\]", "", path))[-1]).lower()
    classes = {urn: urn.split("::", 3)[2].rsplit(":", 1)[-1].lower() for urn in dependencies}
    exactly = [urn for urn, class_ in classes.items() if class_ == stem]
    nearly = [urn for urn, class_ in classes.items() if stem and class_.endswith(stem)]
    return exactly or nearly or list(dependencies)


def _rewired(was: Sequence[str], becomes: Sequence[str]) -> bool:
    """Whether the value may come from another resource than before: one that could feed it went, and another one came."""
    return bool(set(was) - set(becomes)) and bool(set(becomes) - set(was))


def _none(value: Any) -> Any:
    return None if value is _MISSING else value


def _differences(was: Any, becomes: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths of the innermost values that differ, and of those that are unknown or secret on both sides. Nothing and null are the same."""
    if isinstance(was, dict) and isinstance(becomes, dict):
        for key in sorted({*was, *becomes}):
            yield from _differences(was.get(key, _MISSING), becomes.get(key, _MISSING), f"{path}.{key}" if path else key)
    elif isinstance(was, list) and isinstance(becomes, list):
        for index, (left, right) in enumerate(zip(was, becomes, strict=False)):
            yield from _differences(left, right, f"{path}[{index}]")
        # An item more or less is a difference, even when it is null.
        for index in range(len(becomes), len(was)):
            yield f"{path}[{index}]", was[index], _MISSING
        for index in range(len(was), len(becomes)):
            yield f"{path}[{index}]", _MISSING, becomes[index]
    elif _none(was) is None and _none(becomes) is None:
        return
    elif was is _MISSING or becomes is _MISSING or was != becomes or was == UNKNOWN:
        yield path, was, becomes


def _with_ignored(was: dict[str, Any], becomes: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The new inputs with the old values at `paths`, as the engine does it (`a.b`, `a[0].b`, `a["b"]`, `a[*].b`)."""
    kept: Any = becomes
    for path in paths:
        kept = _keep(was, kept, [quoted or plain for quoted, plain in re.findall(r'\["([^"]*)"\]|([^.\[\]]+)', path)])
    result: dict[str, Any] = kept
    return result


def _keep(was: Any, becomes: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return was
    step, rest = steps[0], steps[1:]
    if isinstance(becomes, list):
        indexes = range(len(becomes)) if step == "*" else [int(step)] if step.isdecimal() and int(step) < len(becomes) else []
        items = list(becomes)
        for index in indexes:
            if isinstance(was, list) and index < len(was):
                items[index] = _keep(was[index], items[index], rest)
        return items
    if isinstance(becomes, dict) and isinstance(was, dict):
        result = dict(becomes)
        for key in sorted({*was, *becomes}) if step == "*" else [step]:
            if rest and key not in becomes:
                continue
            value = _keep(was.get(key, _MISSING), becomes.get(key, _MISSING), rest)
            if value is _MISSING:
                result.pop(key, None)
            else:
                result[key] = value
        return result
    return becomes


def _change(step: _Step) -> Change:
    resource = step.resource
    return Change(
        urn=resource.urn,
        action=step.action,
        type=resource.type,
        name=resource.name,
        changed=step.changed,
        forced_by=step.forced_by,
        holds_data=holds_data(resource.type),
        moved_from=step.old.urn if step.aliased and step.old else None,
        cost_before=step.old.monthly_cost if step.old else None,
        cost_after=step.new.monthly_cost if step.new else None,
    )


def _risks(steps: Sequence[_Step], allowed: Collection[str]) -> Iterator[Finding]:
    """Data that would be lost, and changes that a provider refuses half-way."""
    for step in steps:
        urn = step.resource.urn
        if _loses_data(step) and not step.urns & set(allowed):
            why = f"replaced, forced by {', '.join(step.forced_by)}" if step.action is Action.REPLACE else "deleted"
            yield Finding(
                Level.ERROR,
                "data_at_risk",
                urn,
                f"{step.resource.name} holds data and would be {why}",
                f"keep it as it is, or confirm that its data may go: --allow '{urn}'",
            )
        if step.resource.type == _HETZNER_SERVER and step.action is Action.UPDATE and step.old:
            was, becomes = (side.inputs.get("serverType") for side in (step.old, step.resource))
            if isinstance(was, str) and isinstance(becomes, str) and _is_arm(was) != _is_arm(becomes):
                yield Finding(
                    Level.ERROR,
                    "architecture_change",
                    urn,
                    f"serverType: found {becomes} ({_architecture(becomes)}) for a server that is {was} ({_architecture(was)}); "
                    "Hetzner can't rescale across architectures",
                    f"choose an {_architecture(was)} type, or build a server under another name and move to it",
                )


def _loses_data(step: _Step) -> bool:
    # What is retained stays at the provider when it leaves the stack; a replacement starts empty all the same.
    return holds_data(step.resource.type) and (
        step.action is Action.REPLACE or (step.action is Action.DELETE and not step.resource.retain_on_delete)
    )


def _is_arm(server_type: str) -> bool:
    return server_type.startswith("cax")


def _architecture(server_type: str) -> str:
    return "ARM" if _is_arm(server_type) else "x86"


def _unmatched(steps: Sequence[_Step], allowed: Collection[str]) -> Iterator[Finding]:
    """Confirmations that confirm nothing: a misspelt URN must not pass for a confirmation."""
    known = {urn for step in steps for urn in step.urns}
    risky = sorted(step.resource.urn for step in steps if _loses_data(step))
    for urn in sorted(set(allowed) - known):
        near = difflib.get_close_matches(urn, risky or sorted(known), n=1, cutoff=0.5)
        yield Finding(
            Level.ERROR,
            "allowed_urn_unknown",
            urn,
            "allowed to be replaced or deleted, but neither side has this resource",
            f"did you mean {near[0]}?" if near else "take the confirmation away",
        )


def _warnings(step: _Step) -> Iterator[Finding]:
    """Protection that goes, and protection that will stop the deployment."""
    urn, name = step.resource.urn, step.resource.name
    if step.old is None or not step.old.protect:
        return
    if step.new is not None and not step.new.protect and holds_data(step.resource.type):
        yield Finding(
            Level.WARNING, "protect_removed", urn, f"{name} holds data and would no longer be protected", "keep protect, unless it is to go"
        )
    if step.action in {Action.DELETE, Action.REPLACE}:
        yield Finding(
            Level.WARNING,
            "protected",
            urn,
            f"{name} is protected: the engine refuses to {step.action.value} it",
            f"keep it, or run pulumi state unprotect '{step.old.urn}' first",
        )


def _notes(steps: Sequence[_Step], before: Plan, after: Plan) -> Iterator[Finding]:
    for step in steps:
        if step.guessed:
            yield Finding(
                Level.NOTE,
                "value_unknown",
                step.resource.urn,
                f"{', '.join(step.guessed)}: can't be compared before deployment; counted as a change",
            )
        if step.action is Action.DELETE and step.resource.retain_on_delete:
            yield Finding(Level.NOTE, "retained", step.resource.urn, f"{step.resource.name} leaves the stack and stays at the provider")
    secrets = sum(_secrets(step.old.inputs, step.new.inputs) for step in steps if step.old and step.new)
    if secrets:
        yield Finding(
            Level.NOTE, "secrets_not_compared", after.stack, f"{secrets} secret inputs are masked on both sides and count as the same"
        )
    if any(step.resource.type == _HETZNER_SERVER and "serverType" in step.changed for step in steps):
        yield Finding(
            Level.NOTE,
            "reprices",
            after.stack,
            "a rescaled Hetzner server gets today's list price; until then it keeps the one that it was ordered at, which can be lower "
            "than shown here",
        )
    if before.monthly_cost is None and after.monthly_cost is not None:
        yield Finding(Level.NOTE, "cost_unknown", before.stack, "what the earlier side costs is not known")


def _secrets(was: Any, becomes: Any) -> int:
    """How many values are secret on both sides."""
    if isinstance(was, dict) and isinstance(becomes, dict):
        return sum(_secrets(was[key], becomes[key]) for key in was if key in becomes)
    if isinstance(was, list) and isinstance(becomes, list):
        return sum(_secrets(left, right) for left, right in zip(was, becomes, strict=False))
    return int(was == becomes == SECRET)


def _by_component(before: Plan, after: Plan) -> tuple[tuple[str, Money | None, Money | None], ...]:
    was, becomes = dict(by_component(before)), dict(by_component(after))
    return tuple((name, was.get(name), becomes.get(name)) for name in dict.fromkeys([*becomes, *was]))


def _in_currency(plan: Plan, other: Plan) -> Plan:
    """`plan` with its costs in the currency of `other`."""
    if plan.monthly_cost is None or other.monthly_cost is None or plan.monthly_cost.currency == other.monthly_cost.currency:
        return plan
    currency = other.monthly_cost.currency
    return dataclasses.replace(
        plan,
        monthly_cost=_converted(plan.monthly_cost, currency),
        resources=tuple(
            dataclasses.replace(resource, monthly_cost=_converted(resource.monthly_cost, currency)) if resource.monthly_cost else resource
            for resource in plan.resources
        ),
    )


def _converted(money: Money, currency: str) -> Money:
    amount = load_prices().convert(money.amount, money.currency, currency)
    if amount is None:
        return Money(money.amount * 0, currency, (*money.unknown, f"{money.amount} {money.currency}"))
    return Money(amount, currency, money.unknown)


def _name(urn: str) -> str:
    return urn.split("::", 3)[-1]
