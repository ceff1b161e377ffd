"""A whole phase on this machine: its servers, their secrets, and their convergence by the code that production uses."""

import dataclasses
import os
import secrets as random_secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from hosts.addresses import address
from hosts.configuration import HostConfiguration, Service, Task
from hosts.converge.order import waves
from hosts.converge.request import Connection, Request, Result
from hosts.render import host_configuration
from hosts.secrets import AUTHORITY_SECRET, ORIGIN_CERTIFICATE, needed_secrets, origin_certificate_request
from hosts.specification import HostSpecification
from rungway.errors import RungwayError
from rungway.rehearsal.cgroups import kill_all, remove_cgroup
from rungway.rehearsal.load_balancer import LoadBalancer
from rungway.rehearsal.machine import allow_watches, kernel_has_wireguard
from rungway.rehearsal.network import OUTSIDE, Addresses, Network
from rungway.rehearsal.outside import ACME_DIRECTORY, ACME_HOST, AUTHORITY_FILE, STORAGE_HOST, Outside, RehearsalAuthority
from rungway.rehearsal.roots import OUTSIDE_PACKAGES, Overlay, Roots, remove_root, run
from rungway.rehearsal.server import IMAGE_FILE, Operator, RehearsedServer

if TYPE_CHECKING:
    from infra.settings import Region, Settings

DOMAIN = "example.test"
"""The stack's domain in a rehearsal (RFC 6761: never a real one)."""
CONVERGE_SECONDS = 900
"""The longest that the convergence of one server may take here."""
AT_ONCE = 8
"""Servers that converge at the same time. etcd needs most of its members to go on, so it must not be fewer than those."""

ABSENT_V6 = "2001:db8:ffff::1"
"""Where servers of the stack are that are not rehearsed: nowhere."""

IMAGE = "rehearsal/notes:1"
"""The reference application (examples/app)."""
APPLICATION = Path(__file__).resolve().parents[2] / "examples/app"

ACME_PACKAGES = ("certbot",)
"""What servers need that change over to certificates by ACME, which is tried in every phase."""
AUDIT_PACKAGES = ("lynis",)
"""What a rehearsal installs on a server to look at it, after everything else was tried."""

NOT_HERE = {"grafana": "its container images come from a registry, and a rehearsal reaches no network"}
"""Services that are left out, and why."""

Say = Callable[[str], None]


