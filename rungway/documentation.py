"""Writes the parts of the documentation that the program knows best: settings, commands, pictures, prices, tuned values and alerts."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
import yaml
from pydantic.fields import FieldInfo

from hosts import tuning
from hosts.specification import HostSpecification
from infra.reading import REGION_SECTIONS, STACK_SECTIONS, TEXTS, section_of
from infra.settings import Region, Section, Settings
from rungway.cost import by_component, money_text
from rungway.diff import diff
from rungway.errors import RungwayError
from rungway.graph import svg
from rungway.model import Action, Plan
from rungway.planning import plan_stack
from rungway.rendering import configurations_of
from rungway.servers import servers_of_stack
from rungway.stacks import project_root

PHASES = ("mvp", "phase2", "phase3", "phase4")
"""The default phases, from the bottom of the ladder up."""

WATCHED_PHASE = "phase3"
"""The phase whose alerts are shown: it has every kind of store, and the default thresholds."""


def write_documentation(*, only_check: bool) -> list[str]:
    """Write every generated page that is out of date, or with `only_check` none; return their paths from the project's root.

    Raises:
        RungwayError: a page can't be written, or one has lost the marks between which its generated part goes.
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
    parts: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("README.md", "ladder", lambda: _ladder(plans)),
        ("docs/tuning.md", "tuned values", _tuned_values),
        ("docs/monitoring.md", "alerts", _alerts),
    )
    for path, mark, write in parts:
        yield path, _with_part(path, (root / path).read_text(encoding="utf-8"), mark, write())


def _with_part(path: str, page: str, mark: str, part: str) -> str:
    """The page with `part` between its marks instead of what was there."""
    begins, ends = f"<!-- {mark}: written by `rungway docs write` -->", f"<!-- end of {mark} -->"
    before, begin, rest = page.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise RungwayError(f"{path}: found no place for the {mark}; allowed: the lines '{begins}' and '{ends}'")
    return f"{before}{begins}\n{part}{ends}{after}"


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


_TABLES: tuple[tuple[str, tuple[tuning.Rule, ...], str], ...] = (
    ("PostgreSQL: `postgresql.conf`, or Patroni", tuning.POSTGRESQL, "postgresql"),
    ("PostgreSQL: the role `application`", tuning.APPLICATION_ROLE, "postgresql"),
    ("PgBouncer: `pgbouncer.ini`", tuning.PGBOUNCER, "pgbouncer"),
    ("Redis: `redis.conf`", tuning.REDIS, "redis"),
    ("Kernel: `sysctl`", tuning.SYSCTL, "name"),
)
"""The tables that servers are rendered from, each with the field of a host that says whether it holds there."""


def _tuned_values() -> str:
    """Every table, with a column for each set of values that servers of the default phases get."""
    hosts = [(phase, host) for phase in PHASES for host in servers_of_stack(phase)]
    lines = []
    for title, table, field in _TABLES:
        columns: dict[tuple[tuple[str, str], ...], list[tuple[str, HostSpecification]]] = {}
        for phase, host in hosts:
            if getattr(host, field):
                columns.setdefault(tuple(tuning.tuned(table, host).items()), []).append((phase, host))
        heads = [f"{phase} {host.name}" for (phase, host), *_ in columns.values()]
        lines += [f"### {title}", ""]
        lines += [f"- **{head}**{_shared_by(column)}" for head, column in zip(heads, columns.values(), strict=True)]
        lines += ["", f"| setting | {' | '.join(heads)} | why | source |"]
        lines.append(f"|---|{'---:|' * len(columns)}---|---|")
        for rule in table:
            values = [dict(column).get(rule.name, "") for column in columns]
            if any(values):
                lines.append(f"| `{rule.name}` | {' | '.join(values)} | {rule.why} | {rule.source} |")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _shared_by(column: list[tuple[str, HostSpecification]]) -> str:
    """The size of the server that a column is named after, and the others that it holds for."""
    (_, first), *others = column
    phases: dict[str, list[str]] = {}
    for phase, host in others:
        phases.setdefault(phase, []).append(host.name)
    same = "; ".join(f"{phase}: {', '.join(names)}" for phase, names in phases.items())
    return f" ({first.cores} cores, {first.memory_mb} MiB)" + (f"; the same on {same}" if same else "")


def _alerts() -> str:
    """A row for each alert of a phase, from the very files that its Prometheus reads."""
    lines = ["| alert | severity | for | what it says | what to do |", "|---|---|---|---|---|"]
    servers = configurations_of(WATCHED_PHASE).values()
    rules = [file.content for server in servers for file in server.files if file.path.startswith("/etc/prometheus/rules/")]
    for rule in (rule for text in rules for group in yaml.safe_load(text)["groups"] for rule in group["rules"]):
        if "alert" in rule:
            said = rule["annotations"]
            cells = (f"`{rule['alert']}`", rule["labels"]["severity"], rule.get("for", "at once"), _plain(said["summary"]), said["action"])
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plain(summary: str) -> str:
    """The text of an alert with names in capitals for what Prometheus fills in."""
    named = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: match[1].upper(), summary)
    return re.sub(r"\{\{.*?\}\}", "N", named)


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
