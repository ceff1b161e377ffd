"""How long `rungway plan` takes beside the least that any Pulumi program with the same resources takes under the same recorder.

For each phase two whole processes run in turn, several times: `rungway plan PHASE --json`, and a flat program that constructs the same
resources with the same inputs straight from the providers' SDKs, without settings, components, checks, prices or findings. The medians and
their ratio are printed. Run it with `make bench`.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rungway.model import Plan, Resource
from rungway.planning import plan_stack

PHASES = ("mvp", "phase2", "phase3", "phase4")
RUNS = 5

_FLAT = '''"""A flat program with the resources of one phase."""

import pulumi

from rungway.provider_packages import bare_provider_packages
from rungway.recorder import record


def program() -> None:
{body}

with bare_provider_packages():
    print(len(record(program, project="flat", stack="bench", config={{}}).resources))
'''


def flat_program(plan: Plan) -> str:
    """The source of a program that registers the plan's resources, one constructor call each."""
    lines = []
    modules = {}
    for resource in plan.resources:
        if resource.component:
            continue
        module, class_name = _module(resource), resource.type.rsplit(":", 1)[-1]
        alias = f"{module.replace('.', '_')}_{class_name}"
        modules[alias] = f"    from {module} import {class_name} as {alias}"
        arguments = "".join(f", {_snake(key)}={value!r}" for key, value in resource.inputs.items())
        lines.append(f"    {alias}({resource.name!r}{arguments}, opts=pulumi.ResourceOptions(protect={resource.protect}))")
    return _FLAT.format(body="\n".join([*sorted(modules.values()), *lines]))


def _module(resource: Resource) -> str:
    package, path, _ = resource.type.split(":")
    return f"pulumi_{package}.{_snake(path.split('/')[1])}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print a line a phase: resources, median of each side, ratio."""
    print(f"{'phase':<8}{'resources':>10}{'rungway plan':>15}{'flat program':>15}{'ratio':>8}")
    for phase in PHASES:
        plan = plan_stack(phase)
        with tempfile.TemporaryDirectory() as folder:
            flat = Path(folder) / "flat.py"
            flat.write_text(flat_program(plan), encoding="utf-8")
            times: dict[str, list[float]] = {"rungway": [], "flat": []}
            sides: dict[str, list[Any]] = {
                "rungway": [sys.executable, "-m", "rungway", "plan", phase, "--json"],
                "flat": [sys.executable, str(flat)],
            }
            for run in range(RUNS + 1):
                for side, command in sides.items():
                    seconds = _seconds(command)
                    if run:  # the first pair warms the disk up
                        times[side].append(seconds)
        ours, theirs = (statistics.median(times[side]) for side in ("rungway", "flat"))
        print(f"{phase:<8}{len(plan.resources):>10}{ours:>13.2f} s{theirs:>13.2f} s{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
