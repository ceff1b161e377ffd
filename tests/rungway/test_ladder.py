"""The promise of the ladder: from each phase to the next, names and types stay, and nothing that holds data is replaced or deleted."""

from itertools import pairwise
from pathlib import Path

import pytest

from rungway.diff import diff, exit_code
from rungway.model import Action, Level
from rungway.planning import plan_stack

LADDERS = {
    "default": ("mvp", "phase2", "phase3", "phase4"),
    "vps": ("vps/phase1", "vps/phase2", "vps/phase3", "vps/phase4"),
    "lean": ("lean/mvp", "lean/growth", "lean/scale", "lean/scale-plus", "lean/phase2"),
    "kubernetes": ("kubernetes/phase1", "kubernetes/phase2", "kubernetes/phase3"),
    "serverless": ("serverless/initial", "serverless/phase1", "serverless/phase2", "serverless/phase3"),
    "global": ("global/phase0", "global/phase1", "global/phase2", "global/phase3", "global/phase4"),
}
STEPS = [step for ladder in LADDERS.values() for step in pairwise(ladder)]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_step_up_loses_no_data(before: str, after: str, in_project: Path) -> None:
    result = diff(plan_stack(before), plan_stack(after))

    lost = [change.urn for change in result.changes if change.holds_data and change.action in (Action.REPLACE, Action.DELETE)]
    assert lost == []
    assert exit_code(result) == 0


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_a_step_up_replaces_nothing_and_deletes_nothing_protected(before: str, after: str, in_project: Path) -> None:
    old, new = plan_stack(before), plan_stack(after)
    result = diff(old, new)

    protected = {resource.urn for resource in old.resources if resource.protect}
    assert [change.urn for change in result.changes if change.action is Action.REPLACE] == []
    assert [change.urn for change in result.changes if change.action is Action.DELETE and change.urn in protected] == []


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_names_and_types_of_what_stays_are_the_same(before: str, after: str, in_project: Path) -> None:
    """As `pulumi state move` needs it: a URN of both phases differs in the stack's name alone."""
    old = {resource.urn.replace(f":{before.split('/')[-1]}::", ":stack::", 1): resource for resource in plan_stack(before).resources}
    new = {resource.urn.replace(f":{after.split('/')[-1]}::", ":stack::", 1): resource for resource in plan_stack(after).resources}

    stays = {urn for urn in old if urn in new}
    assert all(old[urn].type == new[urn].type and old[urn].component == new[urn].component for urn in stays)
    assert not any(before.split("/")[-1] in resource.name for resource in old.values() if resource.type != "pulumi:pulumi:Stack")
    stores = {resource.name for resource in old.values() if resource.type.endswith((":Volume", ":R2Bucket")) and resource.protect}
    assert stores <= {resource.name for resource in new.values()}


def test_a_step_down_that_would_lose_data_is_refused(in_project: Path) -> None:
    result = diff(plan_stack("phase2"), plan_stack("mvp"))

    assert exit_code(result) == 3
    at_risk = {finding.path.rsplit("::", 1)[-1] for finding in result.findings if finding.level is Level.ERROR}
    assert {"database-eu-1-data", "database-eu-2-data", "redis-eu-1-data", "redis-eu-2-data", "monitoring-eu-1-data"} <= at_risk


def test_a_step_down_is_let_through_when_every_resource_is_named(in_project: Path) -> None:
    before, after = plan_stack("phase2"), plan_stack("mvp")
    named = {finding.path for finding in diff(before, after).findings if finding.level is Level.ERROR}

    assert exit_code(diff(before, after, allowed=named)) == 0
    assert exit_code(diff(before, after, allowed=set(list(named)[1:]))) == 3