class RehearsedPhase:
    """The servers of a phase. `directory` holds everything that belongs to this rehearsal, `cache` what the next ones use again."""

    def __init__(self, name: str, settings: "Settings", hosts: Iterable[HostSpecification], directory: Path, cache: Path, say: Say) -> None:
        self.name = name
        self.settings = settings
        self.directory = directory
        self._say = say
        self._roots = Roots(cache, say)
        self.network = Network(name)
        self.hosts = {host.name: rehearsed_host(host) for host in hosts}
        self.configurations = {host.name: _for_rehearsal(host_configuration(host)) for host in self.hosts.values()}
        self.cloudflare = RehearsalAuthority()
        self.secrets = _secrets(self.configurations.values(), self.hosts.values(), self.cloudflare)
        self.addresses = _addresses(self.hosts.values(), settings)
        self.servers: dict[str, RehearsedServer] = {}
        self._load_balancers: list[LoadBalancer] = []
        self.outside: Outside | None = None
        self.operator: Operator | None = None

    def prepare(self) -> None:
        """Make roots, networks, the world outside and the disks of all servers. Nothing runs yet but the world outside."""
        allow_watches()
        packages = {package for configuration in self.configurations.values() for package in configuration.packages}
        pool = self._roots.pool({*packages, *ACME_PACKAGES, *AUDIT_PACKAGES})
        outside_layer = self._roots.with_packages("outside", OUTSIDE_PACKAGES)
        base = self._roots.base()
        image = self._roots.application_image(APPLICATION) if any(host.application for host in self.hosts.values()) else None
        self.directory.mkdir(parents=True, exist_ok=True)
        self.operator = self._make_operator()
        authority = RehearsalAuthority()
        trust = self._make_trust(base, authority)
        self.network.create()
        self.outside = Outside(self.network, self.directory / "outside", [trust, outside_layer, base])
        self.outside.start(self.public_names(), *authority.issue([STORAGE_HOST, ACME_HOST]))
        for bucket in sorted(self._buckets()):
            self.outside.make_bucket(bucket)
        for region in self._balanced():
            self._start_load_balancer(region, self.outside.root)
        for host in self.hosts.values():
            server = RehearsedServer(host, self.addresses[host.name], self.network, self.directory / "servers" / host.name, self.name)
            self.servers[host.name] = server
            server.prepare([trust, base], pool, image, self.operator, self._private_prefix())
        if len({host.region for host in self.hosts.values()}) > 1:
            self.network.watch_regions(server.addresses for server in self.servers.values())

    def boot(self) -> None:
        """Power every server on."""
        for server in self.servers.values():
            server.boot()

    def converge(self, names: Iterable[str] | None = None) -> dict[str, Result]:
        """Converge servers (all when None is given), in the order that they need each other, as `pulumi up` does."""
        wanted = list(self.servers if names is None else names)
        results: dict[str, Result] = {}
        for wave in waves([self.hosts[name] for name in wanted]):
            with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
                results.update(zip(wave, pool.map(self._converge_one, wave), strict=True))
        return results

    def request(self, name: str) -> Request:
        """What is asked of one server's convergence."""
        assert self.operator is not None  # noqa: S101 (prepare made it)
        return Request(
            configuration=self.configurations[name],
            connection=Connection(
                address=name,
                key_file=self.operator.key_file,
                config_file=self.operator.config_file,
                known_hosts_file=self.operator.known_hosts_file,
            ),
            secrets=self.secrets,
            addresses={other: addresses.private for other, addresses in self.addresses.items()},
            public_addresses={
                **{peer.name: ABSENT_V6 for peer in self.hosts[name].peers},
                **{other: addresses.public_v6 for other, addresses in self.addresses.items()},
            },
        )

    def ask(self, request: Request) -> subprocess.CompletedProcess[str]:
        """Run one convergence from the administrator's place in the network."""
        return subprocess.run(
            ["ip", "netns", "exec", self.network.outside, sys.executable, "-m", "hosts.converge"],
            input=TypeAdapter(Request).dump_json(request).decode(),
            capture_output=True,
            text=True,
            timeout=CONVERGE_SECONDS,
        )

    def public_names(self) -> dict[str, str]:
        """The public names of the phase, each with the address where it is served first: a load balancer's, or a server's."""
        balancers = {region.name: _load_balancer_addresses(self.settings, region).public for region in self._balanced()}
        names: dict[str, str] = {}
        for host in self.hosts.values():
            public = balancers.get(host.region, self.addresses[host.name].public)
            if host.application and public:
                for hostname in host.application.hostnames:
                    names.setdefault(hostname, public)
        return names

    def remove(self) -> None:
        """End everything and remove it, however far it came."""
        for server in self.servers.values():
            server.destroy()
        for balancer in self._load_balancers:
            balancer.stop()
        if self.outside is not None:
            self.outside.stop()
        remove_leftovers(self.name, self.directory)

    def _converge_one(self, name: str) -> Result:
        began = time.monotonic()
        done = self.ask(self.request(name))
        if done.returncode:
            raise RungwayError(f"rehearsal: {done.stderr.strip()}")
        result = TypeAdapter(Result).validate_json(done.stdout)
        self._say(f"{name}: {result.changes} changes, {time.monotonic() - began:.1f} s")
        return result

    def _make_operator(self) -> Operator:
        """A key pair for this rehearsal, and a client configuration that goes through the jump hosts."""
        key = self.directory / "operator"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", str(key)])
        known_hosts = self.directory / "known_hosts"
        known_hosts.touch(mode=0o600)
        lines = []
        for host in self.hosts.values():
            addresses = self.addresses[host.name]
            lines += [f"Host {host.name}", f"  HostName {addresses.private if host.jump_host else addresses.public}"]
            if host.jump_host:
                lines.append(f"  ProxyJump {host.jump_host}")
        lines += [
            "Host *",
            "  User admin",
            f"  IdentityFile {key}",
            f"  UserKnownHostsFile {known_hosts}",
            "  StrictHostKeyChecking accept-new",
        ]
        config = self.directory / "ssh_config"
        config.write_text("\n".join(lines) + "\n")
        return Operator(key, key.with_suffix(".pub").read_text().strip(), config, known_hosts)

    def _make_trust(self, base: Path, authority: RehearsalAuthority) -> Path:
        """A layer in which the rehearsal's authority is among the public ones."""
        layer = self.directory / "trust"
        with Overlay([base], self.directory / "trust-work", upper=layer) as root:
            (root / AUTHORITY_FILE).write_bytes(authority.certificate)
            run(["chroot", str(root), "update-ca-certificates"])
        return layer

    def _balanced(self) -> "list[Region]":
        """The regions whose rehearsed application servers are behind a load balancer."""
        served = {host.region for host in self.hosts.values() if host.role == "app"}
        return [region for region in self.settings.regions if region.load_balancer.enabled and region.name in served]

    def _start_load_balancer(self, region: "Region", root: Path) -> None:
        balancer = LoadBalancer(f"load-balancer-{region.name}", _load_balancer_addresses(self.settings, region), self.network, root)
        self._load_balancers.append(balancer)
        servers = {
            name: self.addresses[name].private for name, host in self.hosts.items() if (host.role, host.region) == ("app", region.name)
        }
        balancer.start(
            servers,
            algorithm=region.load_balancer.algorithm,
            health_check_path=region.app.health_check_path,
            private_prefix=self._private_prefix(),
        )

    def _buckets(self) -> set[str]:
        backups = {host.backup.bucket for host in self.hosts.values() if host.backup}
        return backups | {host.application.uploads_bucket for host in self.hosts.values() if host.application} - {""}

    def _private_prefix(self) -> int:
        return int(self.settings.network.cidr.rpartition("/")[2])


