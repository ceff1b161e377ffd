"""A Debian 13 root that has the servers' packages, in which tests write a server's files and run its programs.

Each use is a process in namespaces of its own, on a layer in memory: what it mounts, starts and writes ends with it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from hosts.configuration import Account, Directory, HostFile
from rungway.errors import RungwayError
from rungway.rehearsal.roots import Roots

CACHE = Path("/var/cache/rungway")
"""Rehearsals keep their roots here, too."""
SECONDS = 300
"""The longest that one use may take."""
_TOOLS = ("mmdebstrap", "unshare", "mount", "chroot")
_PROGRAM = Path(__file__).parent / "in_debian_root.py"
_AGENT = Path(__file__).resolve().parents[2] / "hosts/converge/agent.py"

_MOUNT = """
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$layers,upperdir=$work/upper,workdir=$work/work" "$work/root"
mount --bind /dev "$work/root/dev"
mount -t tmpfs tmpfs "$work/root/dev/shm"
mount -t tmpfs tmpfs "$work/root/tmp"
mount -t tmpfs tmpfs "$work/root/run"
mount -t proc proc "$work/root/proc"
mount -t sysfs sysfs "$work/root/sys"
"""
_ENTER = """
ip link set lo up
for address in $addresses; do ip address add "$address/32" dev lo; done
mkdir "$work/root/program" "$work/root/run/sshd" "$work/root/run/lock"
cp "$agent" "$program" "$work/root/program"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root chroot "$work/root" python3 -B "/program/${program##*/}"
"""
_SERVE = """
mount --bind "$folder" "$work/root/srv"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root chroot "$work/root" bash -euc "$script"
"""
_NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private")


@dataclass(frozen=True, slots=True)
class Command:
    """A shell script that root runs, with the name by which its result is known."""

    name: str
    script: str


@dataclass(frozen=True, slots=True)
class Step:
    """What is made and written, in this order, and the commands that run then."""

    accounts: tuple[Account, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[HostFile, ...] = ()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, with its exit code."""

    name: str
    code: int
    said: str


class DebianRoot:
    """The root: read-only `layers`, the topmost first. `directory` is where its uses are mounted, each in its own namespace."""

    def __init__(self, layers: Sequence[Path], directory: Path) -> None:
        self._layers = layers
        self.directory = directory

    def try_script(self, files: Iterable[HostFile], script: str) -> Answer:
        """What a shell script says, with these files in place."""
        (answer,) = self.run([Step(files=tuple(files), commands=(Command("try", script),))])
        return answer

    def run(self, steps: Iterable[Step], *, addresses: Iterable[str] = ()) -> list[Answer]:
        """Take the steps on a server that has these private addresses; the answers of all commands."""
        environment = {**self._environment(), "addresses": " ".join(addresses), "agent": str(_AGENT), "program": str(_PROGRAM)}
        done = subprocess.run(
            ["unshare", "--net", *_NAMESPACES, "bash", "-euc", f"{_MOUNT}{_ENTER}"],
            env=environment,
            input=json.dumps([asdict(step) for step in steps]),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return [Answer(**answer) for answer in json.loads(done.stdout)]

    @contextmanager
    def serving(self, folder: Path, script: str) -> Iterator[subprocess.Popen[bytes]]:
        """A shell script that serves on this machine's loopback, with `folder` as its /srv, for as long as it is needed."""
        environment = {**self._environment(), "folder": str(folder), "script": script}
        command = ["unshare", *_NAMESPACES, "bash", "-euc", f"{_MOUNT}{_SERVE}"]
        with (folder / "said").open("wb") as said, subprocess.Popen(command, env=environment, stdout=said, stderr=said) as process:
            try:
                yield process
            finally:
                process.kill()

    def _environment(self) -> dict[str, str]:
        self.directory.mkdir(exist_ok=True)
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return {"PATH": path, "work": str(self.directory), "layers": ":".join(map(str, self._layers))}


def make_debian_root(packages: Iterable[str], directory: Path) -> DebianRoot:
    """A root with these packages, made once and kept. Skips the test where none can be made; where CI is true that is a failure."""
    problem = _cannot()
    try:
        if not problem:
            roots = Roots(CACHE, lambda _: None)
            return DebianRoot([roots.with_packages("validators", packages), roots.base()], directory)
    except RungwayError as error:
        problem = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)


def _cannot() -> str:
    """Why no root can be made here; empty when one can."""
    missing = [tool for tool in _TOOLS if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")]
    if os.geteuid() != 0:
        return "needs root, to enter a Debian root in namespaces of its own"
    return f"needs {', '.join(missing)}" if missing else ""
