"""Plans of git revisions: what is checked out and run, and that nothing is left behind.

The repositories here hold a stand-in for Rungway that reports how it was run; that the real one plans itself at a revision is tested
through the command line.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rungway import git_plan
from rungway.errors import RungwayError
from rungway.git_plan import plan_of_git
from rungway.model import Plan
from rungway.stacks import Stack

STAND_IN = """
import json, os, sys
from pathlib import Path

arguments = sys.argv[1:]
stack = arguments[1]
print(json.dumps({
    "format_version": 1, "stack": "x", "pulumi_stack": "phase2", "project": "rungway", "source": "offline", "monthly_cost": None,
    "budget": None, "findings": [], "host_budgets": [], "resources": [],
    "outputs": {"arguments": arguments, "stack": Path(stack).read_text(), "python": sys.executable, "folder": os.getcwd(),
                "program": __file__, "path": sys.path, "git": [key for key in os.environ if key.startswith("GIT_")]},
}))
sys.exit(1)
"""


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one revision, tagged `one`, and a newer state of phase2 in its checkout."""
    for key in [key for key in os.environ if key.startswith("GIT_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    root = tmp_path / "repository"
    (root / "rungway").mkdir(parents=True)
    (root / "roadmaps" / "vps").mkdir(parents=True)
    (root / "rungway" / "__init__.py").touch()
    (root / "rungway" / "__main__.py").write_text(STAND_IN)
    (root / "requirements.lock").write_text("# nothing\n")
    (root / "Pulumi.phase2.yaml").write_text("first\n")
    (root / "roadmaps" / "vps" / "Pulumi.phase3.yaml").write_text("roadmap\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "One.")
    git(root, "tag", "one")
    (root / "Pulumi.phase2.yaml").write_text("second, not committed\n")
    return root


def stack(root: Path, file: str = "Pulumi.phase2.yaml", name: str = "phase2") -> Stack:
    return Stack(name, name.rsplit("/", 1)[-1], root / file)


def outputs(plan: Plan) -> dict[str, Any]:
    return plan.outputs


def left_behind(root: Path) -> list[Path]:
    return list((root.parent / "tmp").iterdir())


def test_the_revisions_own_files_and_program_make_the_plan(repository: Path) -> None:
    status = git(repository, "status", "--porcelain")
    plan = plan_of_git("one", stack(repository), repository)
    seen = outputs(plan)
    assert plan.stack == "phase2 at one"
    assert seen["arguments"] == ["plan", "Pulumi.phase2.yaml", "--json"]
    assert seen["stack"] == "first\n"
    assert seen["program"].startswith(seen["folder"])
    assert not seen["folder"].startswith(str(repository))
    # The locks are the same, so are the packages.
    assert seen["python"] == sys.executable
    assert git(repository, "status", "--porcelain") == status
    assert git(repository, "worktree", "list").count("\n") == 0
    assert left_behind(repository) == []


def test_a_roadmaps_stack_and_a_project_in_a_subfolder(repository: Path) -> None:
    seen = outputs(plan_of_git("main", stack(repository, "roadmaps/vps/Pulumi.phase3.yaml", "vps/phase3"), repository))
    assert seen["stack"] == "roadmap\n"
    (repository / "sub").mkdir()
    for name in ("rungway", "requirements.lock", "Pulumi.phase2.yaml"):
        git(repository, "mv", name, f"sub/{name}")
    git(repository, "commit", "--quiet", "--all", "--message", "Two.")
    seen = outputs(plan_of_git("HEAD", stack(repository / "sub"), repository / "sub"))
    assert seen["folder"].endswith("/sub")


def test_a_hooks_own_git_variables_do_not_lead_elsewhere(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert outputs(plan_of_git("one", stack(repository), repository))["stack"] == "first\n"


def test_the_callers_own_python_paths_do_not_reach_the_revision(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    seen = outputs(plan_of_git("one", stack(repository), repository))
    assert str(tmp_path / "elsewhere") not in seen["path"]
    assert seen["program"].startswith(seen["folder"])


@pytest.mark.parametrize("ref", ["nowhere", "--help", "one:Pulumi.phase2.yaml", "", "-"])
def test_a_revision_that_is_none_is_an_error(repository: Path, ref: str) -> None:
    with pytest.raises(RungwayError) as caught:
        plan_of_git(ref, stack(repository), repository)
    assert str(caught.value) == f"revision '{ref}': found no such commit in {repository}"
    assert left_behind(repository) == []


def test_a_stack_that_the_revision_does_not_have_is_an_error(repository: Path) -> None:
    (repository / "Pulumi.phase9.yaml").write_text("new\n")
    with pytest.raises(RungwayError) as caught:
        plan_of_git("one", stack(repository, "Pulumi.phase9.yaml", "phase9"), repository)
    assert str(caught.value) == "stack 'phase9': found no Pulumi.phase9.yaml at one"
    assert left_behind(repository) == []


def test_a_stack_file_outside_of_the_project_has_no_revisions(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RungwayError, match=r"only a stack file of the project has revisions$"):
        plan_of_git("one", Stack("x", "x", tmp_path / "Pulumi.x.yaml"), repository)


def test_a_folder_that_is_no_repository_is_an_error(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(RungwayError) as caught:
        plan_of_git("one", stack(tmp_path / "plain"), tmp_path / "plain")
    assert str(caught.value).startswith(f"{tmp_path / 'plain'}: found no git repository (fatal: ")


def test_without_git_the_error_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RungwayError, match=r"^git: not found on PATH$"):
        plan_of_git("one", stack(repository), repository)


def _commit_program(repository: Path, program: str) -> None:
    (repository / "rungway" / "__main__.py").write_text(program)
    git(repository, "commit", "--quiet", "--message", "Another program.", "rungway")


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import sys; sys.exit('error: settings are wrong')", "stack 'phase2' at HEAD: can't be planned:\nerror: settings are wrong"),
        ("print('hello')", "stack 'phase2' at HEAD: can't be planned:\nhello"),
        ("", "stack 'phase2' at HEAD: can't be planned:\nit printed nothing and ended with 0"),
        (
            "print('{\"format_version\": 2}')",
            "stack 'phase2' at HEAD: its plan can't be read: format_version: found 2; allowed: 1; a newer Rungway wrote this plan",
        ),
    ],
)
def test_a_revision_that_cannot_be_planned_is_an_error_in_its_own_words(repository: Path, program: str, problem: str) -> None:
    _commit_program(repository, program)
    with pytest.raises(RungwayError) as caught:
        plan_of_git("HEAD", stack(repository), repository)
    assert str(caught.value) == problem
    assert left_behind(repository) == []


def test_a_plan_that_takes_for_ever_is_stopped(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_plan, "_PLAN_TIMEOUT_SECONDS", 0.5)
    _commit_program(repository, "import time; time.sleep(60)")
    with pytest.raises(RungwayError, match=r"^stack 'phase2' at HEAD: took longer than 0.5 seconds and was stopped$"):
        plan_of_git("HEAD", stack(repository), repository)
    assert left_behind(repository) == []


def test_an_interrupt_leaves_nothing_behind(repository: Path) -> None:
    _commit_program(repository, "import sys, time; open(sys.argv[0] + '.started', 'w'); time.sleep(60)")
    code = (
        "import sys; from pathlib import Path; from rungway.git_plan import plan_of_git; from rungway.stacks import Stack; "
        f"root = Path({str(repository)!r}); plan_of_git('HEAD', Stack('phase2', 'phase2', root / 'Pulumi.phase2.yaml'), root)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A shell's background job ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 30
        while not list((repository.parent / "tmp").rglob("*.started")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # As a terminal does it: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert left_behind(repository) == []


# Locks


def test_a_revision_without_a_lock_is_an_error(repository: Path) -> None:
    git(repository, "rm", "--quiet", "requirements.lock")
    git(repository, "commit", "--quiet", "--message", "No lock.")
    with pytest.raises(RungwayError, match=r"^requirements.lock: found none at HEAD; its packages can't be known$"):
        plan_of_git("HEAD", stack(repository), repository)


def test_another_lock_gets_an_environment_of_its_own_that_is_used_again(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "requirements.lock").write_text("# nothing, in other words\n")
    first = outputs(plan_of_git("one", stack(repository), repository))["python"]
    assert first.startswith(str(tmp_path / "cache" / "rungway" / "environments"))
    assert "installing the packages of one" in capsys.readouterr().err
    assert outputs(plan_of_git("one", stack(repository), repository))["python"] == first
    assert capsys.readouterr().err == ""
    assert len(list((tmp_path / "cache" / "rungway" / "environments").iterdir())) == 1


def test_packages_that_cannot_be_installed_leave_no_environment(repository: Path, tmp_path: Path) -> None:
    (repository / "requirements.lock").write_text("no-such-package-at-all-anywhere @ file:///nowhere/at/all.whl\n")
    git(repository, "commit", "--quiet", "--message", "A lock that can't be installed.", "requirements.lock")
    (repository / "requirements.lock").write_text("# nothing\n")
    with pytest.raises(RungwayError, match=r"^requirements.lock at HEAD: its packages can't be installed:\n"):
        plan_of_git("HEAD", stack(repository), repository)
    assert list((tmp_path / "cache" / "rungway" / "environments").iterdir()) == []
    assert left_behind(repository) == []


def test_a_cache_that_cannot_be_written_is_an_error(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (repository / "requirements.lock").write_text("# nothing, in other words\n")
    with pytest.raises(RungwayError, match=r"file/rungway/environments: can't write there: Not a directory$"):
        plan_of_git("one", stack(repository), repository)


def test_the_stand_in_prints_what_the_real_one_prints() -> None:
    """The stand-in's document has every field of a plan's."""
    from rungway.plan_json import plan_to_json

    fields = set(plan_to_json(Plan("x", "phase2", "rungway", ())))
    assert all(json.dumps(field) in STAND_IN for field in fields)
