"""The clock: certificates, tokens, replication and the order of log lines rely on it."""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template

NTS_SERVERS = ("time.cloudflare.com", "nts.netnod.se", "ptbtime1.ptb.de", "ptbtime2.ptb.de")
"""Time with proof of its sender (RFC 8915), of three operators on different grounds and of no provider of ours: Cloudflare, Netnod (Sweden)
and the Physikalisch-Technische Bundesanstalt (Germany), as their own pages list them."""


def clock(_: HostSpecification) -> Service:
    """chrony as a client. Its unit doesn't start where the clock can't be set (ConditionCapability), as in containers."""
    return Service(
        name="clock",
        packages=("chrony",),
        files=(HostFile(path="/etc/chrony/chrony.conf", content=render_template("clock/chrony.conf", servers=NTS_SERVERS)),),
        checks=("chronyd -p -f /etc/chrony/chrony.conf > /dev/null",),
        units=("chrony.service",),
    )
