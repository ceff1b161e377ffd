"""The real engine is the judge: for every phase, the offline plan says what the engine's preview says."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from rungway.engine import preview
from rungway.errors import RungwayError
from rungway.model import Level, Plan, Resource
from rungway.planning import plan_stack
from rungway.stacks import all_stacks, find_stack

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("pulumi") is None and not os.environ.get("RUNGWAY_REQUIRE_ENGINE"),
    reason="no Pulumi CLI on PATH; set RUNGWAY_REQUIRE_ENGINE=1 to make this a failure",
)


def _comparable(plan: Plan) -> dict[str, Resource]:
    """By URN, without what a preview does not report (aliases, delete-before-replace, inputs of components) and what it does not cost."""
    return {
        resource.urn: dataclasses.replace(
            resource, monthly_cost=None, delete_before_replace=False, aliases=(), inputs={} if resource.component else resource.inputs
        )
        for resource in plan.resources
    }


@pytest.mark.parametrize("stack", [stack.name for stack in all_stacks(ROOT)])
def test_the_offline_plan_says_what_the_engine_says(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = plan_stack(stack)
    if any(finding.level is Level.NOT_BUILT for finding in plan.findings):
        with pytest.raises(RungwayError, match="This phase asks for parts that Rungway can't build yet"):
            plan_stack(stack, engine=True)
        return

    offline, engine = _comparable(plan), _comparable(plan_stack(stack, engine=True))

    assert sorted(offline) == sorted(engine)
    for urn, resource in offline.items():
        assert resource == engine[urn]


def test_the_engine_refuses_a_stack_that_lacks_what_only_its_user_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    with pytest.raises(RungwayError) as refused:
        preview(find_stack("mvp", ROOT), ROOT, [])

    for key in ("domain", "cloudflare_account_id", "cloudflare_zone_id", "ssh_public_keys", "admin_cidrs"):
        assert f"rungway:{key}: found nothing" in str(refused.value)
    assert str(refused.value).count("pulumi config set") == 5
    assert "Traceback" not in str(refused.value)
