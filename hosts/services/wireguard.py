"""WireGuard between the servers of different regions, whose private networks don't meet.

Every server has a link to each server of the other regions, and none stands in between that could fail. Both ends have their own private
addresses in the tunnel too, and each peer's is routed into it: so a server of another region is reached by the address by which its
neighbours reach it, firewalls see the source that they know, and what stays within a region never enters the tunnel.
"""

from hosts.configuration import Directory, HostFile, Service, Task, address_of
from hosts.reachability import TUNNEL_PORT
from hosts.sandbox import sandbox
from hosts.services.exporters import TEXTFILE_DIRECTORY
from hosts.specification import HostSpecification, Peer
from hosts.templating import render_template

INTERFACE = "wg0"

CONFIGURATION = f"/etc/wireguard/{INTERFACE}.conf"

RELOAD_SCRIPT = "/usr/local/lib/rungway/wireguard-reload"

METRICS_SCRIPT = "/usr/local/lib/rungway/wireguard-metrics"
_METRICS = "rungway-wireguard-metrics"
_METRICS_FILE = f"{TEXTFILE_DIRECTORY}/rungway-wireguard.prom"
_UNIT, _TIMER = f"wg-quick@{INTERFACE}.service", f"{_METRICS}.timer"
_DROP_IN = f"/etc/systemd/system/{_UNIT}.d/10-rungway.conf"
_METRICS_UNIT, _METRICS_TIMER = f"/etc/systemd/system/{_METRICS}.service", f"/etc/systemd/system/{_TIMER}"

KEEPALIVE_SECONDS = 25
"""Shorter than the time after which a firewall forgets a silent UDP flow (wireguard.com, "NAT and Firewall Traversal Persistence")."""

DEAD_SECONDS = 300
"""A link without a handshake for so long is dead. Keepalives are traffic, and with traffic a session is renewed after 120 s and worthless
after 180 s (WireGuard whitepaper, 6.1: REKEY_AFTER_TIME, REJECT_AFTER_TIME); the figure may be 75 s old, as it is written each minute."""


def linked_peers(host: HostSpecification) -> tuple[Peer, ...]:
    """The servers of other regions that `host` has a link to. Kubernetes' nodes have none: they are not converged."""
    if _is_node(host):
        return ()
    return tuple(peer for peer in host.peers if peer.region != host.region and not _is_node(peer))


def wireguard(host: HostSpecification) -> Service:
    """The links of a server; where it has none, what makes sure of that: a stack may go back to one region."""
    peers = linked_peers(host)
    return _links(host, peers) if peers else _no_links()


def _no_links() -> Service:
    """Takes down what an earlier convergence has put up. `absent` can't: the link's unit needs its configuration to stop."""
    # The drop-in is the mark of what is ours, somebody else's tunnel of that name stays; and it goes last, when nothing is left to do.
    files = (CONFIGURATION, _METRICS_UNIT, _METRICS_TIMER, METRICS_SCRIPT, _METRICS_FILE, RELOAD_SCRIPT, _DROP_IN)
    return Service(
        name="no-wireguard",
        before=(
            Task(
                name="links to regions that are no more",
                unless=f"test ! -e {_DROP_IN}",
                script=render_template("wireguard/remove.sh", unit=_UNIT, timer=_TIMER, files=files),
            ),
        ),
    )


def _links(host: HostSpecification, peers: tuple[Peer, ...]) -> Service:
    named = [(peer.name, address_of(peer)) for peer in peers]
    content = render_template(
        "wireguard/wg0.conf",
        address=address_of(host),
        port=TUNNEL_PORT,
        peers=named,
        keepalive_seconds=KEEPALIVE_SECONDS,
    )
    return Service(
        name="wireguard",
        packages=("wireguard-tools",),
        directories=(Directory(path=TEXTFILE_DIRECTORY),),
        files=(
            HostFile(path=CONFIGURATION, content=content, mode=0o600),
            HostFile(
                path=_DROP_IN,
                content=render_template("wireguard/wg-quick.service.conf", script=RELOAD_SCRIPT),
            ),
            HostFile(
                path=RELOAD_SCRIPT,
                content=render_template("wireguard/reload.sh", interface=INTERFACE, configuration=CONFIGURATION),
                mode=0o755,
            ),
            HostFile(
                path=METRICS_SCRIPT,
                content=render_template("wireguard/metrics.sh", interface=INTERFACE, target=_METRICS_FILE, peers=named),
                mode=0o755,
            ),
            HostFile(
                path=_METRICS_UNIT,
                content=render_template(
                    "wireguard/metrics.service",
                    program=METRICS_SCRIPT,
                    sandbox=sandbox(writable=(TEXTFILE_DIRECTORY,), capabilities=("CAP_NET_ADMIN",)),
                ),
            ),
            HostFile(path=_METRICS_TIMER, content=render_template("wireguard/metrics.timer")),
        ),
        # All of it is tried where nothing else sees it: an interface of that name in a network of its own.
        checks=(
            "unshare --net --mount bash -euc 'mkdir --parents /run/wireguard; mount -t tmpfs tmpfs /run/wireguard; "
            f"wg-quick up {INTERFACE}; wg-quick down {INTERFACE}'",
        ),
        units=(_UNIT, _TIMER),
        on_change="reload",
        probe=f'test "$(wg show {INTERFACE} peers | wc --lines)" -eq {len(peers)}',
    )


def _is_node(server: HostSpecification | Peer) -> bool:
    return server.role.startswith("kubernetes-")
