"""Checks stack files without printing their plans."""

from collections.abc import Sequence
from pathlib import Path

from rungway.errors import RungwayError
from rungway.model import Level
from rungway.planning import plan_stack
from rungway.stacks import all_stacks, project_root


def check_stacks(names: Sequence[str]) -> tuple[str, bool]:
    """A line for each of the stacks (all of the project when none is named) with its errors, and whether there was none."""
    chosen = names or [stack.name for stack in all_stacks(project_root(Path.cwd()))]
    lines: list[str] = []
    clean = True
    for name in chosen:
        try:
            findings = plan_stack(name).findings
        except RungwayError as error:
            clean = False
            lines += [f"{name}: error", *(f"  {line}" for line in str(error).splitlines())]
            continue
        errors = [finding for finding in findings if finding.level is Level.ERROR]
        unbuilt = sum(finding.level is Level.NOT_BUILT for finding in findings)
        clean = clean and not errors
        lines.append(f"{name}: {'error' if errors else 'ok'}{f', {unbuilt} parts not built yet' if unbuilt else ''}")
        lines += [f"  {finding.path}: {finding.message}; {finding.action}" for finding in errors]
    return "\n".join(lines), clean
