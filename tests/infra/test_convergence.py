"""`pulumi up` converges every server of a stack that names a key: who is asked what, with which secrets, and when."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from components.generated_secrets import LENGTH
from hosts.configuration import HostConfiguration
from hosts.converge.request import Request
from hosts.render import host_configuration
from hosts.secrets import fill_in
from infra.build import build_stack
from infra.host_specifications import host_specifications
from infra.problems import SettingsError
from infra.settings import Settings
from rungway.facts import check_inputs
from rungway.model import SECRET, Plan, Resource
from rungway.provider_packages import bare_provider_packages
from rungway.recorder import Recording, record
from tests.support.deployed import deploy, id_of
from tests.support.stack_config import problems, read

KEY: dict[str, Any] = {"ssh_key_file": "~/.ssh/id_ed25519"}
STORES: dict[str, Any] = {
    "app": {"servers": 2, "server_type": "cx33", "image": "registry.example/shop:1"},
    "database": {"nodes": 1, "server_type": "cx33", "volume_size_gb": 10},
    "redis": {"nodes": 1, "server_type": "cx23"},
    "monitoring": {"servers": 1, "server_type": "cx33"},
    "load_balancer": {"enabled": True, "type": "lb11"},
}
BACKUPS: dict[str, Any] = {
    "edge": {"buckets": [{"name": "images", "token": "write"}, {"name": "backups", "token": "write"}]},
    "backup": {"enabled": True, "bucket": "backups"},
}
PROVIDERS = {
    "Server": {"ipv4Address": "203.0.113.7"},
    "PrimaryIp": {"ipAddress": "203.0.113.7"},
    "RandomPassword": {"result": "p" * LENGTH},
    "AccountToken": {"value": "token"},
    "OriginCaCertificate": {"certificate": "PEM"},
}


def _record(settings: Settings) -> Recording:
    with bare_provider_packages():
        return record(lambda: build_stack(settings), project="rungway", stack="test", config={})


def _commands(recording: Recording) -> dict[str, Resource]:
    return {each.name.removesuffix("-configuration"): each for each in recording.resources if each.type == "command:local:Command"}


def _requests(settings: Settings, computed: dict[str, dict[str, Any]] | None = None) -> dict[str, Request]:
    """What each server is asked once everything is there."""
    inputs = deploy(lambda: build_stack(settings), {**PROVIDERS, **(computed or {})}).inputs
    stdin = {name.removesuffix("-configuration"): values["stdin"]["value"] for (kind, name), values in inputs.items() if kind == "Command"}
    return {name: TypeAdapter(Request).validate_json(text) for name, text in stdin.items()}


def test_without_a_key_nothing_converges_and_nothing_is_generated() -> None:
    packages = {resource.type.split(":")[0] for resource in _record(read(**STORES)).resources}

    assert packages == {"rungway", "hcloud", "cloudflare"}


def test_every_server_converges_and_every_input_is_one_that_the_provider_takes() -> None:
    recording = _record(read(**STORES, **BACKUPS, convergence=KEY))

    assert list(_commands(recording)) == ["database-eu-1", "redis-eu-1", "monitoring-eu-1", "app-eu-1", "app-eu-2"]
    assert [finding for resource in recording.resources for finding in check_inputs(resource)] == []
    assert {resource.inputs["stdin"] for resource in _commands(recording).values()} == {SECRET}


def test_a_server_waits_for_its_network_and_volume_and_applications_for_the_stores() -> None:
    commands = _commands(_record(read(**STORES, convergence=KEY)))

    def waits_for(name: str) -> set[str]:
        return {urn.split("::", 2)[2].rsplit("$", 1)[-1] for urn in commands[name].dependencies}

    assert waits_for("database-eu-1") >= {
        "hcloud:index/server:Server::database-eu-1",
        "hcloud:index/serverNetwork:ServerNetwork::database-eu-1-private",
        "hcloud:index/volumeAttachment:VolumeAttachment::database-eu-1-data-attachment",
        "hcloud:index/server:Server::monitoring-eu-1",
    }
    stores = {f"command:local:Command::{name}-configuration" for name in ("database-eu-1", "redis-eu-1", "monitoring-eu-1")}
    assert waits_for("app-eu-1") >= stores
    assert not [name for name in ("database-eu-1", "redis-eu-1", "monitoring-eu-1") if waits_for(name) & stores]


def test_the_first_application_server_waits_for_the_volume_that_is_not_its_own() -> None:
    settings = read(app={"servers": 1, "server_type": "cx33", "data_volume_size_gb": 10}, convergence=KEY)
    dependencies = _commands(_record(settings))["app-eu-1"].dependencies

    assert any(urn.endswith("VolumeAttachment::app-eu-1-data-attachment") for urn in dependencies)


def test_the_digest_is_of_what_is_rendered_and_says_nothing_of_secrets() -> None:
    settings = read(**STORES, convergence=KEY)
    commands = _commands(_record(settings))

    for host in host_specifications(settings):
        rendered = TypeAdapter(HostConfiguration).dump_json(host_configuration(host))
        assert commands[host.name].inputs["environment"]["RUNGWAY_CONFIGURATION_DIGEST"] == hashlib.sha256(rendered).hexdigest()


def test_a_changed_setting_changes_the_digest_of_the_servers_that_it_means() -> None:
    def digests(**redis: Any) -> dict[str, str]:
        settings = read(**{**STORES, "redis": {**STORES["redis"], **redis}}, convergence=KEY)
        return {name: each.inputs["environment"]["RUNGWAY_CONFIGURATION_DIGEST"] for name, each in _commands(_record(settings)).items()}

    before, after = digests(), digests(max_memory_mb=300)
    assert {name for name in before if before[name] != after[name]} == {"redis-eu-1"}


def test_secrets_that_the_stack_makes_are_all_protected_and_the_others_are_not_made() -> None:
    recording = _record(read(**STORES, **BACKUPS, convergence=KEY))
    made = {resource.name: resource.protect for resource in recording.resources if resource.type.startswith("random:")}

    assert {"secret-certificate-authority", "secret-postgresql-application", "secret-redis", "secret-backup-cipher"} <= set(made)
    assert all(made.values())
    assert not [name for name in made if "key" in name or "endpoint" in name or "webhook" in name or "origin" in name]


def test_a_request_holds_exactly_what_its_server_needs_from_where_it_comes() -> None:
    settings = read(
        **{**STORES, **BACKUPS, "monitoring": {**STORES["monitoring"], "alert_webhook_url": "https://hooks.example/1"}}, convergence=KEY
    )
    requests = _requests(settings)

    for name, request in requests.items():
        assert request.configuration == next(host_configuration(host) for host in host_specifications(settings) if host.name == name)
        filled = fill_in(request.configuration, secrets=request.secrets, addresses=request.addresses)
        assert "${" not in json.dumps([file.content for file in filled.files if file.path.endswith((".env", ".acl"))])
    token = hashlib.sha256(b"token").hexdigest()
    endpoint = f"{'0' * 32}.r2.cloudflarestorage.com"
    database, app = requests["database-eu-1"].secrets, requests["app-eu-1"].secrets
    assert (database["backup-endpoint"], database["backup-key-secret"]) == (endpoint, token)
    assert database["backup-key-id"] == id_of("AccountToken", "bucket-backups-token")
    assert (app["uploads-endpoint"], app["uploads-key-secret"]) == (endpoint, token)
    assert app["uploads-key-id"] == id_of("AccountToken", "bucket-images-token")
    assert app["postgresql-application"] == "p" * LENGTH
    assert "backup-cipher" not in app
    assert requests["monitoring-eu-1"].secrets["alert-webhook-url"] == "https://hooks.example/1"


def test_application_servers_wait_for_one_certificate_by_cloudflare_and_no_other_server_does() -> None:
    recording = _record(read(**STORES, convergence=KEY))
    (certificate,) = [resource for resource in recording.resources if resource.type.endswith(":OriginCaCertificate")]
    waiting = {name for name, command in _commands(recording).items() if certificate.urn in command.dependencies}
    given = {name for name, request in _requests(read(**STORES, convergence=KEY)).items() if "origin-certificate" in request.secrets}

    assert certificate.inputs["hostnames"] == ["api.example.com"]
    assert waiting == given == {"app-eu-1", "app-eu-2"}


def test_an_acme_authority_and_a_stack_without_cloudflare_ask_cloudflare_for_no_certificate() -> None:
    by_acme = read(**STORES, edge={"zone": {"origin_certificate": "acme"}}, convergence=KEY)
    without = read(**STORES, edge={"enabled": False, "tls": False}, convergence=KEY)

    for settings in (by_acme, without):
        assert not [resource for resource in _record(settings).resources if "origin" in resource.type.lower()]
    (app,) = {host.application for host in host_specifications(by_acme) if host.name == "app-eu-1"}
    assert app is not None
    assert not app.origin_certificate


def test_no_webhook_is_asked_for_while_nobody_is_to_be_told() -> None:
    assert "alert-webhook-url" not in _requests(read(**STORES, convergence=KEY))["monitoring-eu-1"].secrets


def test_servers_without_a_public_address_are_reached_through_the_jump_host() -> None:
    """The smallest private network: one application server, one database."""
    settings = read(
        app={"servers": 1, "server_type": "cx33"}, database={"nodes": 1, "server_type": "cx33", "volume_size_gb": 10}, convergence=KEY
    )
    requests = _requests(settings)

    def way(name: str) -> tuple[str, str | None]:
        return requests[name].connection.address, requests[name].connection.jump_address

    assert way("app-eu-1") == ("203.0.113.7", None)
    assert way("database-eu-1") == ("10.0.2.10", "203.0.113.7")
    assert {str(request.connection.key_file) for request in requests.values()} == {"~/.ssh/id_ed25519"}
    assert {str(request.connection.known_hosts_file) for request in requests.values()} == {"~/.ssh/known_hosts.shop"}


def test_addresses_that_the_provider_assigns_are_filled_in_when_they_are_known() -> None:
    settings = read(
        provider="digitalocean",
        regions=[{"name": "eu", "location": "fra1"}],
        app={"servers": 1, "server_type": "s-2vcpu-4gb"},
        database={"nodes": 1, "server_type": "s-2vcpu-4gb", "volume_size_gb": 10},
        convergence=KEY,
    )
    droplet = {"ipv4Address": "203.0.113.8", "ipv4AddressPrivate": "10.9.0.3"}
    requests = _requests(settings, {"Droplet": droplet})

    assert requests["database-eu-1"].addresses == {"app-eu-1": "10.9.0.3", "database-eu-1": "10.9.0.3"}
    assert requests["database-eu-1"].connection.address == "10.9.0.3"
    assert requests["database-eu-1"].connection.jump_address == id_of("ReservedIp", "app-eu-1-ipv4")


def test_servers_of_other_regions_are_reached_by_their_public_addresses() -> None:
    """At both providers, with a database that has no public IPv4 address."""
    settings = read(
        regions=[
            {"name": "eu", "location": "nbg1", "database": {"nodes": 1, "server_type": "cx33", "volume_size_gb": 10}},
            {"name": "us", "provider": "digitalocean", "location": "nyc3", "app": {"servers": 1, "server_type": "s-2vcpu-4gb"}},
        ],
        app={"servers": 1, "server_type": "cx33"},
        convergence=KEY,
    )
    hetzner = {**PROVIDERS["Server"], "ipv6Address": "2001:db8:1::1"}
    droplet = {"ipv4Address": "203.0.113.8", "ipv4AddressPrivate": "10.1.0.3", "ipv6Address": "2001:db8:2::1"}
    requests = _requests(settings, {"Server": hetzner, "Droplet": droplet})

    assert requests["database-eu-1"].public_addresses == requests["app-eu-1"].public_addresses == {"app-us-1": "2001:db8:2::1"}
    assert requests["app-us-1"].public_addresses == dict.fromkeys(("app-eu-1", "database-eu-1"), "2001:db8:1::1")
    for request in requests.values():
        configuration = request.configuration
        filled = fill_in(configuration, secrets=request.secrets, addresses=request.addresses, public_addresses=request.public_addresses)
        (text,) = (file.content for file in filled.files if file.path == "/etc/wireguard/wg0.conf")
        for server, public in request.public_addresses.items():
            assert f"AllowedIPs = {request.addresses[server]}/32\nEndpoint = [{public}]:51820\n" in text


def test_servers_of_one_region_are_given_no_public_addresses() -> None:
    assert {
        name: request.public_addresses for name, request in _requests(read(**STORES, convergence=KEY)).items() if request.public_addresses
    } == {}


def test_what_a_server_needs_and_nothing_gives_is_one_error_before_anything_is_registered() -> None:
    backups = {**BACKUPS, "edge": {"buckets": [{"name": "backups", "token": "read"}]}}
    with pytest.raises(SettingsError) as caught:
        _record(read(**STORES, **backups, convergence=KEY))

    assert [str(problem) for problem in caught.value.problems] == [
        f"rungway:edge.buckets: found nothing that gives {name} its secrets backup-endpoint, backup-key-id, backup-key-secret; "
        "allowed: the backup bucket, with token: write"
        for name in ("database-eu-1", "redis-eu-1")
    ]


def test_a_server_that_nobody_can_reach_is_an_error() -> None:
    database = {"nodes": 1, "server_type": "cx33", "volume_size_gb": 10}
    with pytest.raises(SettingsError) as caught:
        _record(read(app={}, database=database, convergence=KEY))

    assert str(caught.value.problems[0]).startswith("database-eu-1: found no public address and no jump host; allowed: ")


def test_a_key_whose_place_depends_on_the_folder_is_refused() -> None:
    assert problems(convergence={"ssh_key_file": "id_ed25519"}) == [
        "rungway:convergence.ssh_key_file: found 'id_ed25519'; allowed: a path that starts with / or ~"
    ]


def test_a_plan_holds_no_secret() -> None:
    settings = read(**{**STORES, "monitoring": {**STORES["monitoring"], "alert_webhook_url": "https://hooks.example/1"}}, convergence=KEY)

    assert "hooks.example" not in repr(Plan("test", "test", "rungway", _record(settings).resources))
