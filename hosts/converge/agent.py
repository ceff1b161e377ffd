"""Runs on the server, as root, for one convergence: looks at what differs, and changes it one service at a time.

It reads one JSON request from standard input and answers with a JSON object a line. It is sent along with the request, needs Python's
standard library alone, and leaves nothing behind but `/var/lib/rungway`. Each service is a transaction: new files are checked in a
private view of the file system before they replace anything, and a service that does not come up again gets its old files back. What
a lost connection or a power cut leaves half done is undone first the next time.
"""

import base64
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
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
SCRIPTS = Path("/run")
STAGED = Path("/run/rungway-staged")
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# A convergence installs packages and starts their services itself, when they are configured.\nexit 101\n"
APT_ATTEMPTS = 3
APT_PAUSE_SECONDS = 5
DIFF_LIMIT_BYTES = 200_000
_STARTED = ("active", "reloading", "activating", "failed")
"""What `systemctl is-active` says about a unit that was started and not stopped."""
_ENABLED = ("enabled", "enabled-runtime", "static", "indirect", "alias", "generated")
_UNIT_FILE = re.compile(r"/etc/systemd/system/([^/@]+\.(?:service|timer|socket|path|target|mount))")
"""Not of templates, which don't run themselves."""

Request = dict[str, Any]


class RefusedError(Exception):
    """A step that failed, with what it said. The service's files are as they were, unless the text says otherwise."""

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
        reports.send(event="looked", service=service["name"], changes=_differences(service))
    return 0


def _apply(request: Request, reports: Reports) -> int:
    name = ""
    try:
        _make_parents(STATE)
        _let_services_start()
        # Also those that are no longer asked for.
        for journal in sorted(STATE.glob("previous/*.json")):
            name = journal.stem
            _roll_back(journal)
            reports.send(event="undone", service=name)
        for service in request["services"]:
            name = service["name"]
            began = time.monotonic()
            changes = _differences(service)
            if changes:
                _change(service)
            reports.send(event="converged", service=name, changes=changes, seconds=round(time.monotonic() - began, 3))
            if reports.listener_gone:
                return 1
    except RefusedError as error:
        reports.send(event="failed", service=name, step=error.step, message=str(error))
        return 1
    except OSError as error:
        reports.send(event="failed", service=name, step="changing files", message=str(error))
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
    changes += [{"kind": "unread file", "name": path} for path in _unread_files(service)]
    changes += [{"kind": "masked unit", "name": unit} for unit in service["masked"] if not _is_masked(unit)]
    changes += [{"kind": "task", "name": task["name"]} for task in service["before"] if not _holds(task)]
    changes += [{"kind": "unit", "name": unit} for unit in service["units"] if not _runs(unit)]
    changes += [{"kind": "task", "name": task["name"]} for task in service["after"] if not _holds(task)]
    return changes


def _file_change(file: Request) -> dict[str, Any]:
    """The file and, when it is not secret and not large, what it holds now."""
    change = {"kind": "file", "name": file["path"]}
    path = Path(file["path"])
    if not file["secret"] and path.is_file() and not path.is_symlink() and path.stat().st_size < DIFF_LIMIT_BYTES:
        change["now"] = path.read_bytes().decode(errors="replace")
    return change


def _missing_packages(service: Request) -> list[str]:
    if not service["packages"]:
        return []
    asked = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *service["packages"]],
        capture_output=True,
        encoding="utf-8",
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
        status = os.lstat(wanted["path"])
        return stat.S_ISDIR(status.st_mode) and _ownership(status) == _wanted_ownership(wanted)
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


def _unread_files(service: Request) -> list[str]:
    """Files of other services that have changed since the units were last started or reloaded successfully.

    It is kept on the disk what they were then: the change may be from a run that was cut off before it came to this service.
    """
    try:
        read = json.loads(_record(service).read_text())
    except FileNotFoundError:
        read = {}
    return [path for path, digest in _digests(service).items() if read.get(path, "") != digest]


def _digests(service: Request) -> dict[str, str]:
    """The digests of the files that the units read; empty for one that is not there (yet)."""
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() if Path(path).is_file() else "" for path in service["reads"]}


