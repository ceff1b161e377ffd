"""Logs of every server on the monitoring server: journals are sent there over TLS as they are written, and kept as journals.

They need no container and no index: `journalctl --directory=...` reads all of them, and Loki gets them from there.
"""

from typing import Any

from hosts.configuration import Directory, HostFile, Service, address_of
from hosts.services.base import TLS_FILES
from hosts.services.prometheus import monitor_of, watched
from hosts.specification import HostSpecification
from hosts.templating import render_template

PORT = 19532
"""Where journals are received: systemd's own port."""

_UPLOAD, _REMOTE = "systemd-journal-upload", "systemd-journal-remote"


def logs(host: HostSpecification) -> Service | None:
    """Receives journals on a monitoring server and sends them from any other; None where there is nobody to send, or to send to."""
    if host.monitoring:
        if len(watched(host)) == 1:
            return None
        return _receiver(host, host.monitoring.retention_days)
    monitor = monitor_of(host.region, host.peers)
    return _sender(address_of(monitor)) if monitor else None


def journal_directory(host: HostSpecification) -> str:
    """Where the monitoring server keeps the journals of the others."""
    return f"{host.data_mount}/journal" if host.data_mount else "/var/log/journal/remote"


def _receiver(host: HostSpecification, retention_days: int) -> Service:
    directory = journal_directory(host)
    # The servers themselves, not the whole network: Debian builds the receiver without a check of the senders' certificates.
    senders = [address_of(server) for server in watched(host) if server.name != host.name]
    units: dict[str, dict[str, Any]] = {
        "service": {"directory": directory},
        "socket": {"address": address_of(host), "port": PORT, "senders": senders},
    }
    return Service(
        name="logs",
        packages=(_REMOTE,),
        directories=(Directory(path=directory, owner=_REMOTE, group=_REMOTE, mode=0o750),),
        files=(
            HostFile(path="/etc/systemd/journal-remote.conf.d/rungway.conf", content=render_template("logs/journal-remote.conf")),
            *(
                HostFile(
                    path=f"/etc/systemd/system/{_REMOTE}.{kind}.d/rungway.conf", content=render_template(f"logs/receiver.{kind}", **values)
                )
                for kind, values in units.items()
            ),
            *(
                HostFile(
                    path=f"/etc/systemd/system/rungway-journal-vacuum.{kind}",
                    content=render_template(f"logs/rungway-journal-vacuum.{kind}", directory=directory, days=retention_days),
                )
                for kind in ("service", "timer")
            ),
        ),
        reads=TLS_FILES,
        units=(f"{_REMOTE}.socket", "rungway-journal-vacuum.timer"),
        masked=(f"{_UPLOAD}.service", "systemd-journal-gatewayd.socket"),
        probe=f"systemctl is-active --quiet {_REMOTE}.socket",
    )


def _sender(monitor_address: str) -> Service:
    return Service(
        name="logs",
        packages=(_REMOTE,),
        files=(
            HostFile(
                path="/etc/systemd/journal-upload.conf.d/rungway.conf",
                content=render_template("logs/journal-upload.conf", url=f"https://{monitor_address}:{PORT}"),
            ),
            HostFile(path=f"/etc/systemd/system/{_UPLOAD}.service.d/rungway.conf", content=render_template("logs/sender.service")),
        ),
        reads=TLS_FILES,
        units=(f"{_UPLOAD}.service",),
        masked=(f"{_REMOTE}.socket", "systemd-journal-gatewayd.socket"),
    )
