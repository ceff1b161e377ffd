"""A rehearsal in one privileged Docker container, for machines without root or Debian: the same command, on a Debian of its own."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rungway.errors import RungwayError
from rungway.rehearsal.machine import DISK_BASE_GB, DISK_PER_SERVER_GB, MEMORY_BASE_MB, MEMORY_PER_SERVER_MB, TOOLS
from rungway.rehearsal.rehearse import CACHE, WORK, chosen_servers, ended_by_signals, rehearsal_name
from rungway.stacks import Stack, find_stack, project_root

CODE = Path(__file__).resolve().parents[2]
"""Where Rungway itself is; its lock says what the image holds."""
LOCK = CODE / "requirements.lock"
REPOSITORY = "rungway-rehearsal"
"""Name of the image; its tag is a digest of what it is built from."""
CACHE_VOLUME = "rungway-cache"
PYTHON = "/opt/rungway/bin/python"
IMAGE_GB = 1
"""What the image takes, in GB, rounded up."""
DOCKER_SECONDS = 30
"""How long the engine may take to say who it is."""
LOOP_DEVICES = 256
"""Loop devices that a container can open. Its /dev has those alone that were there when it started, and each volume is one more."""
NETWORK_VARIABLE = "RUNGWAY_DOCKER_NETWORK"
"""Environment variable with the network of image and container, for engines whose default one reaches nothing."""

Say = Callable[[str], None]

_PACKAGES = ("ca-certificates", "python3-venv", *sorted(set(TOOLS.values())))
DOCKERFILE = f"""\
FROM debian:13
RUN apt-get update && \\
    apt-get install --yes --no-install-recommends {" ".join(_PACKAGES)} && \\
    rm -rf /var/lib/apt/lists/*
COPY requirements.lock /
RUN python3 -m venv {Path(PYTHON).parents[1]} && {PYTHON} -m pip install --no-cache-dir --require-hashes --requirement /requirements.lock
"""
"""What the container is made from. The project is mounted, so that a change of it needs no other image."""

_START = (
    f"for number in $(seq 0 {LOOP_DEVICES - 1}); do [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number; done; "
    "exec sleep infinity"
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A rehearsal as a container runs it: `options` are those of `rungway rehearse`, `folders` what it reads of this machine."""

    stack: Stack
    root: Path
    servers: int
    options: tuple[str, ...] = ()

    @property
    def container(self) -> str:
        """Name of its container, which a later `--down` knows."""
        return f"rungway-{rehearsal_name(self.stack)}"

    @property
    def folders(self) -> list[Path]:
        """What it reads of this machine: Rungway, the project, and the stack file where it lies elsewhere."""
        folders = [CODE]
        for folder in (self.root, self.stack.path.parent):
            if not any(folder.is_relative_to(known) for known in folders):
                folders.append(folder)
        return folders


def lacks_here() -> list[str]:
    """Why servers can't be booted on this machine itself; nothing when they can, or can after the packages are installed."""
    if sys.platform != "linux":
        return [f"found {sys.platform}; needed: Debian or Ubuntu"]
    lacks = []
    if os.geteuid() != 0:
        lacks.append("found a user without root's rights")
    missing = sorted(
        {package for tool, package in TOOLS.items() if not shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")}
    )
    if missing and not shutil.which("apt-get"):
        lacks.append(f"found no Debian or Ubuntu, and not: {', '.join(missing)}")
    return lacks


def lack_of_engine() -> str:
    """Why no container can be started, or nothing when one can."""
    if not shutil.which("docker"):
        return "found no `docker` on PATH"
    try:
        asked = subprocess.run(
            ["docker", "info", "--format", "{{.OSType}} {{.SecurityOptions}}"], capture_output=True, text=True, timeout=DOCKER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"`docker info` gave no answer within {DOCKER_SECONDS} s"
    system, _, security = asked.stdout.partition(" ")
    # Without an engine, clients up to 28.0.1 say so on standard error and exit with 0 (docker/cli, issue 5900).
    if asked.returncode or not system:
        return f"`docker info` failed: {' '.join(asked.stderr.split()) or 'without a word'}"
    if system != "linux":
        return f"found an engine for {system} containers; needed: Linux"
    if "rootless" in security:
        return "found a rootless engine; needed: one that runs as root, because servers mount disks"
    return ""


def runs_in_container(*, forced: bool, say: Say) -> bool:
    """Whether a rehearsal runs in a container: where it must, or where that is asked for.

    Raises:
        RungwayError: it must, and can't.
    """
    here = [] if forced else lacks_here()
    if not here and not forced:
        return False
    engine = lack_of_engine()
    if engine:
        ways = [f"here: {'; '.join(here)}"] if here else []
        raise RungwayError(
            f"rehearse: {'; '.join([*ways, f'in a container: {engine}'])}",
            hint="become root on Debian or Ubuntu, or start a Docker engine (docs/rehearsal.md)",
        )
    if here:
        say(f"not on this machine itself ({'; '.join(here)}), so in a Docker container")
    return True


def rehearse_in_container(stack_name: str, roles: Sequence[str], *, keep: bool, as_json: bool, say: Say) -> int:
    """Run `rungway rehearse` in a container, with its output as its own, and return its exit code.

    Raises:
        RungwayError: no such stack or role, a container of an earlier rehearsal, no image, or a signal.
    """
    options = [*(word for role in roles for word in ("--role", role)), *(["--keep"] if keep else []), *(["--json"] if as_json else [])]
    rehearsal = _rehearsal(stack_name, frozenset(roles), options)
    again = f"rungway rehearse {stack_name} --container --down"
    if _exists(rehearsal.container):
        raise RungwayError(f"container {rehearsal.container}: found one of a rehearsal that runs or was kept", hint=f"`{again}` ends it")
    say(
        f"container {rehearsal.container}: bounded to {memory_mb(rehearsal.servers)} MiB of memory, needs "
        f"{DISK_BASE_GB + rehearsal.servers * DISK_PER_SERVER_GB + IMAGE_GB} GB of disk; the first time, a network"
    )
    image = _built_image(say)
    left_up = False
    with ended_by_signals():
        try:
            _docker(run_command(rehearsal, image))
            # In a session of its own: Ctrl-C at a terminal must reach the rehearsal once, by `--down`, and not its client as well.
            process = subprocess.Popen(exec_command(rehearsal, *rehearsal.options), start_new_session=True)
            code = process.wait()
            left_up = keep
        finally:
            if left_up:
                say(f"the container is left up: docker exec -it {rehearsal.container} bash; end it with `{again}`")
            else:
                _remove(rehearsal)
    return code


def take_down_container(stack_name: str) -> None:
    """End the container of a stack's rehearsal, whether it was kept or still runs, and remove the servers' disks."""
    _remove(_rehearsal(stack_name, frozenset(), ()))


def memory_mb(servers: int) -> int:
    """The container's bound in MiB: twice what a rehearsal of so many servers asks of a machine.

    The kernel counts the files that it caches against a container, and ends processes that a whole machine would have had room for.
    """
    return 2 * (MEMORY_BASE_MB + servers * MEMORY_PER_SERVER_MB)


def image_tag(lock: bytes) -> str:
    """The image's name, which is another one when what it is built from is."""
    return f"{REPOSITORY}:{hashlib.sha256(DOCKERFILE.encode() + lock).hexdigest()[:12]}"


def build_context(lock: bytes) -> bytes:
    """What `docker build` reads: a tar archive of the Dockerfile and the lock."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("Dockerfile", DOCKERFILE.encode()), ("requirements.lock", lock)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def run_command(rehearsal: Rehearsal, image: str) -> list[str]:
    """The command that starts the container, which then waits for commands.

    A privileged container may mount, and make namespaces and loop devices. Its own cgroup namespace is what systemd-nspawn takes for the
    machine's root. Caches and disks are volumes: an overlay can't lie on the container's own overlay.
    """
    mounts = [f"type=volume,source={CACHE_VOLUME},target={CACHE}", f"type=volume,target={WORK}"]
    mounts += [f"type=bind,source={folder},target={folder},readonly" for folder in rehearsal.folders]
    return [
        "docker",
        "run",
        "--detach",
        "--rm",
        "--init",
        "--privileged",
        "--cgroupns=private",
        f"--name={rehearsal.container}",
        f"--memory={memory_mb(rehearsal.servers)}m",
        *_network(),
        *(f"--mount={mount}" for mount in mounts),
        f"--workdir={rehearsal.root}",
        f"--env=PYTHONPATH={CODE}",
        "--env=PYTHONDONTWRITEBYTECODE=1",
        image,
        "sh",
        "-c",
        _START,
    ]


def exec_command(rehearsal: Rehearsal, *options: str) -> list[str]:
    """The command that runs `rungway rehearse` in the started container."""
    stack = rehearsal.stack
    name = str(stack.path) if stack.name.endswith(".yaml") else stack.name
    return ["docker", "exec", rehearsal.container, PYTHON, "-m", "rungway", "rehearse", name, *options]


def _rehearsal(stack_name: str, roles: frozenset[str], options: Sequence[str]) -> Rehearsal:
    root = project_root(Path.cwd())
    stack = find_stack(stack_name, root)
    return Rehearsal(stack, root, len(chosen_servers(stack, roles)[1]), tuple(options))


def _network() -> list[str]:
    network = os.environ.get(NETWORK_VARIABLE)
    return [f"--network={network}"] if network else []


def _built_image(say: Say) -> str:
    """The image's name; it is built when the engine has none, and older ones are removed then."""
    lock = LOCK.read_bytes()
    tag = image_tag(lock)
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode:
        say(f"building {tag}, once")
        # What the build says is progress: it goes to standard error, because standard output holds the report alone.
        built = subprocess.run(["docker", "build", *_network(), f"--tag={tag}", "-"], input=build_context(lock), stdout=sys.stderr)
        if built.returncode:
            raise RungwayError(
                f"docker build: failed with exit code {built.returncode}; what it said is above",
                hint="it needs Docker Hub, Debian's mirror and the Python Package Index once",
            )
        listed = subprocess.run(
            ["docker", "image", "ls", REPOSITORY, "--format", "{{.Repository}}:{{.Tag}}"], capture_output=True, text=True
        )
        for other in listed.stdout.split():
            if other != tag:
                subprocess.run(["docker", "image", "rm", other], capture_output=True)
    return tag


def _exists(container: str) -> bool:
    return subprocess.run(["docker", "container", "inspect", container], capture_output=True).returncode == 0


def _remove(rehearsal: Rehearsal) -> None:
    """End the rehearsal in the container, and then the container with its disks.

    Raises:
        RungwayError: the rehearsal can't be ended. Without its container its loop devices would stay in the engine's kernel for good.
    """
    if not _exists(rehearsal.container):
        return
    ended = subprocess.run(exec_command(rehearsal, "--down"), stdin=subprocess.DEVNULL)
    if ended.returncode and _exists(rehearsal.container):
        raise RungwayError(
            f"container {rehearsal.container}: what it rehearses did not end; what it said is above",
            hint=f"`docker exec -it {rehearsal.container} bash` for a look; `docker rm --force --volumes {rehearsal.container}` ends it",
        )
    subprocess.run(["docker", "container", "rm", "--force", "--volumes", rehearsal.container], capture_output=True)


def _docker(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RungwayError(f"`{' '.join(command[:2])}` failed with exit code {done.returncode}: {done.stderr.strip()}")
