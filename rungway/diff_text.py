"""A diff as text for people: data at risk first, then what happens to each resource, then money."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rich.cells import cell_len
from rich.text import Text

from rungway.cost import money_text, to_cents
from rungway.model import Action, Change, Diff, Finding, Money
from rungway.text import FINDINGS, rendered

_ACTIONS = (
    (Action.REPLACE, "Replaced", "±", "bold red"),
    (Action.DELETE, "Deleted", "-", "red"),
    (Action.UPDATE, "Updated in place", "~", "yellow"),
    (Action.CREATE, "Created", "+", "green"),
)
"""What is shown, the gravest first, with its mark. What stays the same is counted."""

_AT_RISK = frozenset({"data_at_risk", "allowed_urn_unknown", "protect_removed"})


def diff_text(diff: Diff, *, terminal: bool | None = None, width: int | None = None) -> str:
    """The diff as text; `terminal` and `width` as in `rungway.text.rendered`."""
    return rendered(lambda columns: _lines(diff, columns), terminal, width)


def _lines(diff: Diff, width: int) -> Iterator[Text]:
    yield _heading(diff)
    risks = [finding for finding in diff.findings if finding.code in _AT_RISK]
    yield from _findings("Data at risk", "bold red", risks, width)
    for action, title, mark, style in _ACTIONS:
        yield from _group(title, mark, style, [change for change in diff.changes if change.action is action], width)
    yield from _moved([change for change in diff.changes if change.moved_from and change.action is Action.SAME], width)
    yield from _money(diff, width)
    for level, title, style in FINDINGS:
        yield from _findings(title, style, [f for f in diff.findings if f.level is level and f.code not in _AT_RISK], width)


def _heading(diff: Diff) -> Text:
    counts = [(action, sum(change.action is action for change in diff.changes)) for action in Action]
    said = ", ".join(f"{count} {_DONE[action]}" for action, count in counts if count) or "nothing on either side"
    return Text.assemble((f"{diff.before} → {diff.after}", "bold"), (f"  {said}", "dim"))


_DONE = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.SAME: "the same",
}


def _group(title: str, mark: str, style: str, changes: Sequence[Change], width: int) -> Iterator[Text]:
    if not changes:
        return
    yield Text()
    yield Text.assemble((title, style), (f"  {len(changes)}", "dim"))
    for change in changes:
        line = Text.assemble((f"  {mark} ", style), change.name, (f"  {_short_type(change.type)}", "cyan"))
        if change.holds_data:
            line.append("  holds data", "bold")
        yield _with_right(line, _delta_text(change.cost_before, change.cost_after), width)
        if change.forced_by:
            yield from _wrapped(f"forced by {', '.join(change.forced_by)}", 6, "red", width)
        rest = [path for path in change.changed if path not in change.forced_by]
        if rest:
            yield from _wrapped(", ".join(rest), 6, "dim", width)
        if change.moved_from:
            yield Text(f"      was {change.moved_from}", "dim")


def _moved(changes: Sequence[Change], width: int) -> Iterator[Text]:
    """What only has another name or parent: the alias carries it over."""
    if not changes:
        return
    yield Text()
    yield Text.assemble(("Moved, otherwise the same", "bold"), (f"  {len(changes)}", "dim"))
    for change in changes:
        yield _with_right(Text.assemble("  ", change.name, (f"  {_short_type(change.type)}", "cyan")), "", width)
        yield Text(f"      was {change.moved_from}", "dim")


def _money(diff: Diff, width: int) -> Iterator[Text]:
    before, after = diff.cost_before, diff.cost_after
    if before is None and after is None:
        return
    yield Text()
    yield _with_right(Text("Cost a month", "bold"), _change_text(before, after), width)
    for name, was, becomes in diff.cost_by_component:
        yield _with_right(Text(f"  {name}"), _change_text(was, becomes), width, "" if was != becomes else "dim")
    for name in dict.fromkeys(name for cost in (before, after) if cost for name in cost.unknown):
        yield from _wrapped(f"price unknown, not included: {name}", 2, "yellow", width)


def _change_text(before: Money | None, after: Money | None) -> str:
    """`8.49 EUR → 15.99 EUR  +7.50`, in columns."""
    delta = _delta(before, after)
    return f"{_cost(before):>14} → {_cost(after):>14}  {delta:>10}"


def _delta_text(before: Money | None, after: Money | None) -> str:
    if not (before and (before.amount or before.unknown)) and not (after and (after.amount or after.unknown)):
        return ""
    return _delta(before, after)


def _delta(before: Money | None, after: Money | None) -> str:
    """How much more it is, in the form `+7.50`; with a question mark where a price is unknown."""
    difference = (after.amount if after else Decimal(0)) - (before.amount if before else Decimal(0))
    cents = to_cents(difference)
    unknown = " + ?" if (before and before.unknown) or (after and after.unknown) else ""
    return f"{'+' if cents > 0 else ''}{cents}{unknown}" if cents or unknown else "same"


def _cost(money: Money | None) -> str:
    if money is None:
        return "-"
    return money_text(Money(money.amount, money.currency)) + (" + ?" if money.unknown else "")


def _findings(title: str, style: str, findings: Sequence[Finding], width: int) -> Iterator[Text]:
    if not findings:
        return
    yield Text()
    yield Text.assemble((title, style), (f"  {len(findings)}", "dim"))
    for finding in findings:
        yield from _wrapped(f"{_short_path(finding.path)}: {finding.message}", 2, "", width)
        if finding.action:
            # Not wrapped: it is often a command, to be copied as one line.
            yield Text(f"    {finding.action}", "cyan")


def _with_right(left: Text, right: str, width: int, style: str = "") -> Text:
    """`right` at the right edge; a left part that is too long is cut."""
    if not right:
        return left
    room = max(width - cell_len(right) - 2, 0)
    if left.cell_len > room:
        left.truncate(room, overflow="ellipsis")
    return left.append(" " * (room - left.cell_len + 2)).append(right, style)


def _wrapped(text: str, indent: int, style: str, width: int) -> Iterator[Text]:
    """Lines that fit, later ones a little further in. A word that does not fit stays whole."""
    line, started = " " * indent, False
    for word in text.split():
        if started and cell_len(line) + 1 + cell_len(word) > width:
            yield Text(line, style)
            line, started = " " * (indent + 2), False
        line += f" {word}" if started else word
        started = True
    yield Text(line, style)


def _short_type(type_: str) -> str:
    package, _, rest = type_.partition(":")
    name = rest.rsplit(":", 1)[-1]
    return name if package == "rungway" else f"{'hetzner' if package == 'hcloud' else package} {name}"


def _short_path(path: str) -> str:
    """A URN as name and type; a settings path as it is."""
    if not path.startswith("urn:pulumi:") or path.count("::") < 3:
        return path
    _, _, types, name = path.split("::", 3)
    return f"{name} ({types.rsplit('$', 1)[-1].rsplit(':', 1)[-1]})"
