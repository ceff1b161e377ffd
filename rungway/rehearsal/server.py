"""One rehearsed server: a Debian root of its own, booted with its real init system."""

import os
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hosts.bootstrap import VOLUME_LINKS, bootstrap_user_data
from hosts.services.wireguard import linked_peers
from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.rehearsal.cgroups import enter_command, kill_all, remove_cgroup
from rungway.rehearsal.machine import TUNNEL_DEVICE, kernel_has_wireguard
from rungway.rehearsal.network import OUTSIDE, OUTSIDE_V6, Addresses, Network
from rungway.rehearsal.roots import Overlay, remove_root, run

IMAGE_FILE = "/srv/application.tar"
"""Where a server finds the application's image, which no registry has."""
REBOOT = 133
"""Exit code with which systemd-nspawn says that the server asked for a reboot."""
NSPAWN_EXPORTS = Path("/run/systemd/nspawn/unix-export")
"""Where systemd-nspawn mounts a folder for each machine (256 and newer)."""
VOLUME_SIZE = "3G"
"""Size of a rehearsed data volume: sparse, and small enough that filling it is quick."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who converges the servers: key pair and OpenSSH client configuration."""

    key_file: Path
    public_key: str
    config_file: Path
    known_hosts_file: Path


class RehearsedServer:
    """A server of the phase. `directory` holds its disk; `layers` are the read-only roots below it; `pool` is the package repository."""

    def __init__(self, host: HostSpecification, addresses: Addresses, network: Network, directory: Path, rehearsal: str) -> None:
        self.host = host
        self.addresses = addresses
        self._network = network
        self._directory = directory
        self._rehearsal = rehearsal
        self._cgroup = f"{rehearsal}/{host.name}"
        self._disk: Overlay | None = None
        self._loop: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._binds: list[str] = []
        self._private_prefix = 0
        self.boots = 0

    @property
    def _machine(self) -> str:
        """Its name for systemd-nspawn: two rehearsals at once may have servers of the same name."""
        return f"{self._rehearsal}-{self.host.name}"

    @property
    def root(self) -> Path:
        """The server's file system, as this machine sees it."""
        return self._directory / "root"

    def prepare(self, layers: Sequence[Path], pool: Path, image: Path | None, operator: Operator, private_prefix: int) -> None:
        """Make its disk, its volume, its network and its user data, as a provider would."""
        self._disk = Overlay(list(layers), self._directory)
        self._disk.mount()
        seed = self.root / "var/lib/cloud/seed/nocloud"
        seed.mkdir(parents=True)
        (seed / "meta-data").write_text(f"instance-id: {self.host.name}\n")
        (seed / "user-data").write_text(
            bootstrap_user_data(
                hostname=self.host.name, public_keys=[operator.public_key], provider=self.host.provider, data_mount=self.host.data_mount
            )
        )
        (self.root / "etc/cloud/cloud.cfg.d/99-rehearsal.cfg").write_text("datasource_list: [NoCloud]\nnetwork: {config: disabled}\n")
        sources = self.root / "etc/apt"
        for old in (sources / "sources.list", *(sources / "sources.list.d").glob("*")):
            old.unlink(missing_ok=True)
        (sources / "sources.list").write_text("deb [trusted=yes] file:/srv/pool ./\n")
        resolver = self.root / "etc/resolv.conf"
        resolver.unlink(missing_ok=True)
        resolver.write_text(f"nameserver {OUTSIDE if self.addresses.public else OUTSIDE_V6}\n")
        self._private_prefix = private_prefix
        self._binds = [f"--bind-ro={pool}:/srv/pool"]
        if image is not None and self.host.application:
            self._binds.append(f"--bind-ro={image}:{IMAGE_FILE}")
        if linked_peers(self.host) and not kernel_has_wireguard():
            self._binds.append(f"--bind={TUNNEL_DEVICE}")
        if self.host.data_mount:
            volume = self._directory / "volume.img"
            run(["truncate", "--size", VOLUME_SIZE, str(volume)])
            self._loop = run(["losetup", "--find", "--show", str(volume)]).strip()
        self._network.add_server(self.host.name, self.addresses, private_prefix)

    def boot(self) -> None:
        """Start it. It boots again by itself when it asks for a reboot."""
        self._start()
        threading.Thread(target=self._keep_running, name=f"watch {self.host.name}", daemon=True).start()

    def power_cut(self) -> None:
        """Links down, then every process killed at once. What the disk holds stays; the page cache survives, so fsync is not tested."""
        self._network.cut(self.host.name)
        self._kill()

    def power_on(self) -> None:
        """Boot again after a power cut, with new links."""
        self._network.remove_server(self.host.name)
        self._network.add_server(self.host.name, self.addresses, self._private_prefix)
        self.boot()

    def run(self, command: str, timeout_seconds: float = 60, stdin: str | None = None) -> tuple[int, str]:
        """Run a shell command as root inside the server. For checks only: convergence goes over SSH."""
        process = self._leader()
        entered = ["nsenter", f"--target={process}", "--all", "--wdns=/", "bash", "-c", command]
        try:
            done = subprocess.run(
                entered,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                env={
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "LC_ALL": "C.UTF-8",
                    "HOME": "/root",
                    "TERM": "dumb",
                },
            )
        except subprocess.TimeoutExpired:
            return 124, f"no end after {timeout_seconds:.0f} s"
        return done.returncode, done.stdout

    def destroy(self) -> None:
        """Stop it and remove all that it was."""
        self._kill()
        self._network.remove_server(self.host.name)
        remove_root(self.root)
        if self._loop:
            subprocess.run(["losetup", "--detach", self._loop], capture_output=True, check=False)
        remove_root(self._directory)
        remove_root(NSPAWN_EXPORTS / self._machine)
        remove_cgroup(self._cgroup)

    def _start(self) -> None:
        self.boots += 1
        # systemd-nspawn (256 and newer) refuses a machine whose mount it left when it was killed.
        remove_root(NSPAWN_EXPORTS / self._machine)
        options = [*self._binds]
        if self.host.application or self.host.monitoring:
            # Docker's image layers are overlays, which can't be stacked on the overlay that the server's root is.
            (self._directory / "containers").mkdir(exist_ok=True)
            options.append(f"--bind={self._directory / 'containers'}:/var/lib/docker")
            # runc gives each container a session keyring and a device filter.
            options.append("--system-call-filter=add_key keyctl bpf")
        if self._loop:
            options.append(f"--bind={self._loop}:{VOLUME_LINKS[self.host.provider].replace('*', '1')}")
        command = [
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine={self._machine}",
            f"--hostname={self.host.name}",
            "--register=no",
            "--keep-unit",
            f"--network-namespace-path=/run/netns/{self._network.namespace(self.host.name)}",
            "--capability=CAP_NET_ADMIN",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
            *options,
        ]
        environment = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        enter = enter_command(self._cgroup)
        with open(self._directory / "console.log", "ab") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", f'{enter} exec "$@"', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
            )

    def _keep_running(self) -> None:
        while process := self._process:
            code = process.wait()
            with self._changing:
                if self._process is not process or code != REBOOT:
                    return
                self._start()

    def _kill(self) -> None:
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            # First and by itself: just started, it is not in its cgroup yet.
            process.kill()
            process.wait()
        kill_all(self._cgroup)

    def _leader(self) -> int:
        """The server's PID 1, as this machine numbers it: the child of systemd-nspawn."""
        if self._process is not None and self._process.poll() is None:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            if children:
                return int(children[0])
        raise RungwayError(f"{self.host.name} does not run; its console: {self._directory / 'console.log'}")