def rehearsed_host(host: HostSpecification) -> HostSpecification:
    """The server with the reference application on it, certified by the rehearsal's own authority."""
    if host.application is None:
        return host
    application = dataclasses.replace(host.application, image=IMAGE, migration_command="python3 migrate.py", acme_directory=ACME_DIRECTORY)
    return dataclasses.replace(host, application=application)


def _for_rehearsal(configuration: HostConfiguration) -> HostConfiguration:
    """What runs here: without the services that can't, and with the application's image, which no registry has."""
    services: list[Service] = []
    for service in configuration.services:
        if service.name == "application":
            services.append(_IMAGE_SERVICE)
        if service.name == "wireguard" and not kernel_has_wireguard():
            # wg-quick calls it where the kernel can't.
            services.append(dataclasses.replace(service, packages=(*service.packages, "wireguard-go")))
        elif service.name not in NOT_HERE:
            services.append(service)
    return dataclasses.replace(configuration, services=tuple(services))


_CHANGES = ("WORKDIR /srv/application", "USER application", 'CMD ["uvicorn", "main:app"]')
_IMAGE_SERVICE = Service(
    name="application-image",
    after=(
        Task(
            name="load the image",
            unless=f"docker image inspect {IMAGE}",
            script=f"docker import {' '.join(f'--change {shlex.quote(change)}' for change in _CHANGES)} {IMAGE_FILE} {IMAGE}",
        ),
    ),
)


def remove_leftovers(name: str, directory: Path) -> None:
    """Remove what a rehearsal left, even one that was killed: processes, mounts, loop devices, namespaces, cgroups, files."""
    kill_all(name)
    for namespace in Path("/run/netns").glob(f"{name}.*"):
        pids = subprocess.run(["ip", "netns", "pids", namespace.name], capture_output=True, text=True, check=False).stdout.split()
        for pid in pids:
            if int(pid) != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    # By the file itself, not by its path: another mount namespace may have another file there, of a rehearsal that runs.
    volumes = directory.glob("servers/*/volume.img")
    loops = [run(["losetup", "--noheadings", "--output=NAME", "--associated", str(volume)]).split() for volume in volumes]
    remove_root(directory)
    for loop in [name for names in loops for name in names]:
        subprocess.run(["losetup", "--detach", loop], capture_output=True, check=False)
    Network(name).remove()
    remove_cgroup(name)


def _secrets(
    configurations: Iterable[HostConfiguration], hosts: Iterable[HostSpecification], cloudflare: RehearsalAuthority
) -> dict[str, str]:
    """Fresh secrets for this rehearsal, and what a real stack has of its providers: addresses, and the certificate by Cloudflare."""
    names = set().union(*(needed_secrets(configuration) for configuration in configurations))
    known = {"backup-endpoint": STORAGE_HOST, "alert-webhook-url": f"http://{OUTSIDE}:9/"}
    made = {name: known.get(name) or random_secrets.token_hex(24) for name in sorted(names)}
    if ORIGIN_CERTIFICATE in made:
        hostnames = sorted({name for host in hosts if host.application for name in host.application.hostnames})
        made[ORIGIN_CERTIFICATE] = cloudflare.answer(origin_certificate_request(made[AUTHORITY_SECRET], hostnames))
    return made


def _addresses(hosts: Iterable[HostSpecification], settings: "Settings") -> dict[str, Addresses]:
    """Where each server is: in its own private place, and numbered on the internet."""
    found = {}
    network = settings.network.cidr.rpartition("/")[0].rsplit(".", 2)[0]
    for number, host in enumerate(hosts, start=10):
        private = host.private_address or f"{network}.255.{number}"
        found[host.name] = Addresses(private, f"198.51.100.{number}" if host.public else None, f"2001:db8:100::{number}", host.region)
    return found


def _load_balancer_addresses(settings: "Settings", region: "Region") -> Addresses:
    """Where the load balancer of a region is: at the end of the internet's network, where no server is."""
    number = 250 - settings.regions.index(region)
    return Addresses(address(region.cidr, "load-balancer", 1), f"198.51.100.{number}", f"2001:db8:100::{number}", region.name)
