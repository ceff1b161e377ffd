"""The committed plans: what every phase builds, so that a change of any is seen and read."""

import json
from pathlib import Path

import pytest

from rungway.plan_json import plan_to_json
from rungway.planning import plan_stack
from rungway.stacks import all_stacks
from rungway.tree import plan_text

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "plans"
STACKS = [stack.name for stack in all_stacks(ROOT)]
DEFAULT_PHASES = ("mvp", "phase2", "phase3", "phase4")


def _compare(path: Path, text: str, update: bool) -> None:
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        f"{path.name}: the plan has changed; read the difference, then run pytest --update-golden"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_plans_as_committed(stack: str, in_project: Path, update_golden: bool) -> None:
    _compare(GOLDEN / f"{stack}.txt", plan_text(plan_stack(stack), terminal=False, width=100), update_golden)


@pytest.mark.parametrize("phase", DEFAULT_PHASES)
def test_a_default_phase_registers_the_committed_inputs(phase: str, in_project: Path, update_golden: bool) -> None:
    _compare(GOLDEN / f"{phase}.json", json.dumps(plan_to_json(plan_stack(phase)), indent=1) + "\n", update_golden)


def test_no_golden_plan_is_left_over() -> None:
    expected = {*(f"{stack}.txt" for stack in STACKS), *(f"{phase}.json" for phase in DEFAULT_PHASES)}

    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.*")} == expected
