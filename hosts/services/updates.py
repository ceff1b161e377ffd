"""Security updates every night, one server of the stack after the other, each with a restart when the update
needs one: for a new kernel, or because a program still runs a library that was replaced.
"""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template

FIRST_HOUR_UTC = 2
SLOT_MINUTES = 20
"""Updates of a night and a restart: minutes for an update with a new kernel and one for the restart, with room for a slow mirror."""


def slot(host: HostSpecification) -> tuple[int, int]:
    """Hour and minute (UTC) at which the host updates and, if need be, restarts.

    No other server of the stack has the same, whatever its role, until there are more than 72: neither two nodes of one database nor a
    node and the witness that elects the other one may be away at once.
    """
    names = sorted([host.name, *(peer.name for peer in host.peers)])
    minutes = FIRST_HOUR_UTC * 60 + names.index(host.name) * SLOT_MINUTES
    return minutes // 60 % 24, minutes % 60


def updates(host: HostSpecification) -> Service:
    """unattended-upgrades. A missed night is caught up the next one, not at an hour when others restart."""
    hour, minute = slot(host)
    return Service(
        name="updates",
        packages=("unattended-upgrades",),
        files=(
            HostFile(path="/etc/apt/apt.conf.d/90-rungway", content=render_template("updates/apt.conf")),
            HostFile(
                path="/etc/systemd/system/apt-daily-upgrade.timer.d/10-rungway.conf",
                content=render_template("updates/apt-daily-upgrade.timer.conf", time=f"{hour:02}:{minute:02}"),
            ),
            HostFile(
                path="/etc/systemd/system/apt-daily-upgrade.service.d/10-rungway.conf",
                content=render_template("updates/apt-daily-upgrade.service.conf"),
            ),
            HostFile(path="/usr/local/sbin/restart-after-upgrade", content=render_template("updates/restart-after-upgrade.sh"), mode=0o755),
        ),
        checks=(
            "apt-config dump > /dev/null",
            # Another file could still add origins or take the restart away.
            "apt-config dump | grep --quiet --line-regexp 'Unattended-Upgrade::Automatic-Reboot \"true\";'",
            "test \"$(apt-config dump | grep --count '^Unattended-Upgrade::Origins-Pattern:: ')\" = 1",
        ),
        units=("apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service"),
    )