def _record(service: Request) -> Path:
    return STATE / "read" / f"{service['name']}.json"


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
    unread, digests = _unread_files(service), _digests(service)
    if files or absent:
        _check(service, files, absent)
        _replace(service, files, absent)
    else:
        _start(service, changed=bool(unread))
    if unread:
        _remember(service, digests)
    for task in service["after"]:
        _do(task)


def _remember(service: Request, digests: dict[str, str]) -> None:
    """The units run with these files of other services."""
    record = _record(service)
    _make_parents(record.parent)
    _write(record, json.dumps(digests).encode(), (os.geteuid(), os.getegid(), 0o600)).replace(record)
    _sync(record.parent)


def _install(packages: list[str]) -> None:
    """By apt, which waits for other users of its lock. Services of a package don't start by being installed."""
    if not packages:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "--fix-broken", "-o", "Dpkg::Options::=--force-confold"]
    install += ["-o", "DPkg::Lock::Timeout=300"]
    said = ""
    with _no_service_starts():
        for attempt in range(APT_ATTEMPTS):
            if attempt:
                time.sleep(APT_PAUSE_SECONDS * attempt)
            # After a power cut apt refuses everything until dpkg has finished what it was at.
            _run(["dpkg", "--configure", "--pending", "--force-confold"], environment=environment)
            # The lists may be missing or old: the first attempt takes them as they are, the others fetch them.
            if attempt or not any(Path("/var/lib/apt/lists").glob("*Packages*")):
                _run(["apt-get", "update", "--quiet", "--error-on=any"], environment=environment)
            code, said = _run([*install, *packages], environment=environment)
            if code == 0:
                return
    raise RefusedError("installing packages", f"apt-get install {' '.join(packages)} failed {APT_ATTEMPTS} times:\n{said}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """policy-rc.d answers 101 ("not allowed") to every package that would start its service."""
    if POLICY.exists():
        POLICY.replace(_policy_aside())
    _write(POLICY, POLICY_TEXT.encode(), (os.geteuid(), os.getegid(), 0o755)).replace(POLICY)
    try:
        yield
    finally:
        _let_services_start()


def _let_services_start() -> None:
    """Take our policy away, also one that an interrupted convergence left: with it, updates would not restart what they replace."""
    if _policy_aside().exists():
        _policy_aside().replace(POLICY)
    elif POLICY.exists() and POLICY.read_bytes() == POLICY_TEXT.encode():
        POLICY.unlink()


def _policy_aside() -> Path:
    return POLICY.with_name(f"{POLICY.name}.before-rungway")


def _make_account(account: Request) -> None:
    if _account_is_right(account):
        return
    name, home = account["name"], account["home"]
    try:
        has_home = pwd.getpwnam(name).pw_dir == home
    except KeyError:
        _must(["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", "--home-dir", home, name], "making accounts")
        has_home = True
    # One at a time: usermod refuses to change the home of an account that runs something, but not its groups.
    if not has_home:
        _must(["usermod", "--home", home, name], "making accounts")
    if account["groups"]:
        _must(["usermod", "--append", "--groups", ",".join(account["groups"]), name], "making accounts")


def _make_directory(wanted: Request) -> None:
    if _directory_is_right(wanted):
        return
    path = Path(wanted["path"])
    _make_parents(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    # Not through a link: the directory above may belong to an account that would like to own another one.
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _own(handle, wanted)
    finally:
        os.close(handle)


def _own(path: Path | int, wanted: Request) -> None:
    user, group, mode = _needed_ownership(wanted)
    os.chown(path, user, group)
    os.chmod(path, mode)


def _needed_ownership(wanted: Request) -> tuple[int, int, int]:
    try:
        return _wanted_ownership(wanted)
    except KeyError as error:
        raise RefusedError("setting owners", f"{wanted['path']}: {error.args[0]}") from None


def _check(service: Request, files: list[Request], absent: list[str]) -> None:
    """Run the service's own checks in a view of the file system that only they see, in which all files are as they will be."""
    shutil.rmtree(STAGED, ignore_errors=True)
    STAGED.mkdir(mode=0o700)
    try:
        for file in files:
            path = STAGED / file["path"].lstrip("/")
            _make_staged_parents(path)
            _write(path, file["content"].encode(), _needed_ownership(file)).replace(path)
        for gone in absent:
            path = STAGED / gone.lstrip("/")
            _make_staged_parents(path)
            # How an overlay says that a file of the layer below is not there. Not every container may: there the checks still see it.
            with suppress(PermissionError):
                os.mknod(path, stat.S_IFCHR)
        tops = sorted({Path(path).parts[1] for path in (*(file["path"] for file in files), *absent)})
        mounts = "".join(f"mount -t overlay overlay -o lowerdir={STAGED}/{top}:/{top} /{top}\n" for top in tops)
        for check in service["checks"]:
            code, said = _bash(f"{mounts}cd /\n{check}\n", within=("unshare", "--mount", "--propagation", "private"))
            if code:
                raise RefusedError(f"check `{check}`", f"{said}\nNothing was changed.")
    finally:
        shutil.rmtree(STAGED, ignore_errors=True)


def _make_staged_parents(path: Path) -> None:
    """Parents as they are on the server: the view shows the upper directory's owner and mode."""
    for parent in reversed([parent for parent in path.parents if parent.is_relative_to(STAGED)]):
        if parent.exists():
            continue
        parent.mkdir(mode=0o755, parents=True)
        real = Path("/") / parent.relative_to(STAGED)
        parent.chmod(0o755)
        if real.is_dir() and parent != STAGED:
            status = real.stat()
            os.chown(parent, status.st_uid, status.st_gid)
            parent.chmod(stat.S_IMODE(status.st_mode))


def _replace(service: Request, files: list[Request], absent: list[str]) -> None:
    """Exchange the files and start the service with them; when it does not come up, the old files come back."""
    news: dict[Path, Path] = {}
    paths = [*(file["path"] for file in files), *absent]
    leaving = [found[1] for path in absent if (found := _UNIT_FILE.fullmatch(path))]
    # The new files and all that is needed to undo it are on the disk before the first file is replaced: a full disk changes nothing.
    try:
        for file in files:
            path = Path(file["path"])
            _make_parents(path.parent)
            news[path] = _write(path, file["content"].encode(), _needed_ownership(file))
        journal = _write_journal(service, paths, leaving)
    except BaseException:
        for new in news.values():
            new.unlink(missing_ok=True)
        raise
    try:
        # Before their files go: a timer whose service vanishes fails, and what runs goes on without its unit.
        if leaving:
            _must(["systemctl", "disable", "--now", *leaving], "stopping units that leave")
        for path, new in news.items():
            new.replace(path)
        for gone in absent:
            Path(gone).unlink(missing_ok=True)
        for directory in {Path(path).parent for path in paths}:
            _sync(directory)
        _reload_units(paths)
        _start(service, changed=True)
    except Exception as error:
        raise RefusedError(getattr(error, "step", "changing files"), f"{error}\n{_taken_back(service, journal)}") from None
    _forget(journal)


def _beside(path: Path) -> Path:
    """Where the next content of `path` is written. No program that reads whole directories takes such a name for one of its files."""
    return path.with_name(f".{path.name}.rungway")


def _write(path: Path, content: bytes, ownership: tuple[int, int, int]) -> Path:
    """A new file beside `path`, whole and on the disk.

    Owner and mode are set through its handle: the directory may belong to an account that would like to own another file.
    """
    new = _beside(path)
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchown(handle, *ownership[:2])
            os.fchmod(handle, ownership[2])
            os.fsync(handle)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise RefusedError("writing files", f"{path}: {error.strerror}") from None
    return new


def _sync(directory: Path) -> None:
    """What was renamed or removed in the directory stays so after a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_parents(directory: Path) -> None:
    """Everyone may read them, from the moment they exist."""
    before = os.umask(0o022)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)


def _write_journal(service: Request, paths: list[str], leaving: list[str]) -> Path:
    """What the service is now. The file exists from before the first file is replaced until the service runs with the new ones."""
    state = {
        "files": [_file_now(path) for path in paths],
        "units": [
            {"name": unit, "enabled": _systemctl("is-enabled", unit)[0] == 0, "ran": _systemctl("is-active", unit)[1] in _STARTED}
            for unit in (*service["units"], *leaving)
        ],
        "on_change": service["on_change"],
    }
    journal = STATE / "previous" / f"{service['name']}.json"
    journal.parent.mkdir(parents=True, exist_ok=True)
    _write(journal, json.dumps(state).encode(), (os.geteuid(), os.getegid(), 0o600)).replace(journal)
    _sync(journal.parent)
    return journal


def _file_now(path: str) -> dict[str, Any]:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"path": path}
    if stat.S_ISLNK(status.st_mode):
        return {"path": path, "link": os.readlink(path)}
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError("keeping the old files", f"found {path}, which is neither a file nor a link; move it away")
    return {"path": path, "content": base64.b64encode(Path(path).read_bytes()).decode(), "ownership": _ownership(status)}


def _reload_units(paths: list[str]) -> None:
    if any(path.startswith("/etc/systemd/") for path in paths):
        _must(["systemctl", "daemon-reload"], "reading units")


def _taken_back(service: Request, journal: Path) -> str:
    """Roll back, and say what came of it."""
    try:
        down = _roll_back(journal)
    except (RefusedError, OSError) as error:
        return f"The old files of {service['name']} could not be put back: {error}. Run it again: that comes first."
    if down:
        return f"The files of {service['name']} are as they were before, but with them, too, these units don't start: {', '.join(down)}."
    return f"The files of {service['name']} are as they were before, and so are its units."


def _roll_back(journal: Path) -> list[str]:
    """The service from before a change that did not end well. Returns the units that ran then, but don't start now."""
    before = json.loads(journal.read_text())
    # While their new files are there to say what is to be undone.
    for unit in before["units"]:
        if not unit["enabled"]:
            _systemctl("disable", unit["name"])
        if not unit["ran"]:
            _systemctl("stop", unit["name"])
    for file in before["files"]:
        _put_back(file)
    for directory in {Path(file["path"]).parent for file in before["files"]}:
        if directory.exists():
            _sync(directory)
    _reload_units([file["path"] for file in before["files"]])
    down = []
    for unit in before["units"]:
        _systemctl("reset-failed", unit["name"])
        if unit["enabled"]:
            _systemctl("enable", unit["name"])
        if unit["ran"] and _systemctl(_verb(before["on_change"]), unit["name"])[0]:
            down.append(unit["name"])
    _forget(journal)
    return down


def _put_back(file: dict[str, Any]) -> None:
    path = Path(file["path"])
    new = _beside(path)
    new.unlink(missing_ok=True)
    if "content" in file:
        user, group, mode = file["ownership"]
        _write(path, base64.b64decode(file["content"]), (user, group, mode)).replace(path)
    elif "link" in file:
        new.symlink_to(file["link"])
        new.replace(path)
    else:
        path.unlink(missing_ok=True)


def _forget(journal: Path) -> None:
    journal.unlink()
    _sync(journal.parent)


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
            if _is_masked(unit):
                _must(["systemctl", "unmask", unit], f"unmasking {unit}")
            _must(["systemctl", "enable", unit], f"enabling {unit}")
        if changed or not was_active:
            _systemctl("reset-failed", unit)
            verb = _verb(service["on_change"]) if was_active else "restart"
            code, said = _systemctl(verb, unit)
            if code:
                raise RefusedError(f"systemctl {verb} {unit}", f"{said}\n{_log_of(unit)}".strip())
    if service["probe"]:
        _wait_for(service)


def _verb(on_change: str) -> str:
    return "reload-or-restart" if on_change == "reload" else "restart"


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


def _bash(script: str, timeout_seconds: float = 1800, within: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a script from a file that only root reads: it may hold secrets, and a command line is public."""
    with tempfile.NamedTemporaryFile("w", dir=SCRIPTS, prefix="rungway-", suffix=".sh", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        return _run([*within, "bash", "-eu", file.name], timeout_seconds)


def _run(command: list[str], timeout_seconds: float = 1800, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command; its exit code and the end of what it said. With all that it started it ends when its time is up."""
    # What a command leaves running would keep a pipe open, and us waiting for its end.
    with os.fdopen(os.memfd_create("said"), "w+b") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            umask=0o022,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return 124, f"no end after {timeout_seconds:.0f} s"
        said.seek(0)
        return code, _tail(said.read().decode(errors="replace"))


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
