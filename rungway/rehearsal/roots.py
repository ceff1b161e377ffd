"""The Debian 13 roots that servers boot from, made once and kept: a base like the providers' image, and a pool of a phase's packages."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from rungway.errors import RungwayError
from rungway.rehearsal.cgroups import KILL_SECONDS

MIRROR = "http://deb.debian.org/debian"
SUITE = "trixie"
DPKG_STATUS = "var/lib/dpkg/status"
"""What is installed in a root, below it."""

BASE_PACKAGES = (
    "apparmor",
    "apt-utils",
    "ca-certificates",
    "cloud-init",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "netbase",
    "nftables",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
)
"""What the providers' Debian images hold and Rungway counts on."""

OUTSIDE_PACKAGES = (
    "curl",
    "dnsmasq-base",
    "gunicorn",
    "haproxy",
    "nmap",
    "pebble",
    "python3-moto",
    "python3-flask",
    "python3-flask-cors",
    "wrk",
)
"""The world around the servers: an object store (moto), a certificate authority (pebble), a name server, a load
balancer, a load generator, a scanner."""

APPLICATION_PACKAGES = (
    "python3-asyncpg",
    "python3-fastapi",
    "python3-redis",
    "python3-sqlalchemy",
    "python3-uvloop",
    "python3-wsproto",
    "uvicorn",
)
"""What the reference application needs: Debian's versions of its requirements, because a rehearsal has no other registry."""

KEPT_ROOTS = 6
"""Of each name; older ones are removed, unless they are in use. A root takes 0.3 GB, a pool as much, and the one of the tests 1.3 GB."""

MIRROR_OPTIONS = ("Acquire::http::Timeout=20", "Acquire::Retries=1")
"""apt's own are 30 s and three retries for each of many files (apt.conf(5)): minutes until a silent mirror is an error."""
MAKE_SECONDS = 1800
"""The longest that one step of making a root may take, for a mirror that answers, but hardly."""


