"""Logs on the server itself: enough to find out what happened, and not so much, nor for so long, that they become a problem themselves."""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template

RETENTION_DAYS = 30
"""Logs hold addresses of people. After 30 days the server forgets them; what is kept longer is kept by the monitoring server."""

DISK_PERCENT = 5
LARGEST_MB = 2048
"""The journal's share of the server's own disk, in percent, and its upper limit in MiB."""


def journal(host: HostSpecification) -> Service:
    """journald on the disk, and logrotate for the programs that write files."""
    size_mb = min(LARGEST_MB, host.disk_gb * 1000 * DISK_PERCENT // 100)
    return Service(
        name="journal",
        packages=("logrotate",),
        files=(
            HostFile(
                path="/etc/systemd/journald.conf.d/10-rungway.conf",
                content=render_template("journal/journald.conf", size_mb=size_mb, retention_days=RETENTION_DAYS),
            ),
        ),
        units=("systemd-journald.service", "logrotate.timer"),
        probe="journalctl --disk-usage --quiet && test -d /var/log/journal",
    )
