"""For every guard: break it in a copy of the code, and its tests must fail. A guard whose tests pass without it is not tested."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("components", "docs", "hosts", "infra", "roadmaps", "rungway", "tests")


@dataclass(frozen=True)
class Guard:
    """What is protected, how the copy is broken (the one occurrence of a text replaced), and the tests that must notice."""

    name: str
    file: str
    text: str
    broken: str
    tests: tuple[str, ...]


GUARDS = (
    Guard(
        "data volumes are protected",
        "components/data_volume.py",
        'opts=pulumi.ResourceOptions(parent=self, protect=True, ignore_changes=["format"])',
        'opts=pulumi.ResourceOptions(parent=self, ignore_changes=["format"])',
        ("tests/components/test_data_volume.py",),
    ),
    Guard(
        "an edit never replaces a server",
        "components/server.py",
        'ignore_changes=["userData", "sshKeys", "image", "location"]',
        'ignore_changes=["sshKeys", "image", "location"]',
        ("tests/components/test_servers.py",),
    ),
    Guard(
        "user data is secret",
        "components/server.py",
        "return None if value is None else pulumi.Output.secret(value)",
        "return None if value is None else pulumi.Output.from_input(value)",
        ("tests/components/test_servers.py",),
    ),
    Guard(
        "a database server is guarded at the provider",
        "components/database_vps.py",
        "holds_data=True",
        "holds_data=False",
        ("tests/components/test_servers.py",),
    ),
    Guard(
        "a database has no public address unless asked",
        "components/database_vps.py",
        "public_ipv4=False",
        "public_ipv4=True",
        ("tests/components/test_servers.py",),
    ),
    Guard(
        "buckets are protected",
        "components/r2_bucket.py",
        "protect=True",
        "protect=False",
        ("tests/components/test_r2_bucket.py",),
    ),
    Guard(
        "secrets that the stack made are protected",
        "components/generated_secrets.py",
        "protect=True",
        "protect=False",
        ("tests/components/test_generated_secrets.py",),
    ),
    Guard(
        "no release rotates a secret",
        "components/generated_secrets.py",
        'ignore_changes=["length", "special"]',
        'ignore_changes=["special"]',
        ("tests/components/test_generated_secrets.py",),
    ),
    Guard(
        "what a server is asked is secret",
        "components/host_convergence.py",
        'stdin=pulumi.Output.secret(args["request"])',
        'stdin=args["request"]',
        ("tests/components/test_host_convergence.py",),
    ),
    Guard(
        "another server under the same addresses converges too",
        "components/host_convergence.py",
        '"RUNGWAY_SERVER_ID": args["server_id"], ',
        "",
        ("tests/components/test_host_convergence.py",),
    ),
    Guard(
        "data at risk stops a diff",
        "rungway/diff.py",
        "ERRORS_EXIT_CODE = 3",
        "ERRORS_EXIT_CODE = 0",
        ("tests/rungway/test_diff.py", "tests/rungway/test_ladder.py"),
    ),
    Guard(
        "a budget that is overdrawn is an error",
        "infra/budgets.py",
        "if budget.used > budget.available",
        "if budget.used > budget.available * 1000",
        ("tests/rungway/test_planning.py",),
    ),
    Guard(
        "inputs are checked",
        "rungway/planning.py",
        "*(finding for resource in resources for finding in check_inputs(resource)),",
        "",
        ("tests/rungway/test_planning.py",),
    ),
    Guard(
        "an engine run needs the user's values",
        "infra/program.py",
        "require_user_values=True",
        "require_user_values=False",
        ("tests/rungway/test_planning.py",),
    ),
    Guard(
        "an engine run refuses what is not built",
        "infra/program.py",
        "    if unbuilt:",
        "    if not unbuilt:",
        ("tests/rungway/test_planning.py",),
    ),
    Guard(
        "stores are never public",
        "hosts/reachability.py",
        "    _refuse_public_stores(rules, private_cidrs)\n    return rules",
        "    return rules",
        ("tests/rungway/test_planning.py",),
    ),
    Guard(
        "duplicate URNs are refused",
        "rungway/recorder.py",
        "        elif urn in self.recorded:",
        "        elif not urn:",
        ("tests/rungway/test_recorder.py",),
    ),
    Guard(
        "secrets never enter a plan",
        "rungway/recorder.py",
        "    if signature == rpc._special_secret_sig:\n        return SECRET",
        "    if signature == rpc._special_secret_sig:\n        return _plain(value.struct_value.fields['value'])",
        ("tests/rungway/test_recorder.py",),
    ),
)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name.replace(" ", "-"))
def test_a_broken_guard_is_noticed(guard: Guard, tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "test_guards.py"))
    for file in (*ROOT.glob("Pulumi*.yaml"), ROOT / "pyproject.toml", ROOT / "README.md"):
        shutil.copy(file, tmp_path)
    path = tmp_path / guard.file
    source = path.read_text(encoding="utf-8")
    assert source.count(guard.text) >= 1, f"{guard.file} no longer says: {guard.text}"
    path.write_text(source.replace(guard.text, guard.broken), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *guard.tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 1, f"nothing noticed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
