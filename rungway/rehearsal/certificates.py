"""Both ways to a certificate of the public names: Cloudflare's own, which every server has at once, and an ACME authority's."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

from hosts.configuration import HostConfiguration
from hosts.render import host_configuration
from hosts.services.certificates import TLS_DIRECTORY, WEBROOT
from hosts.specification import HostSpecification
from rungway.rehearsal.phase import RehearsedPhase
from rungway.rehearsal.report import Check
from rungway.rehearsal.visitors import FrontDoor

ACME_SECONDS = 120
RELOAD_SECONDS = 10
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
    wrong = _unserved(door, door.acme_authority_file) or _left(phase, names, _BY_ACME) or _unanswered(phase, door, names[-1])
    yield Check("change over to certificates by ACME", not wrong, round(time.monotonic() - began, 1), "s", wrong)
    began = time.monotonic()
    _converge(phase, {name: before[name] for name in names})
    wrong = _unserved(door, door.cloudflare_file) or _left(phase, names, _BY_CLOUDFLARE)
    yield Check("change back to Cloudflare's certificate", not wrong, round(time.monotonic() - began, 1), "s", wrong)


def _unserved(door: FrontDoor, authority: Path) -> str:
    """What keeps the public name from answering with a certificate of this authority. A reloaded nginx shows its last one at first."""
    end = time.monotonic() + RELOAD_SECONDS
    while True:
        code, said = door.request("/health", "--cacert", str(authority))
        if code == 0:
            return ""
        if time.monotonic() > end:
            return said.strip()[-200:]
        time.sleep(0.2)


def _left(phase: RehearsedPhase, names: list[str], script: str) -> str:
    """The servers of which the script says that something of the other way is left."""
    wrong = [name for name in names if phase.servers[name].run(script, 10)[0]]
    return f"not changed over: {', '.join(wrong)}" if wrong else ""


def _unanswered(phase: RehearsedPhase, door: FrontDoor, name: str) -> str:
    """What keeps a challenge of this server from its answer where Cloudflare sends it: over HTTPS, and to any server."""
    phase.servers[name].run(f"mkdir --parents {WEBROOT}/{_CHALLENGES}; echo known > {WEBROOT}/{_CHALLENGES}/tried", 10)
    _, said = door.request(f"/{_CHALLENGES}/tried")
    return "" if said.startswith("known\n") else f"a challenge: {said.strip()[-200:]}"


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
