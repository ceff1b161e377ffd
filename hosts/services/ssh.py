"""SSH: one administrator, by key alone, with modern algorithms.

Nothing watches the log and bans addresses (fail2ban, sshguard): there is no password to guess, the firewall shows the port to the
administrators' networks and the private one alone, and OpenSSH itself slows down whoever fails (PerSourcePenalties, on since 9.8). For
the web such a program would do harm: behind Cloudflare or a load balancer the address that it can ban is theirs. nginx limits there.
"""

from hosts.configuration import HostFile, Service
from hosts.specification import HostSpecification
from hosts.templating import render_template

ADMIN_USER = "admin"
"""The administrator that the first boot made (`hosts.bootstrap`)."""

PATH = "/etc/ssh/sshd_config.d/00-bootstrap.conf"
"""The file of the first boot, which this service replaces: sshd takes the first value that it reads, so no second file could be
stricter."""

_EFFECTIVE = ("permitrootlogin no", "passwordauthentication no", "authenticationmethods publickey", f"allowusers {ADMIN_USER}")
"""What must hold whatever other files say, as `sshd -T` prints it."""


def ssh(host: HostSpecification) -> Service:
    """sshd. Only the servers that administrators reach directly forward connections: to those behind them."""
    forwarding = "local" if host.jump_host is None else "no"
    content = render_template("ssh/sshd.conf", admin_user=ADMIN_USER, forwarding=forwarding)
    effective = (*_EFFECTIVE, f"allowtcpforwarding {forwarding}")
    return Service(
        name="ssh",
        packages=("openssh-server",),
        files=(HostFile(path=PATH, content=content),),
        checks=("sshd -t", *(f"sshd -T | grep --quiet --line-regexp '{line}'" for line in effective)),
        units=("ssh.service",),
        on_change="reload",
        probe="ssh-keyscan -T 5 -t ed25519 127.0.0.1 2>&1 | grep --quiet 'ssh-ed25519 '",
    )
