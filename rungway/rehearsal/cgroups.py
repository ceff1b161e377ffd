"""The control groups of a rehearsal: each server's processes are in one of its own, by which they are ended, never by name."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OURS = "rungway"
"""Where the processes of a container's root cgroup go, version 2."""
KILL_SECONDS = 10


def enter_command(group: str) -> str:
    """Shell commands that put the shell into a cgroup of its own in every hierarchy; the cgroup is made, with every controller."""
    commands = []
    for hierarchy in _hierarchies():
        path = hierarchy / group
        for child in reversed([path, *(parent for parent in path.parents if parent.is_relative_to(hierarchy) and parent != hierarchy)]):
            _pass_controllers_on(child.parent)
            child.mkdir(exist_ok=True)
            _fill_cpuset(child)
        commands.append(f"echo $$ > {path}/cgroup.procs;")
    return " ".join(commands)


def kill_all(group: str) -> None:
    """End every process in a cgroup and those below it, at once."""
    end = time.monotonic() + KILL_SECONDS
    while (left := _processes(group)) and time.monotonic() < end:
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def remove_cgroup(group: str) -> None:
    """Remove an empty cgroup and those below it."""
    for hierarchy in _hierarchies():
        for path in sorted((hierarchy / group).rglob("*"), reverse=True):
            if path.is_dir():
                _remove_directory(path)
        _remove_directory(hierarchy / group)


def _hierarchies() -> list[Path]:
    """The mounted cgroup hierarchies: one with version 2, several with version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if (path / "cgroup.procs").exists()]


def _pass_controllers_on(group: Path) -> None:
    """Version 2: what is below a cgroup has the controllers that it passes on, which it can't while it has processes of its own.

    The kernel spares the machine's root that rule (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"), but not a
    container's, which looks like it. systemd-nspawn does the same below a server's cgroup (`create_subcgroup` in its nspawn-cgroup.c).
    """
    control = group / "cgroup.subtree_control"
    if not control.exists():
        return
    wanted = set((group / "cgroup.controllers").read_text().split()) - set(control.read_text().split())
    own = (group / "cgroup.procs").read_text().split() if wanted and (group / "cgroup.type").exists() else []
    for process in own:
        (group / OURS).mkdir(exist_ok=True)
        with suppress(ProcessLookupError):
            (group / OURS / "cgroup.procs").write_text(process)
    for controller in sorted(wanted):
        # One that this kernel can't pass on (cpu, while there are real-time processes) must not keep the others from it.
        with suppress(OSError):
            control.write_text(f"+{controller}")


def _fill_cpuset(group: Path) -> None:
    """Version 1: a new cpuset is empty, and nothing can join an empty one."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (group / "cgroup.clone_children").exists() and (group / setting).exists() and not (group / setting).read_text().strip():
            (group / setting).write_text((group.parent / setting).read_text())


def _processes(group: str) -> list[int]:
    """Every process in the cgroup and those below it."""
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for file in [*(hierarchy / group).rglob("cgroup.procs")]:
            with suppress(OSError):
                found.update(int(line) for line in file.read_text().split())
    return sorted(found)


def _remove_directory(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()
