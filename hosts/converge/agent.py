"""Runs on the server, as root, for one convergence: looks at what differs, and changes it one service at a time.

It reads one JSON request from standard input and answers with a JSON object a line. It is sent along with the request, needs Python's
standard library alone, and leaves nothing behind but `/var/lib/rungway`. Each service is a transaction: new files are checked in a
private view of the file system before they replace anything, and a service that does not come up again gets its old files back. What
a lost connection or a power cut leaves half done is undone first the next time.
"""

import fcntl
import grp
import hashlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/rungway")
LOCK = Path("/run/rungway-converge.lock")
POLICY = Path("/usr/sbin/policy-rc.d")
APT_ATTEMPTS = 3
APT_PAUSE_SECONDS = 5
DIFF_LIMIT_BYTES = 200_000
_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "alias", "generated")

Request = dict[str, Any]


class RefusedError(Exception):
    """A step that failed, with what it said. Nothing of the service has changed, or everything is as it was."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


class Reports:
    """Answers to the caller, a line each. When nobody listens any more, the work ends after the service that is under way."""

    def __init__(self) -> None:
        self.listener_gone = False

    def send(self, **fields: object) -> None:
        try:
            sys.stdout.write(json.dumps(fields) + "\n")
            sys.stdout.flush()
        except OSError:
            self.listener_gone = True


def main() -> int:
    """Read the request, do it, answer. The exit code is 0 when the server is as asked, or was only looked at."""
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    request = json.loads(sys.stdin.read())
    reports = Reports()
    with open(LOCK, "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            reports.send(event="busy", message=lock.read())
            return 1
        lock.truncate(0)
        lock.write(f"{request['who']}, since {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")
        lock.flush()
        os.umask(0o077)
        return _look(request, reports) if request["mode"] == "look" else _apply(request, reports)


def _look(request: Request, reports: Reports) -> int:
    for service in request["services"]:
        reports.send(event="looked", service=service["name"], changes=_differences(service), unfinished=_journal(service).exists())
    return 0


def _apply(request: Request, reports: Reports) -> int:
    for service in request["services"]:
        began = time.monotonic()
        try:
            if _journal(service).exists():
                _roll_back(service)
                reports.send(event="undone", service=service["name"])
            changes = _differences(service)
            if changes:
                _change(service)
        except RefusedError as error:
            reports.send(event="failed", service=service["name"], step=error.step, message=str(error))
            return 1
        except OSError as error:
            reports.send(event="failed", service=service["name"], step="writing files", message=f"{error.strerror}: {error.filename}")
            return 1
        reports.send(event="converged", service=service["name"], changes=changes, seconds=round(time.monotonic() - began, 3))
        if reports.listener_gone:
            return 1
    return 0


# What differs


def _differences(service: Request) -> list[dict[str, Any]]:
    """Everything about the service that is not as asked, in the order in which it would be changed."""
    changes: list[dict[str, Any]] = [{"kind": "package", "name": name} for name in _missing_packages(service)]
    changes += [{"kind": "account", "name": account["name"]} for account in service["accounts"] if not _account_is_right(account)]
    changes += [{"kind": "directory", "name": wanted["path"]} for wanted in service["directories"] if not _directory_is_right(wanted)]
    changes += [_file_change(file) for file in _changed_files(service)]
    changes += [{"kind": "removed file", "name": path} for path in service["absent"] if os.path.lexists(path)]
    changes += [{"kind": "masked unit", "name": unit} for unit in service["masked"] if not _is_masked(unit)]
    changes += [{"kind": "task", "name": task["name"]} for task in service["before"] if not _holds(task)]
    changes += [{"kind": "unit", "name": unit} for unit in service["units"] if not _runs(unit)]
    changes += [{"kind": "task", "name": task["name"]} for task in service["after"] if not _holds(task)]
    return changes


def _file_change(file: Request) -> dict[str, Any]:
    """The file and, when it is not secret and not large, what it holds now."""
    change = {"kind": "file", "name": file["path"]}
    path = Path(file["path"])
    if not file["secret"] and path.is_file() and path.stat().st_size < DIFF_LIMIT_BYTES:
        change["now"] = path.read_text(errors="replace")
    return change


def _missing_packages(service: Request) -> list[str]:
    if not service["packages"]:
        return []
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *service["packages"]], capture_output=True, text=True
    )
    installed = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in service["packages"] if name not in installed]


def _account_is_right(account: Request) -> bool:
    try:
        entry = pwd.getpwnam(account["name"])
        groups = {group.gr_name for group in grp.getgrall() if account["name"] in group.gr_mem}
    except KeyError:
        return False
    return entry.pw_dir == account["home"] and groups >= set(account["groups"])


def _directory_is_right(wanted: Request) -> bool:
    try:
        return _ownership(os.stat(wanted["path"])) == _wanted_ownership(wanted) and os.path.isdir(wanted["path"])
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return False


def _changed_files(service: Request) -> list[Request]:
    return [file for file in service["files"] if not _file_is_right(file)]


def _file_is_right(file: Request) -> bool:
    try:
        status = os.lstat(file["path"])
        if not stat.S_ISREG(status.st_mode) or _ownership(status) != _wanted_ownership(file):
            return False
        return hashlib.sha256(Path(file["path"]).read_bytes()).digest() == hashlib.sha256(file["content"].encode()).digest()
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return False


def _ownership(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def _wanted_ownership(wanted: Request) -> tuple[int, int, int]:
    """Raises KeyError where the account is not there (yet)."""
    return pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid, wanted["mode"]


def _is_masked(unit: str) -> bool:
    return _systemctl("is-enabled", unit)[1] == "masked"


def _runs(unit: str) -> bool:
    """Enabled (or not to be enabled), and active; a oneshot that remains is active, and so is a waiting timer.

    A unit whose conditions don't hold on this machine is as it should be, too: chrony in a container, which has no clock of its own.
    """
    if _systemctl("is-enabled", unit)[1] not in _ENABLED:
        return False
    if _systemctl("is-active", unit)[0] == 0:
        return True
    shown = _run(["systemctl", "show", "--property=ConditionResult,ConditionTimestampMonotonic", unit])[1].splitlines()
    return "ConditionResult=no" in shown and "ConditionTimestampMonotonic=0" not in shown


def _holds(task: Request) -> bool:
    return _bash(task["unless"])[0] == 0


# Changing it


def _change(service: Request) -> None:
    _install(_missing_packages(service))
    for account in service["accounts"]:
        _make_account(account)
    for wanted in service["directories"]:
        _make_directory(wanted)
    files = _changed_files(service)
    absent = [path for path in service["absent"] if os.path.lexists(path)]
    if files or absent:
        _check(service, files)
        _replace(service, files, absent)
    try:
        _start(service, changed=bool(files or absent))
    except RefusedError as error:
        if files or absent:
            _roll_back(service)
            raise RefusedError(
                error.step, f"{error}\nThe files of {service['name']} are as they were before, and its units were restarted."
            ) from None
        raise
    _forget(service)
    for task in service["after"]:
        _do(task)


def _install(packages: list[str]) -> None:
    """By apt, which waits for other users of its lock. Services of a package don't start by being installed."""
    if not packages:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    said = ""
    with _no_service_starts():
        for attempt in range(APT_ATTEMPTS):
            if attempt:
                time.sleep(APT_PAUSE_SECONDS * attempt)
            # The lists may be missing or old: the first attempt takes them as they are, the others fetch them.
            if attempt or not any(Path("/var/lib/apt/lists").glob("*Packages*")):
                subprocess.run(["apt-get", "update", "--quiet", "--error-on=any"], env=environment, capture_output=True, check=False)
            done = subprocess.run(
                [*install, "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2", *packages],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode == 0:
                return
            said = _tail(done.stdout)
    raise RefusedError("installing packages", f"apt-get install {' '.join(packages)} failed {APT_ATTEMPTS} times:\n{said}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """policy-rc.d answers 101 ("not allowed") to every package that would start its service."""
    before = POLICY.read_bytes() if POLICY.exists() else None
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            POLICY.unlink()
        else:
            POLICY.write_bytes(before)


def _make_account(account: Request) -> None:
    if _account_is_right(account):
        return
    try:
        pwd.getpwnam(account["name"])
    except KeyError:
        _must(
            ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "--home-dir", account["home"], account["name"]],
            "making accounts",
        )
    command = ["usermod", "--home", account["home"]]
    if account["groups"]:
        command += ["--append", "--groups", ",".join(account["groups"])]
    _must([*command, account["name"]], "making accounts")


def _make_directory(wanted: Request) -> None:
    if _directory_is_right(wanted):
        return
    path = Path(wanted["path"])
    _make_parents(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    _own(path, wanted)


def _own(path: Path, wanted: Request) -> None:
    try:
        user, group, mode = _wanted_ownership(wanted)
    except KeyError as error:
        raise RefusedError("setting owners", f"{path}: {error.args[0]}") from None
    os.chown(path, user, group)
    path.chmod(mode)


def _check(service: Request, files: list[Request]) -> None:
    """Write the new files beside the old ones and run the service's own checks with them in place, in a view that only these see."""
    staged = STATE / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for file in files:
            path = staged / file["path"].lstrip("/")
            _make_staged_parents(staged, path)
            path.write_text(file["content"])
            _own(path, file)
        tops = sorted({Path(file["path"]).parts[1] for file in files})
        mounts = "".join(f"mount -t overlay overlay -o lowerdir={staged}/{top}:/{top} /{top}\n" for top in tops)
        for check in service["checks"] if files else []:
            script = f"set -eu\n{mounts}cd /\n{check}\n"
            code, said = _run(["unshare", "--mount", "--propagation", "private", "bash", "-c", script])
            if code:
                raise RefusedError(f"check `{check}`", f"{said}\nNothing was changed.")
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _make_staged_parents(staged: Path, path: Path) -> None:
    """Parents as they are on the server: the view shows the upper directory's owner and mode."""
    for parent in reversed([parent for parent in path.parents if parent.is_relative_to(staged)]):
        if parent.exists():
            continue
        parent.mkdir(mode=0o755, parents=True)
        real = Path("/") / parent.relative_to(staged)
        parent.chmod(0o755)
        if real.is_dir() and parent != staged:
            status = real.stat()
            os.chown(parent, status.st_uid, status.st_gid)
            parent.chmod(stat.S_IMODE(status.st_mode))


def _journal(service: Request) -> Path:
    """Exists from before the first file is replaced until the service runs with the new ones."""
    return STATE / "previous" / str(service["name"]) / "journal.json"


def _replace(service: Request, files: list[Request], absent: list[str]) -> None:
    """Keep the old files, then put the new ones in their place; each appears at once and whole."""
    kept = _journal(service).parent
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    entries = []
    for number, path in enumerate([*(file["path"] for file in files), *absent]):
        old = Path(path)
        entries.append({"path": path, "kept": str(number) if os.path.lexists(old) else None})
        if os.path.lexists(old):
            shutil.copy2(old, kept / str(number), follow_symlinks=False)
            status = old.lstat()
            os.chown(kept / str(number), status.st_uid, status.st_gid, follow_symlinks=False)
    written = []
    # The new files are complete on the disk before the journal says that the replacement began: a full disk changes nothing.
    try:
        for file in files:
            path = Path(file["path"])
            _make_parents(path.parent)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            written.append((Path(name), path))
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(file["content"])
                stream.flush()
                os.fsync(stream.fileno())
            _own(Path(name), file)
        _write_journal(service, entries)
    except BaseException:
        for name_path, _ in written:
            name_path.unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        raise
    for new, path in written:
        new.replace(path)
    for gone in absent:
        Path(gone).unlink()
    _reload_units([*(file["path"] for file in files), *absent])


def _make_parents(directory: Path) -> None:
    if not directory.exists():
        _make_parents(directory.parent)
        directory.mkdir()
        directory.chmod(0o755)


def _write_journal(service: Request, entries: list[dict[str, Any]]) -> None:
    journal = _journal(service)
    new = journal.with_suffix(".new")
    new.write_text(json.dumps(entries))
    new.replace(journal)


def _reload_units(paths: list[str]) -> None:
    if any(path.startswith("/etc/systemd/") for path in paths):
        _must(["systemctl", "daemon-reload"], "reading units")


def _roll_back(service: Request) -> None:
    """The files from before the replacement that did not end well, and the units with them."""
    kept = _journal(service).parent
    entries = json.loads(_journal(service).read_text())
    created = {Path(entry["path"]).name for entry in entries if entry["kept"] is None}
    new_units = [unit for unit in service["units"] if unit in created]
    for unit in new_units:
        _systemctl("disable", unit)
        _systemctl("stop", unit)
    for entry in entries:
        path = Path(entry["path"])
        if entry["kept"] is None:
            path.unlink(missing_ok=True)
            continue
        old = kept / entry["kept"]
        new = path.with_name(f".{path.name}.rolled-back")
        status = old.lstat()
        shutil.copy2(old, new, follow_symlinks=False)
        os.chown(new, status.st_uid, status.st_gid, follow_symlinks=False)
        new.replace(path)
    _reload_units([entry["path"] for entry in entries])
    for unit in service["units"]:
        _systemctl("reset-failed", unit)
        if unit not in new_units and _systemctl("is-enabled", unit)[0] == 0:
            _systemctl("restart", unit)
    _forget(service)


def _forget(service: Request) -> None:
    shutil.rmtree(_journal(service).parent, ignore_errors=True)


def _start(service: Request, *, changed: bool) -> None:
    for unit in service["masked"]:
        if not _is_masked(unit):
            _systemctl("stop", unit)
            _must(["systemctl", "mask", unit], f"masking {unit}")
    for task in service["before"]:
        _do(task)
    for unit in service["units"]:
        was_active = _systemctl("is-active", unit)[0] == 0
        if not _runs(unit):
            _must(["systemctl", "enable", unit], f"enabling {unit}")
        if changed or not was_active:
            _systemctl("reset-failed", unit)
            verb = "reload-or-restart" if service["on_change"] == "reload" and was_active else "restart"
            code, said = _systemctl(verb, unit)
            if code:
                raise RefusedError(f"systemctl {verb} {unit}", f"{said}\n{_log_of(unit)}".strip())
    if service["probe"]:
        _wait_for(service)


def _wait_for(service: Request) -> None:
    end = time.monotonic() + service["probe_seconds"]
    while True:
        code, said = _bash(service["probe"], timeout_seconds=max(1.0, end - time.monotonic()))
        if code == 0:
            return
        if time.monotonic() > end:
            logs = "\n".join(_log_of(unit) for unit in service["units"])
            raise RefusedError("probe", f"`{service['probe']}` did not succeed within {service['probe_seconds']} s: {said}\n{logs}".strip())
        time.sleep(0.2)


def _do(task: Request) -> None:
    if _holds(task):
        return
    code, said = _bash(task["script"])
    if code:
        raise RefusedError(f"task “{task['name']}”", said)
    if not _holds(task):
        raise RefusedError(
            f"task “{task['name']}”", f"it ended without an error, but what it is for does not hold afterwards\n{said}".strip()
        )


def _bash(script: str, timeout_seconds: float = 1800) -> tuple[int, str]:
    """Run a script from a file that only root reads: it may hold secrets, and a command line is public."""
    with tempfile.NamedTemporaryFile("w", dir="/run", prefix="rungway-", suffix=".sh") as file:
        file.write(script)
        file.flush()
        return _run(["bash", "-eu", file.name], timeout_seconds)


def _run(command: list[str], timeout_seconds: float = 1800) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            cwd="/",
            preexec_fn=_usual_umask,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no end after {timeout_seconds:.0f} s"
    return done.returncode, _tail(done.stdout)


def _usual_umask() -> None:
    os.umask(0o022)


def _must(command: list[str], step: str) -> None:
    code, said = _run(command)
    if code:
        raise RefusedError(step, said)


def _systemctl(verb: str, unit: str) -> tuple[int, str]:
    return _run(["systemctl", verb, unit])


def _log_of(unit: str) -> str:
    return _run(["journalctl", "--unit", unit, "--lines", "12", "--no-pager", "--output", "cat"])[1]


def _tail(text: str, lines: int = 25) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


if __name__ == "__main__":
    raise SystemExit(main())