class Roots:
    """The cache of roots under `directory`."""

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._held: dict[Path, int] = {}

    def base(self) -> Path:
        """A Debian root with what a provider's image has."""
        return self._cached("base", (), self._make_base)

    def with_packages(self, name: str, packages: Iterable[str]) -> Path:
        """The upper layer of a root: `packages` installed over the base, with no service started."""
        wanted = sorted(packages)
        return self._cached(name, [*wanted, self._state_of_base()], lambda path: self._make_layer(path, wanted))

    def pool(self, packages: Iterable[str]) -> Path:
        """A local package repository with `packages` and everything that they need over the base."""
        wanted = sorted(packages)
        return self._cached("pool", [*wanted, self._state_of_base()], lambda path: self._make_pool(path, wanted))

    def application_image(self, source: Path) -> Path:
        """The root file system of the reference application in `source`, as a tar archive for `docker import`."""
        programs = sorted(source.glob("*.py"))
        recipe = [*APPLICATION_PACKAGES, *(program.read_text() for program in programs)]
        return self._cached("application", recipe, lambda path: _make_image(path, programs)) / "image.tar"

    def _state_of_base(self) -> str:
        """What is installed in the base. A layer over another state of it, from a later day's mirror, would contradict it."""
        return hashlib.sha256((self.base() / DPKG_STATUS).read_bytes()).hexdigest()

    def _cached(self, name: str, recipe: Sequence[str], make: Callable[[Path], None]) -> Path:
        """What `make` makes at the path that it is given; made once for each recipe, and kept as long as this object is."""
        digest = hashlib.sha256("\n".join((SUITE, MIRROR, *BASE_PACKAGES, *recipe)).encode()).hexdigest()
        path = self._directory / f"{name}-{digest[:12]}"
        self._directory.mkdir(parents=True, exist_ok=True)
        # Two rehearsals may want the same root at once: the second waits for the first.
        with open(self._directory / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                self._say(f"making {name}, once")
                self._make(name, path, make)
                self._forget_old(name)
            self._hold(path)
            path.touch()
        return path

    def _make(self, name: str, path: Path, make: Callable[[Path], None]) -> None:
        unfinished, work = path.with_suffix(".new"), _work(path)
        # What a killed run left, with its mounts.
        remove_root(work)
        remove_root(unfinished)
        try:
            make(unfinished)
            unfinished.rename(path)
        except RungwayError as error:
            raise RungwayError(
                f"{error}", hint=f"{name} is made of packages from {MIRROR}, once: can this machine reach it?", exit_code=error.exit_code
            ) from None
        finally:
            remove_root(work)
            remove_root(unfinished)

    def _hold(self, path: Path) -> None:
        """Keep other rehearsals from removing a root, be it from another container with the same cache."""
        if path not in self._held:
            self._held[path] = os.open(path, os.O_RDONLY)
            fcntl.flock(self._held[path], fcntl.LOCK_SH)
            weakref.finalize(self, os.close, self._held[path])

    def _forget_old(self, name: str) -> None:
        old = sorted(self._directory.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_ROOTS:]
        # Servers that were left up lie on roots that no process holds any more.
        mounted = Path("/proc/mounts").read_text()
        for path in old:
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            finally:
                os.close(held)
            if str(path) not in mounted:
                remove_root(path)

    def _make_base(self, path: Path) -> None:
        _bootstrap([f"--include={','.join(BASE_PACKAGES)}"], path)
        # Speed: a rehearsed server may lose its disk at any time.
        (path / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")

    def _make_layer(self, path: Path, packages: Sequence[str]) -> None:
        path.mkdir()
        with Overlay([self.base()], _work(path), upper=path) as root:
            (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
            (root / "usr/sbin/policy-rc.d").chmod(0o755)
            self._apt(root, "install", *packages)
            run(["chroot", str(root), "apt-get", "clean"])
            (root / "usr/sbin/policy-rc.d").unlink()

    def _make_pool(self, path: Path, packages: Sequence[str]) -> None:
        path.mkdir()
        with Overlay([self.base()], _work(path)) as root:
            self._apt(root, "install", "--download-only", *packages)
            archives = root / "var/cache/apt/archives"
            for package in archives.glob("*.deb"):
                shutil.copy2(package, path / package.name)
            (root / "pool").mkdir()
            run(["mount", "--bind", str(path), str(root / "pool")])
            try:
                index = subprocess.run(
                    ["chroot", str(root), "sh", "-c", "cd /pool && apt-ftparchive packages ."], capture_output=True, check=True
                )
            finally:
                run(["umount", str(root / "pool")])
            (path / "Packages").write_bytes(index.stdout)

    def _apt(self, root: Path, *arguments: str) -> None:
        # The host's own name server, for as long as the packages are fetched.
        resolver = root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        shutil.copyfile("/etc/resolv.conf", resolver)
        apt = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "--quiet"]
        apt += [f"--option={option}" for option in MIRROR_OPTIONS]
        run([*apt, "update", "--error-on=any"], MAKE_SECONDS)
        run([*apt, "--yes", "--no-install-recommends", *arguments], MAKE_SECONDS)
        resolver.unlink()


def _make_image(path: Path, programs: Sequence[Path]) -> None:
    path.mkdir()
    hooks = ["mkdir -p $1/srv/application", *(f"copy-in {program} /srv/application" for program in programs)]
    hooks.append("chroot $1 useradd --system --no-create-home application")
    options = ["--format=tar", f"--include={','.join(APPLICATION_PACKAGES)}", *(f"--customize-hook={hook}" for hook in hooks)]
    _bootstrap(options, path / "image.tar")


def _bootstrap(options: Sequence[str], path: Path) -> None:
    apt = [f"--aptopt={option.replace('=', ' ')}" for option in MIRROR_OPTIONS]
    # Not --quiet: it hides apt's own words, too.
    run(["mmdebstrap", "--variant=minbase", *apt, SUITE, str(path), MIRROR, *options], MAKE_SECONDS)


def _work(path: Path) -> Path:
    """Where a root is worked on while it is made."""
    return path.with_suffix(".work")


class Overlay:
    """A root made of read-only layers (the topmost first) with a writable one above; mounted while the `with` block runs."""

    def __init__(self, lower: list[Path], directory: Path, *, upper: Path | None = None) -> None:
        self._lower = lower
        self._upper = upper or directory / "upper"
        self._work = directory / "work"
        self.root = directory / "root"

    def __enter__(self) -> Path:
        self.mount()
        return self.root

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        # After a failure that one is said, and whoever made the overlay removes all of it.
        with suppress(RungwayError) if failure else nullcontext():
            self.unmount()

    def mount(self) -> None:
        """Mount it at `root`."""
        for path in (self._upper, self._work, self.root):
            path.mkdir(parents=True, exist_ok=True)
        layers = ":".join(str(path) for path in self._lower)
        run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers},upperdir={self._upper},workdir={self._work}", str(self.root)])

    def unmount(self) -> None:
        """Unmount it, and whatever was mounted below.

        Raises:
            RungwayError: something still uses it, so that what lies in the upper layer is not whole.
        """
        run(["umount", "--recursive", str(self.root)])


def remove_root(path: Path) -> None:
    """Delete a root, with everything that is still mounted below it unmounted first."""
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        mounted = line.split()[1].replace("\\040", " ")
        if mounted == str(path) or mounted.startswith(f"{path}/"):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
    shutil.rmtree(path, ignore_errors=True)


def run(command: list[str], timeout_seconds: float | None = None) -> str:
    """Run a command of the machine and return what it printed.

    Raises:
        RungwayError: it failed, with the end of what it said, or did not end in time.
    """
    what = f"rehearsal: `{' '.join(command[:6])}`"
    # In a session of its own, so that what it started in turn ends with it: apt would go on below a root that is removed.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            printed = process.communicate(timeout=timeout_seconds)[0]
        except BaseException as failure:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # All of them have ended when none holds its end of the pipe any more.
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=KILL_SECONDS)
            if isinstance(failure, subprocess.TimeoutExpired):
                raise RungwayError(f"{what} did not end within {timeout_seconds:.0f} s") from None
            raise
    if process.returncode:
        said = "\n".join(printed.strip().splitlines()[-8:])
        raise RungwayError(f"{what} failed with exit code {process.returncode}: {said}")
    return printed
