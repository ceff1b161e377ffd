"""What every server has before any other service: the stack's TLS files, names of its peers, who may be root, and room on its data volume.

The stack's certificate authority is in a file of its own and not in the system's trust store: each client of a store names it, and
in the store it could vouch for every site on the internet to every program.
"""

from hosts.configuration import Account, Directory, HostFile, Service, address_of
from hosts.services.ssh import ADMIN_USER
from hosts.specification import HostSpecification
from hosts.templating import render_template

TLS_DIRECTORY = "/etc/rungway/tls"
TLS_GROUP = "tls-key"
"""Accounts in this group read the server's private key."""

AUTHORITY, CERTIFICATE, KEY = (f"{TLS_DIRECTORY}/{name}" for name in ("authority.crt", "server.crt", "server.key"))
"""The stack's authority, this server's certificate and its private key, each in PEM."""

TLS_FILES = (AUTHORITY, CERTIFICATE, KEY)
"""What a service that speaks TLS reads when it starts, and must read again when it changes (`Service.reads`)."""

UNUSED_UNITS = ("ctrl-alt-del.target", "debug-shell.service")
"""A key press on the provider's console never restarts the server, and no unit opens a root shell there."""


def base(host: HostSpecification) -> Service:
    """The base of a server; converges first."""
    return Service(
        name="base",
        packages=("ca-certificates", "curl", "openssl", "sudo"),
        accounts=(Account(name=TLS_GROUP),),
        directories=(Directory(path="/etc/rungway"), Directory(path=TLS_DIRECTORY)),
        files=(
            HostFile(path=AUTHORITY, content="${tls:authority}"),
            HostFile(path=CERTIFICATE, content="${tls:certificate}"),
            HostFile(path=KEY, content="${tls:key}", group=TLS_GROUP, mode=0o640),
            HostFile(path="/etc/hosts", content=_hosts(host)),
            HostFile(path="/etc/sudoers.d/10-rungway", content=render_template("base/sudoers", admin_user=ADMIN_USER), mode=0o440),
            HostFile(path="/etc/security/limits.d/10-rungway.conf", content=render_template("base/limits.conf")),
            HostFile(path="/etc/systemd/system.conf.d/10-rungway.conf", content=render_template("base/system.conf")),
            HostFile(path="/etc/systemd/system/tmp.mount.d/10-rungway.conf", content=render_template("base/tmp.mount.conf")),
            *_growth(host),
        ),
        checks=(
            "visudo --check --quiet",
            f"openssl verify -CAfile {AUTHORITY} {CERTIFICATE}",
            f'test "$(openssl pkey -in {KEY} -pubout)" = "$(openssl x509 -in {CERTIFICATE} -noout -pubkey)"',
        ),
        units=("grow-data-volume.timer",) if host.data_mount else (),
        masked=UNUSED_UNITS,
    )


def _hosts(host: HostSpecification) -> str:
    servers = [(address_of(host), host.name), *((address_of(peer), peer.name) for peer in host.peers)]
    return render_template("base/hosts", own_name=host.name, servers=servers)


def _growth(host: HostSpecification) -> tuple[HostFile, ...]:
    """A volume that was enlarged is used in full without anybody logging in."""
    if not host.data_mount:
        return ()
    path = "/etc/systemd/system/grow-data-volume"
    return (
        HostFile(path=f"{path}.service", content=render_template("base/grow-data-volume.service", data_mount=host.data_mount)),
        HostFile(path=f"{path}.timer", content=render_template("base/grow-data-volume.timer")),
    )
