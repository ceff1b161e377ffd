"""Who must reach whom. From this one table come the cloud firewalls and, later, nftables on the hosts; what it does not name is dropped.

Three kinds of source exist: the private network; for the few ports that face people, Cloudflare or the administrators; and the internet
for WireGuard, which answers only who has a key. A port of a store never gets a public source, because no flow to it has one.
"""

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

CLOUDFLARE_CIDRS = (
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
)
"""Where Cloudflare's proxies come from (www.cloudflare.com/ips, the list in force since 28 September 2023, seen 2026-11-21)."""

EVERYWHERE = ("0.0.0.0/0", "::/0")
EVERYWHERE_V6 = ("::/0",)

TUNNEL_PORT = "51820"
"""WireGuard's usual one (UDP)."""

PRIVATE, EDGE, ADMINS, REGIONS = "private", "edge", "admins", "regions"
"""The sources of a flow: the private network; Cloudflare (or everybody, without it); the administrators; servers of other regions."""


@dataclass(frozen=True)
class Flow:
    """Traffic that must pass: to servers of `role`, from `source`, for a reason. `port` is a port, a range as '1-2', or '' for icmp."""

    role: str
    source: str
    protocol: str
    port: str
    why: str


@dataclass(frozen=True)
class Rule:
    """A flow with its networks: what a firewall lets in."""

    description: str
    protocol: str
    port: str
    sources: tuple[str, ...]


class ReachabilityError(ValueError):
    """Networks from which no firewall may be built; the text says why."""


_EXPORTERS = {
    # The stores are on the application server while they have no servers of their own, and with them their metrics.
    "app": (
        ("9113", "nginx metrics"),
        ("3903", "request metrics"),
        ("9187", "PostgreSQL metrics"),
        ("9127", "PgBouncer metrics"),
        ("9121", "Redis metrics"),
    ),
    "database": (("9187", "PostgreSQL metrics"), ("9127", "PgBouncer metrics")),
    "redis": (("9121", "Redis metrics"),),
    "monitoring": (),
    "kubernetes-control": (),
    "kubernetes-worker": (),
}

ROLES = tuple(_EXPORTERS)
"""Roles of servers."""


def flows(role: str) -> Iterator[Flow]:
    """Everything that must reach servers of a role."""
    yield Flow(role, PRIVATE, "icmp", "", "path MTU discovery and ping")
    yield Flow(role, PRIVATE, "tcp", "22", "SSH through the jump host")
    yield Flow(role, PRIVATE, "tcp", "9100", "server metrics")
    for port, why in _EXPORTERS[role]:
        yield Flow(role, PRIVATE, "tcp", port, why)
    match role:
        case "app":
            yield Flow(role, EDGE, "tcp", "80", "HTTP, redirected to HTTPS")
            yield Flow(role, EDGE, "tcp", "443", "HTTPS")
            yield Flow(role, EDGE, "udp", "443", "HTTP/3")
            # Behind a load balancer requests come over the private network; the stores are here while they have no servers of their own.
            yield Flow(role, PRIVATE, "tcp", "80", "HTTP from the load balancer")
            yield Flow(role, PRIVATE, "tcp", "443", "HTTPS from the load balancer")
            yield Flow(role, PRIVATE, "tcp", "8080", "health, and ACME challenges between application servers")
            yield Flow(role, PRIVATE, "tcp", "5432", "replication while the database moves to servers of its own")
            yield Flow(role, PRIVATE, "tcp", "6432", "PgBouncer of the database beside the application")
            yield Flow(role, PRIVATE, "tcp", "6379", "replication while Redis moves to servers of its own")
            yield Flow(role, PRIVATE, "tcp", "2379-2380", "etcd witness")
        case "database":
            yield Flow(role, PRIVATE, "tcp", "5432", "PostgreSQL")
            yield Flow(role, PRIVATE, "tcp", "6432", "PgBouncer")
            yield Flow(role, PRIVATE, "tcp", "8008", "Patroni")
            yield Flow(role, PRIVATE, "tcp", "2379-2380", "etcd")
        case "redis":
            yield Flow(role, PRIVATE, "tcp", "6379", "Redis")
            yield Flow(role, PRIVATE, "tcp", "26379", "Sentinel")
        case "monitoring":
            yield Flow(role, PRIVATE, "tcp", "19532", "journals")
            yield Flow(role, PRIVATE, "tcp", "4317-4318", "traces (OpenTelemetry)")
            yield Flow(role, PRIVATE, "tcp", "2379-2380", "etcd witness")
        case "kubernetes-control" | "kubernetes-worker":
            yield Flow(role, PRIVATE, "tcp", "10250", "kubelet")
            yield Flow(role, PRIVATE, "udp", "8472", "pod network (VXLAN)")
            yield Flow(role, PRIVATE, "tcp", "80", "HTTP from the load balancer")
            yield Flow(role, PRIVATE, "tcp", "443", "HTTPS from the load balancer")
            yield Flow(role, PRIVATE, "tcp", "6443", "Kubernetes API")
            yield Flow(role, PRIVATE, "tcp", "2379-2380", "etcd of the control nodes")


