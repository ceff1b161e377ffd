"""A plan as text for people: the resources by component, then money, budgets and what needs attention."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from rungway.cost import to_cents
from rungway.model import SECRET, UNKNOWN, Finding, HostBudget, Level, Money, Plan, Resource
from rungway.text import FINDINGS, rendered

_TELLING_INPUTS = (
    "serverType",
    "loadBalancerType",
    "size",
    "settingId",
    "version",
    "type",
    "location",
    "region",
    "ipRange",
    "ip",
    "domain",
    "value",
)
"""Inputs worth a look, in this order; the rest is in --json."""

_PROVIDER_NAMES = {"hcloud": "hetzner"}


def plan_text(plan: Plan, *, terminal: bool | None = None, width: int | None = None) -> str:
    """The plan as text; `terminal` and `width` as in `rungway.text.rendered`."""
    return rendered(lambda columns: _PlanText(plan, columns).lines(), terminal, width)


class _PlanText:
    def __init__(self, plan: Plan, width: int) -> None:
        self._plan = plan
        self._width = width
        known = {resource.urn for resource in plan.resources}
        self._children: dict[str | None, list[Resource]] = {}
        for resource in plan.resources:
            if resource.type != "pulumi:pulumi:Stack":
                parent = resource.parent if resource.parent in known and not _is_stack(resource.parent) else None
                self._children.setdefault(parent, []).append(resource)
        self._marks = {level: {f.path for f in plan.findings if f.level is level} for level in (Level.ERROR, Level.WARNING)}

    def lines(self) -> Iterator[Text]:
        yield self._heading()
        yield from self._tree(None, "")
        yield from self._money()
        yield from self._budgets()
        for level, title, style in FINDINGS:
            yield from self._findings(title, style, [finding for finding in self._plan.findings if finding.level is level])

    def _heading(self) -> Text:
        built = [resource for group in self._children.values() for resource in group]
        count = sum(not resource.component for resource in built)
        return Text.assemble(
            (self._plan.stack, "bold"),
            (f"  {_count(count, 'resource')} in {_count(len(built) - count, 'component')}, {_SOURCES[self._plan.source]}", "dim"),
        )

    def _tree(self, parent: str | None, guide: str) -> Iterator[Text]:
        children = self._children.get(parent, [])
        for number, resource in enumerate(children, start=1):
            last = number == len(children)
            yield self._row(resource, guide + ("└── " if last else "├── "))
            yield from self._tree(resource.urn, guide + ("    " if last else "│   "))

    def _row(self, resource: Resource, guide: str) -> Text:
        """Name, type and telling inputs on the left, cut where they meet the marks and the cost on the right."""
        left = Text.assemble((guide, "dim"), (resource.name, "bold" if resource.component else ""), (f"  {_short_type(resource)}", "cyan"))
        details = _details(resource)
        if details:
            left.append(f"  {details}", "dim")
        right = Text()
        if resource.urn in self._marks[Level.ERROR]:
            right.append("  ✗ error", "bold red")
        elif resource.urn in self._marks[Level.WARNING]:
            right.append("  ! warning", "yellow")
        if resource.protect and not resource.component:
            right.append("  protected", "green")
        cost = self._cost(resource)
        if cost is not None:
            right.append(f"  {_money(cost):>11}", "bold" if resource.component else "")
        elif right and self._plan.monthly_cost is not None:
            # Marks stand in one column, whether or not a cost follows.
            right.append(" " * 13)
        room = self._width - right.cell_len
        if left.cell_len > room:
            left.truncate(max(room, 0), overflow="ellipsis")
        if right:
            left.append(" " * (room - left.cell_len)).append_text(right)
        left.rstrip()
        return left

    def _cost(self, resource: Resource) -> Money | None:
        """A resource's own cost; of a component, the sum of what is inside. None where nothing costs anything."""
        cost = _sum(self._costs(resource))
        return None if cost is None or (not cost.amount and not cost.unknown) else cost

    def _costs(self, resource: Resource) -> Iterator[Money]:
        if resource.monthly_cost is not None:
            yield resource.monthly_cost
        for child in self._children.get(resource.urn, []):
            yield from self._costs(child)

    def _money(self) -> Iterator[Text]:
        cost, budget = self._plan.monthly_cost, self._plan.budget
        if cost is None:
            return
        yield Text()
        line = Text.assemble(("Cost a month", "bold"), f"  {to_cents(cost.amount)} {cost.currency}")
        if budget is None:
            line.append("  no budget set", "dim")
        elif budget.currency == cost.currency:
            over = cost.amount > budget.amount
            line.append(
                f"  {'over' if over else 'within'} the budget of {to_cents(budget.amount)} {budget.currency}",
                "bold red" if over else "green",
            )
        yield line
        for name in cost.unknown:
            yield Text(f"  price unknown, not included: {name}", "yellow")

    def _budgets(self) -> Iterator[Text]:
        budgets = self._plan.host_budgets
        if not budgets:
            return
        yield Text()
        yield Text("Memory and connections", "bold")
        subjects = max(cell_len(budget.subject) for budget in budgets)
        for budget in budgets:
            yield from self._budget(budget, subjects)

    def _budget(self, budget: HostBudget, subjects: int) -> Iterator[Text]:
        over = budget.used > budget.available
        figures = f"{budget.used:>6} of {budget.available:>6} {budget.unit:<11}"
        line = Text.assemble(f"  {set_cell_size(budget.subject, subjects)}  ", (figures, "bold red" if over else ""))
        if budget.available:
            line.append(f" {round(100 * budget.used / budget.available):>4} %", "bold red" if over else "dim")
        yield line
        if budget.parts:
            yield from self._wrapped(", ".join(f"{name} {amount}" for name, amount in budget.parts), 4, "dim")

    def _findings(self, title: str, style: str, findings: list[Finding]) -> Iterator[Text]:
        if not findings:
            return
        yield Text()
        yield Text.assemble((title, style), (f"  {len(findings)}", "dim"))
        for finding in findings:
            yield from self._wrapped(f"{_short_path(finding.path)}: {finding.message}", 2, "")
            if finding.action:
                # Not wrapped: it is often a command, to be copied as one line.
                yield Text(f"    {finding.action}", "cyan")

    def _wrapped(self, text: str, indent: int, style: str) -> Iterator[Text]:
        """Lines that fit, later ones a little further in. A word that does not fit stays whole."""
        line = " " * indent
        started = False
        for word in text.split():
            if started and cell_len(line) + 1 + cell_len(word) > self._width:
                yield Text(line, style)
                line, started = " " * (indent + 2), False
            line += f" {word}" if started else word
            started = True
        yield Text(line, style)


