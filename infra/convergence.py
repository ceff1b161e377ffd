"""What `pulumi up` asks of every server, with which secrets, by which way, and in which order."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pydantic import TypeAdapter

from components.generated_secrets import GeneratedSecrets
from components.host_convergence import HostConvergence
from components.origin_certificate import OriginCertificate
from hosts.configuration import HostConfiguration
from hosts.converge.order import waves
from hosts.converge.request import Connection, Request
from hosts.render import host_configuration
from hosts.secrets import AUTHORITY_SECRET, ORIGIN_CERTIFICATE, needed_secrets
from hosts.services.wireguard import linked_peers
from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from infra.problems import Problem, SettingsError
from infra.regions import COMPONENTS, BuiltRegion, BuiltServer
from infra.settings import BucketSettings, Region, Settings

_OF_BUCKETS = {f"{purpose}-{name}": (purpose, name) for purpose in ("backup", "uploads") for name in ("endpoint", "key-id", "key-secret")}
"""Secrets that a bucket and its token give, with whose bucket it is and what of it."""
_WEBHOOK = "alert-webhook-url"


class Convergence:
    """The convergence of a stack's servers: rendered and checked when made, registered when the servers are."""

    def __init__(self, settings: Settings) -> None:
        """Render every server.

        Raises:
            SettingsError: a server needs a secret that nothing gives, or can't be reached. All of them are listed.
        """
        self._settings = settings
        self._regions = {region.name: region for region in settings.regions}
        # Kubernetes nodes run what Kubernetes gives them.
        self._hosts = {host.name: host for host in host_specifications(settings) if host.role in COMPONENTS}
        self._configurations = {name: host_configuration(host) for name, host in self._hosts.items()}
        self._needed = {name: needed_secrets(configuration) for name, configuration in self._configurations.items()}
        problems = [*self._unreachable(), *self._without_source()]
        if problems:
            raise SettingsError(f"stack {pulumi.get_stack()}", problems)

    def register(self, regions: Iterable[BuiltRegion], buckets: Mapping[str, Mapping[str, pulumi.Output[str]]]) -> None:
        """Register the stack's own secrets and the convergence of every server; `buckets` are by their names in the settings."""
        servers = {name: server for region in regions for name, server in region.built_servers.items()}
        needed = set().union(*self._needed.values())
        names = sorted(needed - _OF_BUCKETS.keys() - {_WEBHOOK, ORIGIN_CERTIFICATE})
        generated = GeneratedSecrets("secrets", {"names": list(names)}).values if names else pulumi.Output.from_input({})
        made: dict[str, pulumi.Output[str]] = {name: generated[name] for name in names}
        if ORIGIN_CERTIFICATE in needed:
            made[ORIGIN_CERTIFICATE] = self._origin_certificate(made[AUTHORITY_SECRET])
        before: list[HostConvergence] = []
        for wave in waves(self._hosts.values()):
            before = [
                HostConvergence(
                    f"{name}-configuration",
                    {
                        "server_id": servers[name].server_id,
                        "request": self._request(self._hosts[name], servers, self._secrets(name, made, buckets)),
                        "digest": _digest(self._configurations[name]),
                    },
                    pulumi.ResourceOptions(depends_on=[*servers[name].parts, *before]),
                )
                for name in wave
            ]

    def _origin_certificate(self, authority_secret: pulumi.Output[str]) -> pulumi.Output[str]:
        """One certificate for all application servers: they serve the same names, wherever they are."""
        names = sorted({name for host in self._hosts.values() if host.application for name in host.application.hostnames})
        return OriginCertificate("origin-certificate", {"hostnames": list(names), "authority_secret": authority_secret}).certificate

    def _request(self, host: HostSpecification, servers: Mapping[str, BuiltServer], secrets: pulumi.Output[Any]) -> pulumi.Output[str]:
        """What is asked of a server, as JSON. Where the provider assigns private addresses they are known once the servers are there."""
        configuration = self._configurations[host.name]
        server = servers[host.name]
        way: dict[str, Any] = {"address": server.public_ipv4}
        if host.jump_host is not None:
            way = {"address": host.private_address or server.private_address, "jump_address": servers[host.jump_host].public_ipv4}
        addresses = {name: other.private_address or servers[name].private_address for name, other in self._hosts.items()}
        public_addresses = {peer.name: servers[peer.name].public_ipv6 for peer in linked_peers(host)}
        # Private addresses are the same in many stacks, and so many machines: each application has a list of its own.
        known_hosts = Path(f"~/.ssh/known_hosts.{self._settings.name}")
        key = Path(self._settings.convergence.ssh_key_file)

        def written(known: Mapping[str, Any]) -> str:
            connection = Connection(**known["way"], key_file=key, known_hosts_file=known_hosts)
            given = {name: known[name] for name in ("secrets", "addresses", "public_addresses")}
            return _REQUEST.dump_json(Request(configuration=configuration, connection=connection, **given)).decode()

        inputs: dict[str, Any] = {"way": way, "secrets": secrets, "addresses": addresses, "public_addresses": public_addresses}
        return pulumi.Output.secret(pulumi.Output.all(**inputs).apply(written))

    def _secrets(
        self, name: str, made: Mapping[str, pulumi.Output[str]], buckets: Mapping[str, Mapping[str, pulumi.Output[str]]]
    ) -> pulumi.Output[Any]:
        """The secrets that one server needs, and no others, by name."""
        given: dict[str, pulumi.Input[str]] = {}
        for secret in sorted(self._needed[name]):
            if secret == _WEBHOOK:
                given[secret] = self._region(name).monitoring.alert_webhook_url
            elif secret in _OF_BUCKETS:
                purpose, what = _OF_BUCKETS[secret]
                bucket = self._bucket(name, purpose)
                assert bucket is not None  # noqa: S101 (checked when this was made)
                output = buckets[bucket.name][_BUCKET_OUTPUTS[what]]
                given[secret] = output.apply(lambda url: url.removeprefix("https://")) if what == "endpoint" else output
            else:
                given[secret] = made[secret]
        return pulumi.Output.all(**given)

    def _unreachable(self) -> Iterable[Problem]:
        for host in self._hosts.values():
            if not host.public and host.jump_host is None:
                allowed = f"an application or monitoring server in region '{host.region}', through which this one is reached"
                yield Problem(host.name, "no public address and no jump host", allowed)

    def _without_source(self) -> Iterable[Problem]:
        for name, needed in self._needed.items():
            for purpose in ("backup", "uploads"):
                missing = sorted(secret for secret in needed & _OF_BUCKETS.keys() if _OF_BUCKETS[secret][0] == purpose)
                if missing and self._bucket(name, purpose) is None:
                    found = f"nothing that gives {name} its secrets {', '.join(missing)}"
                    yield Problem("rungway:edge.buckets", found, f"the {purpose} bucket, with token: write")

    def _bucket(self, name: str, purpose: str) -> BucketSettings | None:
        """The bucket that a server writes its backups, or its users' files, to."""
        host = self._hosts[name]
        wanted = f"{self._settings.name}-{self._settings.backup.bucket}"
        if purpose == "uploads":
            wanted = host.application.uploads_bucket if host.application else ""
        writable = (bucket for bucket in self._settings.edge.buckets if bucket.token == "write")  # noqa: S105 (a kind of token)
        return next((bucket for bucket in writable if f"{self._settings.name}-{bucket.name}" == wanted), None)

    def _region(self, name: str) -> Region:
        return self._regions[self._hosts[name].region]


_BUCKET_OUTPUTS = {"endpoint": "endpoint", "key-id": "access_key_id", "key-secret": "secret_access_key"}
_REQUEST = TypeAdapter(Request)
_CONFIGURATION = TypeAdapter(HostConfiguration)


def _digest(configuration: HostConfiguration) -> str:
    """SHA-256 of the configuration as rendered, with placeholders for all that is secret."""
    return hashlib.sha256(_CONFIGURATION.dump_json(configuration)).hexdigest()
