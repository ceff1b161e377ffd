"""The networks of a rehearsal: a private one a region, and one that stands for the internet, in namespaces that nothing outside can see."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hosts.reachability import TUNNEL_PORT
from rungway.rehearsal.roots import run

OUTSIDE = "198.51.100.1"
OUTSIDE_V6 = "2001:db8:100::1"
"""The world outside: router, name server, object store, certificate authority, administrator (documentation networks: RFC 5737, 3849)."""
VISITOR = "173.245.48.9"
"""An address of Cloudflare's, from which web traffic comes when Cloudflare is in front."""
STRANGER = "203.0.113.9"
"""An address that no firewall rule knows."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server is: in the private network of its region, and on the internet, where a private server has no IPv4 address."""

    private: str
    public: str | None
    public_v6: str
    region: str


class Network:
    """Namespaces of one rehearsal: `name`, a dot that no name has, and the server; `outside` is the one of the world outside."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}."
        self._count = 0
        self._private: dict[str, str] = {}
        self.hub = f"{self._prefix}hub"
        self.outside = f"{self._prefix}outside"

    def create(self) -> None:
        """Make the internet, a bridge in a namespace without a way out, and the world outside."""
        run(["ip", "netns", "add", self.hub])
        self._bridge("internet")
        run(["ip", "netns", "add", self.outside])
        self._ip(self.outside, "link", "set", "lo", "up")
        self._join(self.outside, "internet", "eth0", [f"{OUTSIDE}/24", f"{OUTSIDE_V6}/64", f"{VISITOR}/32", f"{STRANGER}/32"])

        # Web traffic comes from Cloudflare, be it a visitor's or the certificate authority's.
        for port in ("80", "443"):
            self._ip(self.outside, "rule", "add", "ipproto", "tcp", "dport", port, "lookup", "80")
        self._ip(self.outside, "route", "add", "198.51.100.0/24", "dev", "eth0", "src", VISITOR, "table", "80")

    def add_server(self, name: str, addresses: Addresses, private_prefix: int) -> str:
        """A namespace for a server with its interfaces; returns its name. Private networks of two regions don't meet."""
        namespace = self.namespace(name)
        run(["ip", "netns", "add", namespace])
        self._ip(namespace, "link", "set", "lo", "up")
        public = [f"{addresses.public_v6}/64", *([f"{addresses.public}/24"] if addresses.public else [])]
        self._join(namespace, "internet", "eth0", public)
        if addresses.region not in self._private:
            self._private[addresses.region] = f"private{len(self._private) + 1}"
            self._bridge(self._private[addresses.region])
        self._join(namespace, self._private[addresses.region], "eth1", [f"{addresses.private}/{private_prefix}"])
        if addresses.public:
            self._ip(namespace, "route", "add", "default", "via", OUTSIDE)
        self._ip(namespace, "-6", "route", "add", "default", "via", OUTSIDE_V6)
        return namespace

    def namespace(self, name: str) -> str:
        """The namespace of a server."""
        return f"{self._prefix}{name}"

    def watch_regions(self, servers: Iterable[Addresses]) -> None:
        """Count, from now on, what passes from servers of one region to those of others: `passed_between_regions` tells."""
        regions: dict[str, list[Addresses]] = {}
        for server in servers:
            regions.setdefault(server.region, []).append(server)
        run(["ip", "netns", "exec", self.hub, "nft", _watching(list(regions.values()))])

    def passed_between_regions(self) -> tuple[int, int]:
        """Packets of WireGuard, and other packets, that passed between regions since they are counted."""
        said = json.loads(run(["ip", "netns", "exec", self.hub, "nft", "--json", "list counters table bridge regions"]))
        counted = {item["counter"]["name"]: int(item["counter"]["packets"]) for item in said["nftables"] if "counter" in item}
        return counted["wireguard"], counted["others"]

    def cut(self, name: str) -> None:
        """Take a server's links down, as when its power fails."""
        for interface in ("eth0", "eth1"):
            self._ip(self.namespace(name), "link", "set", interface, "down")

    def slow(self, name: str, rate: str) -> None:
        """Limit what a server sends over the private network, for example to '1mbit'."""
        self._tc(name, "qdisc", "replace", "dev", "eth1", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")

    def restore_speed(self, name: str) -> None:
        """Lift the limit."""
        self._tc(name, "qdisc", "del", "dev", "eth1", "root")

    def remove_server(self, name: str) -> None:
        """Remove a server's namespace; its links go with it."""
        subprocess.run(["ip", "netns", "delete", self.namespace(name)], capture_output=True, check=False)

    def remove(self) -> None:
        """Remove every namespace of the rehearsal."""
        for path in Path("/run/netns").glob(f"{self._prefix}*"):
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)

    def _bridge(self, name: str) -> None:
        self._ip(self.hub, "link", "add", name, "type", "bridge", "forward_delay", "0")
        self._ip(self.hub, "link", "set", name, "up")

    def _join(self, namespace: str, bridge: str, interface: str, addresses: list[str]) -> None:
        self._count += 1
        port = f"port{self._count}"
        run(["ip", "link", "add", port, "netns", self.hub, "type", "veth", "peer", "name", interface, "netns", namespace])
        self._ip(self.hub, "link", "set", port, "master", bridge, "up")
        self._ip(namespace, "link", "set", interface, "address", _hardware_address(f"{namespace} {interface}"))
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self._ip(namespace, "address", "add", address, "dev", interface, *nodad)
        self._ip(namespace, "link", "set", interface, "up")

    def _ip(self, namespace: str, *arguments: str) -> None:
        run(["ip", "-n", namespace, *arguments])

    def _tc(self, name: str, *arguments: str) -> None:
        run(["tc", "-n", self.namespace(name), *arguments])


def _hardware_address(interface: str) -> str:
    """The same after a power cut, as in a cloud: its neighbours would look for another one up to a minute later only."""
    return ":".join(["02", *re.findall("..", hashlib.sha256(interface.encode()).hexdigest()[:10])])


def _watching(regions: list[list[Addresses]]) -> str:
    """Rules of nftables that count what passes between regions. Neighbours ask for each other, and visitors' HTTPS is the internet's."""
    lines = [
        "table bridge regions {",
        "counter wireguard {}",
        "counter others {}",
        "chain forward {",
        "type filter hook forward priority 0;",
    ]
    lines += ["meta l4proto ipv6-icmp return", "tcp dport { 80, 443 } return", "tcp sport { 80, 443 } return"]
    for region in regions:
        elsewhere = [server for other in regions if other is not region for server in other]
        between = f"ip6 saddr {_any_v6(region)} ip6 daddr {_any_v6(elsewhere)}"
        lines.append(f"{between} udp dport {TUNNEL_PORT} counter name wireguard return")
        lines.append(f"{between} counter name others")
        lines.append(f"ip saddr {_any_v4(region)} ip daddr {_any_v4(elsewhere)} counter name others")
    return "\n".join([*lines, "}", "}"])


def _any_v4(servers: Iterable[Addresses]) -> str:
    return f"{{ {', '.join(address for server in servers for address in (server.private, server.public) if address)} }}"


def _any_v6(servers: Iterable[Addresses]) -> str:
    return f"{{ {', '.join(server.public_v6 for server in servers)} }}"