def firewall_rules(
    role: str,
    *,
    private_cidrs: Sequence[str],
    admin_cidrs: Sequence[str],
    jump_host: bool,
    behind_cloudflare: bool,
    behind_load_balancer: bool,
    other_regions: bool = False,
) -> tuple[Rule, ...]:
    """What the firewall of a role's servers lets in, in the order of the flows.

    `private_cidrs` are the stack's own networks. Administrators reach SSH on jump hosts only. Web traffic comes from Cloudflare's networks,
    from everywhere without Cloudflare, and over the private network alone behind a load balancer. With servers in `other_regions`
    WireGuard takes packets from all IPv6 addresses: a server's own address is known only after the firewall that it starts behind, a
    rebuilt server has a new one, and WireGuard is silent to whoever has no key.

    Raises:
        ReachabilityError: a private network that is public, or a port of a store that would be open to the public.
    """
    for cidr in private_cidrs:
        if not ipaddress.ip_network(cidr).is_private:
            raise ReachabilityError(f"{cidr}: found a public network; allowed: private networks")
    edge = () if behind_load_balancer else CLOUDFLARE_CIDRS if behind_cloudflare else EVERYWHERE
    sources = {PRIVATE: tuple(private_cidrs), EDGE: edge, ADMINS: tuple(admin_cidrs), REGIONS: EVERYWHERE_V6}
    wanted = [*flows(role)]
    if jump_host:
        wanted.append(Flow(role, ADMINS, "tcp", "22", "SSH from the administrators"))
    if other_regions:
        wanted.append(Flow(role, REGIONS, "udp", TUNNEL_PORT, "WireGuard between regions"))
    rules = tuple(Rule(flow.why, flow.protocol, flow.port, sources[flow.source]) for flow in wanted if sources[flow.source])
    _refuse_public_stores(rules, private_cidrs)
    return rules


STORE_PORTS = frozenset({2379, 2380, 5432, 6379, 6432, 8008, 26379})
"""Ports behind which data is: never reachable from a public network."""


def _refuse_public_stores(rules: Collection[Rule], private_cidrs: Collection[str]) -> None:
    """A second look at the result, whatever the table above has become."""
    for rule in rules:
        for source in rule.sources:
            if _reaches_a_store(rule) and source not in private_cidrs:
                port = rule.port or "of any number"
                raise ReachabilityError(f"port {port} ({rule.description}): found source {source}; allowed: private networks")


def _reaches_a_store(rule: Rule) -> bool:
    """Whether a store's port is among those of the rule: a range that only contains it opens it just as well."""
    if rule.protocol == "icmp":
        return False
    first, _, last = (rule.port or "1-65535").partition("-")
    return any(int(first) <= port <= int(last or first) for port in STORE_PORTS)
