"""Writes the parts of the documentation that the program knows best: settings, commands, the ladder's pictures and prices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
from pydantic.fields import FieldInfo

from infra.reading import REGION_SECTIONS, STACK_SECTIONS, TEXTS, section_of
from infra.settings import Region, Section, Settings
from rungway.cost import by_component, money_text
from rungway.diff import diff
from rungway.errors import RungwayError
from rungway.graph import svg
from rungway.model import Action, Plan
from rungway.planning import plan_stack
from rungway.stacks import project_root

PHASES = ("mvp", "phase2", "phase3", "phase4")
"""The default phases, from the bottom of the ladder up."""

_BEGIN, _END = "<!-- ladder: written by `rungway docs write` -->", "<!-- end of ladder -->"


def write_documentation(*, only_check: bool) -> list[str]:
    """Write every generated page that is out of date, or with `only_check` none; return their paths from the project's root.

    Raises:
        RungwayError: a page can't be written, or README.md has lost the marks between which the ladder goes.
    """
    root = project_root(Path.cwd())
    stale = []
    for path, text in _pages(root):
        file = root / path
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not only_check:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            except OSError as error:
                raise RungwayError(f"{path}: can't write the page: {error.strerror}") from error
    return stale


def _pages(root: Path) -> Iterator[tuple[str, str]]:
    plans = [plan_stack(phase) for phase in PHASES]
    for plan in plans:
        yield f"docs/pictures/{plan.stack}.svg", svg(plan)
    yield "docs/settings.md", settings_page()
    yield "docs/cli.md", cli_page()
    yield "README.md", _with_ladder((root / "README.md").read_text(encoding="utf-8"), plans)


def _with_ladder(readme: str, plans: list[Plan]) -> str:
    before, begin, rest = readme.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise RungwayError(f"README.md: found no place for the ladder; allowed: the lines '{_BEGIN}' and '{_END}'")
    return f"{before}{_BEGIN}\n{_ladder(plans)}{_END}{after}"


def _ladder(plans: list[Plan]) -> str:
    lines = ["| phase | a month | budget | resources | stepping up to it |", "|---|---:|---:|---:|---|"]
    for number, plan in enumerate(plans):
        budget = f"{plan.budget.amount:.0f} {plan.budget.currency}" if plan.budget else ""
        cost = money_text(plan.monthly_cost) if plan.monthly_cost else ""
        lines.append(f"| `{plan.stack}` | {cost} | {budget} | {len(plan.resources)} | {_step(plans[number - 1], plan) if number else ''} |")
    lines.append("")
    lines += [f"![{plan.stack}](docs/pictures/{plan.stack}.svg)" for plan in plans]
    lines += ["", "What each part costs a month, without VAT (`infra/catalog/prices.yaml` dates and sources every price):", ""]
    costs = [dict(by_component(plan)) for plan in plans]
    names = list(dict.fromkeys(name for cost in costs for name, money in cost.items() if money.amount or money.unknown))
    lines += [f"| part | {' | '.join(plan.stack for plan in plans)} |", f"|---|{'---:|' * len(plans)}"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(money_text(cost[name]) if name in cost else '' for cost in costs)} |")
    return "\n".join(lines) + "\n"


def _step(before: Plan, after: Plan) -> str:
    changes = diff(before, after).changes
    counts = {action: sum(change.action is action for change in changes) for action in Action}
    said = {Action.CREATE: "created", Action.UPDATE: "updated in place", Action.REPLACE: "replaced", Action.DELETE: "deleted"}
    lost = sum(change.holds_data and change.action in (Action.REPLACE, Action.DELETE) for change in changes)
    steps = [f"{counts[action]} {word}" for action, word in said.items() if counts[action]]
    return f"{', '.join(steps)}; {lost or 'nothing'} that holds data is lost"


def settings_page() -> str:
    """Every setting: key, kind, default, what it is for."""
    lines = [
        "# Settings",
        "",
        "Every key of a stack file, below `config:`. Written by `rungway docs write` from the program's own model; [Pulumi.reference.yaml]"
        "(Pulumi.reference.yaml)",
        "names every key in one file. Sections marked *in every region* are written once and hold in each region; an entry of",
        "`rungway:regions` may override any key of them.",
        "",
        "## Top level",
        "",
        "| key | kind | default | what it is |",
        "|---|---|---|---|",
    ]
    for key, default in TEXTS.items():
        field = Region.model_fields["provider"] if key == "provider" else Settings.model_fields[key]
        lines.append(f"| `rungway:{key}` | {_kind(field)} | {f'`{default}`' if default else 'to be set'} | {field.description} |")
    for key in ("ssh_public_keys", "existing_ssh_keys", "admin_cidrs", "regions"):
        lines.append(f"| `rungway:{key}` | list | | {Settings.model_fields[key].description} |")
    lines += ["", "## An entry of `rungway:regions`", "", "| key | kind | default | what it is |", "|---|---|---|---|"]
    filled_in = {"provider": "`rungway:provider`", "cidr": "the next /16"}
    lines += [_row(key, Region.model_fields[key], filled_in.get(key, "")) for key in ("name", "provider", "location", "cidr")]
    for key, model in {**REGION_SECTIONS, **STACK_SECTIONS}.items():
        lines += _section(f"rungway:{key}", model, " *in every region*" if key in REGION_SECTIONS else "")
    return "\n".join(lines) + "\n"


def _section(path: str, model: type[Section], remark: str = "") -> list[str]:
    lines = [
        "",
        f"## `{path}`{remark}",
        "",
        (model.__doc__ or "").strip(),
        "",
        "| key | kind | default | what it is |",
        "|---|---|---|---|",
    ]
    lines += [_row(key, field) for key, field in model.model_fields.items()]
    for key, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            listed = "[]" if "tuple" in str(field.annotation) else ""
            lines += _section(f"{path}.{key}{listed}", inner)
    return lines


def _row(key: str, field: FieldInfo, default: str = "") -> str:
    return f"| `{key}` | {_kind(field)} | {default or _default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default in ("", ()):
        return ""
    if field.is_required():
        return "required"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _kind(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if section_of(field) is not None:
        return "list of groups" if "tuple" in str(annotation) else "group"
    choices = [str(choice) for choice in get_args(annotation) if isinstance(choice, str | int) and choice != ""]
    if choices:
        return ", ".join(choices)
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}.get(
        annotation, "list" if "tuple" in str(annotation) else "text"
    )


def cli_page() -> str:
    """The help of every command."""
    from rungway.cli import cli

    lines = ["# Command line", "", "Written by `rungway docs write` from the commands themselves.", ""]
    for context in _contexts(cli, "rungway", None):
        lines += [f"## `{context.command_path}`", "", "```", context.command.get_help(context), "```", ""]
    return "\n".join(lines)


def _contexts(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    """A context for the command and each below it, with the settings that it has when people run it."""
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for child_name, child in sorted(command.commands.items()):
            yield from _contexts(child, child_name, context)
