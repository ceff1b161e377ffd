"""Finds the two plans that `rungway diff` compares."""

from pathlib import Path

from rungway.diff import diff
from rungway.model import Diff, Plan
from rungway.planning import plan_stack
from rungway.stacks import find_stack, project_root


def compare(before: str, *, after: str | None, ref: str | None, state_file: Path | None, allowed: frozenset[str]) -> Diff:
    """The diff that one of `after` (a stack), `ref` (a git revision) or `state_file` (an exported state) asks for.

    With a revision or a state, `before` names the stack as it is now, which is then the later side.

    Raises:
        RungwayError: either side can't be planned or read.
    """
    if after is not None:
        return diff(plan_stack(before), plan_stack(after), allowed=allowed)
    now = plan_stack(before)
    if state_file is not None:
        return diff(_priced_state(state_file, now), now, allowed=allowed)
    from rungway.git_plan import plan_of_git

    root = project_root(Path.cwd())
    return diff(plan_of_git(ref or "HEAD", find_stack(before, root), root), now, allowed=allowed)


def _priced_state(state_file: Path, now: Plan) -> Plan:
    """The state as a plan, priced like the stack it is compared with. What is billed by use is expected to be used as the stack says."""
    from rungway.cost import price, usage_of
    from rungway.servers import settings_of_stack
    from rungway.state import plan_from_state

    settings = settings_of_stack(find_stack(now.stack, project_root(Path.cwd())))
    return price(plan_from_state(state_file), settings.budget.currency, usage_of(settings))
