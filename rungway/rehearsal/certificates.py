"""Both ways to a certificate of the public names: Cloudflare's own, which every server has at once, and an ACME authority's."""

import dataclasses
import time
from collections.abc import Iterator

from hosts.configuration import HostConfiguration
from hosts.render import host_configuration
from hosts.services.certificates import TLS_DIRECTORY, WEBROOT
from hosts.specification import HostSpecification
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.report import Check
from rungway.rehearsal.visitors import FrontDoor

ACME_SECONDS = 120
_CHALLENGES = ".well-known/acme-challenge"

_BY_CLOUDFLARE = f'! test -L {TLS_DIRECTORY}/site.crt && test "$(systemctl is-active rungway-certificate.timer)" = inactive'
_BY_ACME = f'test "$(readlink {TLS_DIRECTORY}/site.crt)" = /etc/letsencrypt/live/site/fullchain.pem'


def ask_acme(phase: RehearsedPhase) -> None:
    """Have the certificates by ACME made now: the timer would come within minutes."""
    for name, host in phase.hosts.items():
        application = host.application
        if application and application.hostnames and not application.origin_certificate:
            phase.servers[name].run("systemctl start rungway-certificate.service", ACME_SECONDS)


def other_authority(phase: RehearsedPhase, door: FrontDoor) -> Iterator[Check]:
    """Servers that Cloudflare certifies change over to the ACME authority, and back."""
    before = dict(phase.hosts)
    names = [name for name, host in before.items() if host.role == "app" and host.application and host.application.origin_certificate]
    if not names:
        return
    began = time.monotonic()
    _converge(phase, {name: _by_acme(before[name]) for name in names})
    ask_acme(phase)
    code, said = door.request("/health", "--cacert", str(door.acme_authority_file))
    ok = code == 0 and all(phase.servers[name].run(_BY_ACME, 10)[0] == 0 for name in names)
    # As Cloudflare sends it on: over HTTPS, and to any server.
    phase.servers[names[-1]].run(f"mkdir --parents {WEBROOT}/{_CHALLENGES}; echo known > {WEBROOT}/{_CHALLENGES}/tried", 10)
    code, said = door.request(f"/{_CHALLENGES}/tried")
    ok = ok and said.startswith("known\n")
    yield Check("change over to certificates by ACME", ok, round(time.monotonic() - began, 1), "s", "" if ok else said.strip()[-200:])
    began = time.monotonic()
    _converge(phase, {name: before[name] for name in names})
    code, said = door.request("/health", "--cacert", str(door.cloudflare_file))
    ok = code == 0 and all(phase.servers[name].run(_BY_CLOUDFLARE, 10)[0] == 0 for name in names)
    yield Check("change back to Cloudflare's certificate", ok, round(time.monotonic() - began, 1), "s", "" if ok else said.strip()[-200:])


def _by_acme(host: HostSpecification) -> HostSpecification:
    assert host.application is not None  # noqa: S101 (its only caller looked)
    return dataclasses.replace(host, application=dataclasses.replace(host.application, origin_certificate=False))


def _converge(phase: RehearsedPhase, hosts: dict[str, HostSpecification]) -> None:
    for name, host in hosts.items():
        phase.hosts[name] = host
        phase.configurations[name] = _with_certificates_of(host, phase.configurations[name])
    phase.converge(hosts)


def _with_certificates_of(host: HostSpecification, configuration: HostConfiguration) -> HostConfiguration:
    """The configuration with these two services as the host has them; others may have been changed by what was tried before."""
    new = {service.name: service for service in host_configuration(host).services if service.name in ("certificates", "nginx")}
    return dataclasses.replace(configuration, services=tuple(new.get(service.name, service) for service in configuration.services))
