"""Plans a stack as it is at a git revision: that revision's files, in a process of its own, with the packages that its lock names."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rungway.errors import RungwayError
from rungway.model import Plan
from rungway.plan_json import PlanFormatError, plan_from_json
from rungway.stacks import Stack

LOCK = "requirements.lock"

_PLAN_TIMEOUT_SECONDS = 120
_INSTALL_TIMEOUT_SECONDS = 900
_GIT_TIMEOUT_SECONDS = 120
_COMPLETE = ".complete"


def plan_of_git(ref: str, stack: Stack, root: Path) -> Plan:
    """The plan of `stack` as the revision `ref` of the repository around `root` has it; its `stack` reads `phase2 at main`.

    The revision's files are written to a temporary folder, which goes whatever happens; the repository itself is not written to. The
    revision's own program makes the plan: with this process's packages when both lock files are the same, byte for byte, else in an
    environment that its lock defines, which is kept for the next time (in the user's cache folder).

    Raises:
        RungwayError: no git or no repository, no such revision, the stack or a lock is not in it, or it can't be planned.
    """
    repository, commit = _commit(ref, root)
    prefix = root.resolve().relative_to(repository)
    try:
        stack_path = stack.path.resolve().relative_to(root.resolve())
    except ValueError:
        raise RungwayError(f"{stack.path}: found outside of {root}; only a stack file of the project has revisions") from None
    with tempfile.TemporaryDirectory(prefix="rungway-git-") as folder:
        tree = Path(folder, "tree")
        _write_tree(repository, commit, tree, Path(folder, "index"))
        project = tree / prefix
        if not (project / stack_path).is_file():
            raise RungwayError(f"stack '{stack.name}': found no {stack_path} at {ref}", hint="name a revision that has the stack")
        python = _python_for(project, root, ref)
        document = _plan(python, project, str(stack_path), f"stack '{stack.name}' at {ref}")
    try:
        plan = plan_from_json(document)
    except PlanFormatError as error:
        raise RungwayError(f"stack '{stack.name}' at {ref}: its plan can't be read: {error}") from error
    return dataclasses.replace(plan, stack=f"{stack.name} at {ref}")


def _commit(ref: str, root: Path) -> tuple[Path, str]:
    """The repository's top folder, and the commit that `ref` means."""
    if shutil.which("git") is None:
        raise RungwayError("git: not found on PATH", hint="install git, or compare two stacks of this checkout")
    top = _git(["rev-parse", "--show-toplevel"], root)
    if top.returncode != 0:
        raise RungwayError(f"{root}: found no git repository ({_last_line(top.stderr)})")
    commit = _git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"], root)
    if commit.returncode != 0:
        raise RungwayError(f"revision '{ref}': found no such commit in {root}", hint="git fetch it first, or name a branch, tag or commit")
    return Path(top.stdout.strip()).resolve(), commit.stdout.strip()


def _write_tree(repository: Path, commit: str, tree: Path, index: Path) -> None:
    """Write the files of `commit` to `tree`, by way of an index of our own: nothing in the repository is touched or left behind."""
    for arguments in (["read-tree", commit], ["checkout-index", "--all", "--force", f"--prefix={tree}{os.sep}"]):
        result = _git(arguments, repository, {"GIT_INDEX_FILE": str(index)})
        if result.returncode != 0:
            raise RungwayError(f"git {arguments[0]} {commit}: {_last_line(result.stderr)}")


def _git(arguments: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # What a git hook sets for its own repository must not point us at another one.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | dict(variables or {})
    return _run(["git", *arguments], folder, environment, _GIT_TIMEOUT_SECONDS, f"git {arguments[0]}")


def _python_for(project: Path, root: Path, ref: str) -> Path:
    """An interpreter that has the packages that the lock in `project` names."""
    try:
        lock = (project / LOCK).read_bytes()
    except OSError as error:
        raise RungwayError(f"{LOCK}: found none at {ref}; its packages can't be known", hint="name a revision that has a lock") from error
    here = root / LOCK
    if here.is_file() and here.read_bytes() == lock:
        return Path(sys.executable)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = _cache_folder() / f"{hashlib.sha256(lock).hexdigest()[:32]}-{version}"
    if not (environment / _COMPLETE).is_file():
        _build_environment(environment, project / LOCK, ref)
    return _python_of(environment)


def _cache_folder() -> Path:
    configured = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(configured) if configured else Path.home() / ".cache"
    except RuntimeError:
        # No HOME and no entry in the user database.
        base = Path(tempfile.gettempdir())
    return base / "rungway" / "environments"


def _build_environment(environment: Path, lock: Path, ref: str) -> None:
    """Install `lock` into a new folder and put it in place complete, so that an interrupted or concurrent build is never used."""
    _say(f"installing the packages of {ref}, whose lock differs from this checkout's (kept in {environment})")
    try:
        environment.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f"{environment.name}.", dir=environment.parent))
    except OSError as error:
        raise RungwayError(
            f"{environment.parent}: can't write there: {error.strerror}", hint="set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    try:
        uv = shutil.which("uv")
        python = _python_of(building)
        if uv:
            commands = [
                [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(building)],
                [uv, "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(lock)],
            ]
        else:
            commands = [
                [sys.executable, "-m", "venv", str(building)],
                [
                    str(python),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--require-hashes",
                    "--requirement",
                    str(lock),
                ],
            ]
        for command in commands:
            result = _run(command, lock.parent, dict(os.environ), _INSTALL_TIMEOUT_SECONDS, f"{LOCK} at {ref}")
            if result.returncode != 0:
                raise RungwayError(f"{LOCK} at {ref}: its packages can't be installed:\n{_tail(result.stderr)}")
        (building / _COMPLETE).touch()
        try:
            building.rename(environment)
        except OSError:
            # Another run was faster, or left an incomplete folder behind.
            if not (environment / _COMPLETE).is_file():
                shutil.rmtree(environment)
                building.rename(environment)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def _plan(python: Path, project: Path, stack: str, subject: str) -> object:
    """What `rungway plan STACK --json` of the tree `project` prints."""
    # The tree's own packages come first, also before an editable installation of this checkout.
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONSAFEPATH", "PYTHONHOME"}}
    environment |= {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    result = _run([str(python), "-m", "rungway", "plan", stack, "--json"], project, environment, _PLAN_TIMEOUT_SECONDS, subject)
    try:
        # The plan's own findings decide the exit code; a plan with errors is a plan all the same.
        return json.loads(result.stdout)
    except ValueError as error:
        detail = _tail(result.stderr) or _tail(result.stdout) or f"it printed nothing and ended with {result.returncode}"
        raise RungwayError(f"{subject}: can't be planned:\n{detail}") from error


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_seconds: int, subject: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RungwayError(f"{subject}: took longer than {timeout_seconds} seconds and was stopped") from error
    except OSError as error:
        raise RungwayError(f"{subject}: can't run {command[0]}: {error.strerror}") from error


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])


def _say(text: str) -> None:
    print(text, file=sys.stderr)