_SOURCES = {"offline": "planned on this machine", "engine": "previewed by the Pulumi engine", "state": "read from a state"}


def _is_stack(urn: str | None) -> bool:
    return urn is not None and urn.split("::", 3)[2] == "pulumi:pulumi:Stack"


def _short_type(resource: Resource) -> str:
    """AppVPS for a component, 'hetzner Server' for a provider's resource."""
    package, _, rest = resource.type.partition(":")
    name = rest.rsplit(":", 1)[-1]
    return name if resource.component else f"{_PROVIDER_NAMES.get(package, package)} {name}"


def _details(resource: Resource) -> str:
    values = (resource.inputs.get(name) for name in _TELLING_INPUTS)
    return " ".join(str(value) for value in values if isinstance(value, str | int) and value not in (UNKNOWN, SECRET))


def _short_path(path: str) -> str:
    """A URN as name and type; a settings path as it is."""
    if not path.startswith("urn:pulumi:"):
        return path
    _, _, types, name = path.split("::", 3)
    return f"{name} ({types.rsplit('$', 1)[-1]})"


def _money(cost: Money) -> str:
    if cost.unknown:
        return f"{to_cents(cost.amount)} + ?" if cost.amount else "unknown"
    return f"{to_cents(cost.amount)} {cost.currency}"


def _sum(costs: Iterable[Money]) -> Money | None:
    found = list(costs)
    if not found:
        return None
    unknown = tuple(dict.fromkeys(name for cost in found for name in cost.unknown))
    return Money(sum((cost.amount for cost in found), Decimal(0)), found[0].currency, unknown)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
