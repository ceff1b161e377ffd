"""Journals: sent over TLS to the right server, received from the stack's servers alone, and thrown away in time."""

from hosts.services.logs import logs
from hosts.specification import Peer
from tests.support.monitored_hosts import (
    APP_PEER,
    DATABASE_PEER,
    MONITORING,
    MONITORING_PEER,
    REDIS_PEER,
    content,
    host,
    monitoring_host,
    service_of,
)

UPLOAD = "/etc/systemd/journal-upload.conf.d/rungway.conf"
SOCKET = "/etc/systemd/system/systemd-journal-remote.socket.d/rungway.conf"


def test_a_stack_without_a_monitoring_server_keeps_its_logs_where_they_are() -> None:
    assert logs(host(APP_PEER)) is None


def test_a_server_that_watches_itself_alone_receives_nothing() -> None:
    assert logs(host(APP_PEER, monitoring=MONITORING)) is None


def test_a_server_sends_its_journal_over_tls_to_the_monitoring_server() -> None:
    service = service_of(logs, host(APP_PEER, peers=(DATABASE_PEER, MONITORING_PEER)))

    assert content(service, UPLOAD) == (
        "[Upload]\n"
        "URL=https://10.0.4.10:19532\n"
        "ServerKeyFile=/etc/rungway/tls/server.key\n"
        "ServerCertificateFile=/etc/rungway/tls/server.crt\n"
        "TrustedCertificateFile=/etc/rungway/tls/authority.crt\n"
    )
    assert service.units == ("systemd-journal-upload.service",)
    assert "systemd-journal-remote.socket" in service.masked
    drop_in = content(service, "/etc/systemd/system/systemd-journal-upload.service.d/rungway.conf")
    assert "SupplementaryGroups=tls-key\n" in drop_in
    assert "StartLimitIntervalSec=0\n" in drop_in


def test_each_region_sends_to_its_own_monitoring_server() -> None:
    other = Peer("monitoring-us-1", "monitoring", None, "us", services=("monitoring",))
    american = Peer("app-us-1", "app", None, "us")

    assert "URL=https://${address:monitoring-us-1}:19532\n" in content(
        service_of(logs, host(american, peers=(MONITORING_PEER, other))), UPLOAD
    )
    assert "URL=https://10.0.4.10:19532\n" in content(service_of(logs, host(APP_PEER, peers=(other, MONITORING_PEER))), UPLOAD)


def test_the_monitoring_server_receives_from_the_servers_that_it_watches_and_from_nobody_else() -> None:
    service = service_of(logs, monitoring_host(peers=(APP_PEER, DATABASE_PEER, REDIS_PEER)))

    socket = content(service, SOCKET)
    assert "ListenStream=\nListenStream=10.0.4.10:19532\n" in socket
    assert socket.endswith("IPAddressDeny=any\nIPAddressAllow=10.0.1.10\nIPAddressAllow=10.0.2.10\nIPAddressAllow=10.0.3.10\n")
    assert service.masked == ("systemd-journal-upload.service", "systemd-journal-gatewayd.socket")


def test_journals_are_on_the_volume_and_end_with_the_retention() -> None:
    service = service_of(logs, monitoring_host())

    receiver = content(service, "/etc/systemd/system/systemd-journal-remote.service.d/rungway.conf")
    assert "--output=/srv/data/journal/\nReadWritePaths=/srv/data/journal\n" in receiver
    assert "--directory=/srv/data/journal --vacuum-time=30d\n" in content(service, "/etc/systemd/system/rungway-journal-vacuum.service")
    (directory,) = service.directories
    assert (directory.path, directory.owner, directory.mode) == ("/srv/data/journal", "systemd-journal-remote", 0o750)


def test_without_a_volume_journals_are_where_the_package_keeps_them() -> None:
    (directory,) = service_of(logs, monitoring_host(data_mount=None)).directories

    assert directory.path == "/var/log/journal/remote"
