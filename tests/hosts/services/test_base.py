"""The base of a server: its TLS files, its peers' names, and a volume that is used in full."""

from hosts.configuration import HostConfiguration, Service
from hosts.services.base import AUTHORITY, CERTIFICATE, KEY, TLS_GROUP, base
from hosts.specification import HostSpecification, Peer
from tests.support.minimal_host import minimal_host


def _file(path: str, host: HostSpecification | None = None) -> str:
    return {file.path: file.content for file in base(host or minimal_host()).files}[path]


def test_the_private_key_is_for_its_group_alone() -> None:
    service = base(minimal_host())
    key = next(file for file in service.files if file.path == "/etc/rungway/tls/server.key")
    assert (key.owner, key.group, key.mode, key.is_secret) == ("root", TLS_GROUP, 0o640, True)
    assert TLS_GROUP in {account.name for account in service.accounts}
    assert {file.path for file in service.files if file.path.startswith("/etc/rungway/") and file.mode == 0o644} == {
        "/etc/rungway/tls/authority.crt",
        "/etc/rungway/tls/server.crt",
    }


READ_OTHERWISE = {
    "base": "it writes them",
    "certificates": "its script reads them each time",
    "prometheus": "it looks at the authority's file for each connection (prometheus/common, NewTLSRoundTripper)",
    "application": "its rollout compares the authority with the one that it rolled out with",
    "postgresql-follow": "each run reads them anew",
    "postgresql-cluster": "each run of the copy reads them anew",
}


def _reads_by_name(service: Service) -> set[str]:
    """The TLS files that a file of the service names; HAProxy names the authority without its folder."""
    texts = [file.content for file in service.files]
    return {
        path
        for path in (AUTHORITY, CERTIFICATE, KEY)
        if any(path in text or f"ca-file {path.rpartition('/')[2]}" in text for text in texts)
    }


def test_whoever_reads_a_tls_file_is_told_of_a_new_one(configurations: dict[str, dict[str, HostConfiguration]]) -> None:
    services = [service for servers in configurations.values() for server in servers.values() for service in server.services]
    readers = [service for service in services if service.units and service.name not in READ_OTHERWISE and _reads_by_name(service)]

    assert {"redis", "patroni", "pgbouncer", "etcd", "haproxy", "logs", "grafana", "exporters"} <= {service.name for service in readers}
    assert {service.name: missing for service in readers if (missing := _reads_by_name(service) - set(service.reads))} == {}


def test_every_server_knows_every_other_by_its_private_address() -> None:
    peers = (Peer("database-eu-1", "database", "10.0.2.10"), Peer("app-us-1", "app", None))
    lines = _file("/etc/hosts", minimal_host(peers=peers)).splitlines()
    assert lines[:3] == ["10.0.1.10 app-eu-1", "10.0.2.10 database-eu-1", "${address:app-us-1} app-us-1"]


def test_a_server_with_an_assigned_address_is_a_placeholder_to_itself() -> None:
    assert _file("/etc/hosts", minimal_host(private_address=None)).startswith("${address:app-eu-1} app-eu-1\n")


def test_cloud_init_finds_its_own_line() -> None:
    """Otherwise it would write the file at each boot, and each convergence would write it back (cloudinit.distros, update_etc_hosts)."""
    assert "127.0.1.1 app-eu-1 app-eu-1" in _file("/etc/hosts").splitlines()


def test_a_server_with_a_volume_grows_its_file_system() -> None:
    service = base(minimal_host(data_mount="/srv/data"))
    assert service.units == ("grow-data-volume.timer",)
    unit = _file("/etc/systemd/system/grow-data-volume.service", minimal_host(data_mount="/srv/data"))
    assert "ExecStart=/usr/lib/systemd/systemd-growfs /srv/data\n" in unit
    assert "ConditionPathIsMountPoint=/srv/data\n" in unit


def test_a_server_without_a_volume_has_nothing_to_grow() -> None:
    service = base(minimal_host(data_mount=None))
    assert service.units == ()
    assert not [file.path for file in service.files if "grow" in file.path]


def test_sudo_reads_the_policy_and_the_checks_do_first() -> None:
    service = base(minimal_host())
    policy = next(file for file in service.files if file.path == "/etc/sudoers.d/10-rungway")
    assert policy.mode == 0o440
    assert "." not in policy.path.rsplit("/", 1)[1], "sudo skips files with a dot in their name"
    assert "visudo --check --quiet" in service.checks
    assert "admin ALL=(ALL:ALL) NOPASSWD: ALL" in policy.content.splitlines()


def test_a_percent_sign_is_doubled_in_a_unit() -> None:
    assert "nosuid,nodev,size=20%%," in _file("/etc/systemd/system/tmp.mount.d/10-rungway.conf")
