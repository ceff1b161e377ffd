"""Which servers a region has: the one place that turns counts into names, roles and addresses."""

from collections.abc import Iterator
from dataclasses import dataclass

from hosts.addresses import address
from hosts.reachability import Rule, firewall_rules
from infra.settings import Region, Settings


@dataclass(frozen=True)
class Server:
    """A server of a region. `number` counts from 1 within its role; `private_address` is None where the provider assigns it."""

    name: str
    role: str
    number: int
    server_type: str
    private_address: str | None
    pool: str = ""


def servers_of(region: Region) -> Iterator[Server]:
    """Every server of the region, by role, in the order in which they are built.

    DigitalOcean's managed Kubernetes has no servers of ours.
    """
    counts = [("app", region.app.servers, region.app.server_type)]
    for role, section in (("database", region.database), ("redis", region.redis)):
        counts.append((role, section.nodes if section.placement == "dedicated" else 0, section.server_type))
    counts.append(("monitoring", region.monitoring.servers, region.monitoring.server_type))
    for role, count, server_type in counts:
        for number in range(1, count + 1):
            yield Server(f"{role}-{region.name}-{number}", role, number, server_type, _address(region, role, number))
    if region.kubernetes.enabled and region.provider == "hetzner":
        yield from _kubernetes_nodes(region)


def jump_host(region: Region) -> str | None:
    """The server through which administrators reach the region's private ones: the monitoring server, else an application server."""
    servers = list(servers_of(region))
    candidates = (server.name for role in ("monitoring", "app", "kubernetes-control") for server in servers if server.role == role)
    return next(candidates, None)


def has_volume(region: Region, server: Server) -> bool:
    """Whether the server has a data volume."""
    sizes = {
        "app": region.app.data_volume_size_gb if server.number == 1 else 0,
        "database": region.database.volume_size_gb,
        "redis": region.redis.volume_size_gb,
        "monitoring": region.monitoring.volume_size_gb,
    }
    return sizes.get(server.role, 0) > 0


def rules_of(settings: Settings, region: Region, role: str) -> tuple[Rule, ...]:
    """What the firewalls of a role's servers in the region let in."""
    jump = jump_host(region)
    return firewall_rules(
        role,
        private_cidrs=[settings.network.cidr],
        admin_cidrs=settings.admin_cidrs,
        jump_host=any(server.name == jump and server.role == role for server in servers_of(region)),
        behind_cloudflare=settings.edge.enabled,
        behind_load_balancer=region.load_balancer.enabled,
        other_regions=not role.startswith("kubernetes-") and any(_is_linked(other) for other in settings.regions if other is not region),
    )


def _is_linked(region: Region) -> bool:
    """Whether the region has servers with links to those of other regions: Kubernetes' nodes have none (`hosts.services.wireguard`)."""
    return any(not server.role.startswith("kubernetes-") for server in servers_of(region))


def _kubernetes_nodes(region: Region) -> Iterator[Server]:
    kubernetes = region.kubernetes
    prefix = f"kubernetes-{region.name}"
    for number in range(1, kubernetes.control_nodes + 1):
        control_address = _address(region, "kubernetes-control", number)
        yield Server(f"{prefix}-control-{number}", "kubernetes-control", number, kubernetes.control_server_type, control_address, "control")
    # Each pool has addresses for all the nodes that autoscaling may add, so that pools never move one another.
    first = 1
    for pool in kubernetes.pools:
        for number in range(1, pool.nodes_min + 1):
            worker_address = _address(region, "kubernetes-worker", first + number - 1)
            yield Server(f"{prefix}-{pool.name}-{number}", "kubernetes-worker", number, pool.server_type, worker_address, pool.name)
        first += POOL_ADDRESSES


POOL_ADDRESSES = 100
"""Addresses set aside for each worker pool: as many as `nodes_max` allows."""


def _address(region: Region, role: str, number: int) -> str | None:
    return address(region.cidr, role, number) if region.provider == "hetzner" else None
