"""The firewall on the server itself: the rules of the cloud firewall once more, where a mistake in the provider's can't undo them.

It also sees what a cloud firewall does not: traffic of the private network, and connections that the server forwards.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from hosts.configuration import HostFile, Service
from hosts.reachability import Rule
from hosts.specification import HostSpecification
from hosts.templating import render_template

PATH = "/etc/nftables.conf"

POD_INTERFACES = ("cni0", "flannel.1")
"""Bridge and tunnel of the pods on a node of k3s with Flannel (k3s documentation, "Basic Network Options")."""


class FirewallError(ValueError):
    """Rules that would lock the administrators out; the text says which server and why."""


@dataclass(frozen=True, slots=True)
class _AddressSet:
    """Networks of one family that may be a source of several rules."""

    name: str
    family: str
    networks: tuple[str, ...]


def firewall(host: HostSpecification) -> Service:
    """nftables with the rules of the host.

    Raises:
        FirewallError: no rule lets SSH in.
    """
    if not any(_allows_ssh(rule) for rule in host.rules):
        raise FirewallError(f"{host.name}: found no rule that lets SSH in (tcp 22); without one the server can't be reached any more")
    sets, lines = _sets_and_lines(host.rules)
    pods = host.role.startswith("kubernetes-")
    content = render_template(
        "firewall/nftables.conf", sets=sets, lines=lines, pod_interfaces=POD_INTERFACES if pods else (), dhcp=host.provider == "hetzner"
    )
    return Service(
        name="firewall",
        packages=("nftables",),
        files=(
            HostFile(path=PATH, content=content),
            HostFile(
                path="/etc/systemd/system/nftables.service.d/10-rungway.conf", content=render_template("firewall/nftables.service.conf")
            ),
        ),
        checks=(f"nft --check --file {PATH}",),
        units=("nftables.service",),
        on_change="reload",
        probe="nft list chain inet rungway input | grep --quiet 'policy drop'",
    )


def _allows_ssh(rule: Rule) -> bool:
    first, _, last = rule.port.partition("-")
    return rule.protocol == "tcp" and bool(rule.sources) and int(first) <= 22 <= int(last or first)


def _sets_and_lines(rules: Iterable[Rule]) -> tuple[list[_AddressSet], list[str]]:
    """A set for each family of each list of sources, and a line for each family of each rule."""
    sets: dict[tuple[str, ...], _AddressSet] = {}
    lines = []
    for rule in rules:
        for family, networks in _by_family(rule.sources):
            if networks in (("0.0.0.0/0",), ("::/0",)):
                source = "meta nfproto " + family
            else:
                number = len(sets) + 1
                address_set = sets.setdefault(networks, _AddressSet(f"sources_{number}", family, networks))
                source = f"{'ip' if family == 'ipv4' else 'ip6'} saddr @{address_set.name}"
            lines.append(f'{source} {_what(rule, family)} accept comment "{rule.description}"')
    return list(sets.values()), lines


def _by_family(sources: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The networks of each family, without those that others contain: nftables refuses overlaps in a set."""
    networks = [ipaddress.ip_network(source) for source in sources]
    ipv4 = ipaddress.collapse_addresses(network for network in networks if isinstance(network, ipaddress.IPv4Network))
    ipv6 = ipaddress.collapse_addresses(network for network in networks if isinstance(network, ipaddress.IPv6Network))
    found = [("ipv4", tuple(map(str, ipv4))), ("ipv6", tuple(map(str, ipv6)))]
    return [(family, networks_of) for family, networks_of in found if networks_of]


def _what(rule: Rule, family: str) -> str:
    if rule.protocol == "icmp":
        return f"{'icmp' if family == 'ipv4' else 'icmpv6'} type echo-request limit rate 20/second"
    return f"{rule.protocol} dport {rule.port}"
