"""What a rehearsal asks of the machine that it runs on, said before anything is started."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rungway.errors import RungwayError

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    "nft": "nftables",
    "tc": "iproute2",
    "curl": "curl",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Programs that a rehearsal calls, and the Debian packages that have them."""

MEMORY_PER_SERVER_MB = 450
"""What a rehearsed server uses when its services run, in MiB: measured 150 to 420 with small data sets."""
MEMORY_BASE_MB = 900
"""The world outside the servers (object store, certificate authority, name server, clients), and the second application of a rollout:
mvp's rehearsal had 1015 MiB of anonymous and shared memory in all at that moment, as its container's cgroup counted."""

DISK_BASE_GB = 2
"""The cached roots and packages, in GB: measured 1.0, and as much while they are made."""
DISK_PER_SERVER_GB = 1
"""What a server writes, in GB: measured 0.7 to 0.9 at the end, its packages and its sparse volume."""


WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHES = 1024
"""inotify instances that root may have: a server's init system, bus and tunnel take 4 to 8 of the kernel's usual 128, and a program that
gets none ends (wireguard-go) or misses what changes. Room for the largest phase here, and for other rehearsals beside it."""

TUNNEL_DEVICE = Path("/dev/net/tun")
"""What wireguard-go needs."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that this kernel can't do, and what a rehearsal leaves out for it."""

    what: str
    consequence: str


def find_system_programs() -> None:
    """From now on programs are also found where Debian has those for root, which not every root's PATH names."""
    folders = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join([*folders, *(folder for folder in ("/usr/sbin", "/sbin") if folder not in folders)])


def check_machine(servers: int, cache: Path, *, links: bool = False) -> None:
    """Whether `servers` servers can be rehearsed here, with `links` between regions or without, with roots cached under `cache`.

    Raises:
        RungwayError: with everything that is missing, and the command that installs it.
    """
    problems = []
    packages = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    if os.geteuid() != 0:
        problems.append("found a user without root's rights; needed: root, to boot servers in namespaces of their own")
    if packages:
        problems.append(f"not installed: {', '.join(packages)} (Debian or Ubuntu: apt-get install {' '.join(packages)})")
    if links and not kernel_has_wireguard() and not TUNNEL_DEVICE.exists():
        problems.append(f"found a kernel without WireGuard and no {TUNNEL_DEVICE}; needed: one of them, for links between regions")
    needed_mb = MEMORY_BASE_MB + servers * MEMORY_PER_SERVER_MB
    free_mb = _available_memory_mb()
    if free_mb < needed_mb:
        problems.append(f"found {free_mb} MiB of free memory; needed: {needed_mb} MiB for {servers} servers")
    needed_gb = DISK_BASE_GB + servers * DISK_PER_SERVER_GB
    free_gb = _free_disk_gb(cache)
    if free_gb < needed_gb:
        problems.append(f"found {free_gb} GB free at {cache}; needed: {needed_gb} GB")
    if problems:
        raise RungwayError(
            "rehearsal: " + "; ".join(problems), hint="docs/rehearsal.md says what is needed, here and in a Docker container"
        )


def allow_watches() -> None:
    """Raise this machine's limit of inotify instances where it is lower than `WATCHES`. It stays, because other programs may need it then.

    Raises:
        RungwayError: it can't be raised here.
    """
    found = int(WATCH_LIMIT.read_text())
    if found >= WATCHES:
        return
    try:
        WATCH_LIMIT.write_text(f"{WATCHES}\n")
    except OSError as error:
        raise RungwayError(
            f"rehearsal: found fs.inotify.max_user_instances = {found}; needed: {WATCHES}; it can't be raised here: {error.strerror}",
            hint=f"sysctl fs.inotify.max_user_instances={WATCHES} on the machine itself",
        ) from None


def kernel_lacks() -> list[Lack]:
    """What is tried before the rehearsal, because some kernels can't: the checks that need it are skipped with this reason."""
    lacks = []
    if not _in_namespace("ip link add lack0 type dummy && tc qdisc add dev lack0 root netem delay 1ms"):
        lacks.append(Lack("netem", "links are slowed down by bandwidth (tbf) alone, not by delay"))
    if not kernel_has_wireguard():
        lacks.append(Lack("WireGuard in the kernel", "wireguard-go speaks the same protocol for the links between regions, slower"))
    return lacks


def kernel_has_wireguard() -> bool:
    """Whether links between regions are the kernel's; else a rehearsal runs wireguard-go, which no server of a real stack has."""
    return _in_namespace("ip link add wg0 type wireguard")


def _in_namespace(script: str) -> bool:
    """Whether a shell command works in a network namespace of its own, which is gone afterwards."""
    return subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, check=False).returncode == 0


def _available_memory_mb() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def _free_disk_gb(path: Path) -> int:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free // 1_000_000_000
