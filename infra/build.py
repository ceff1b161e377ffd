"""Composes a stack from its settings: the private networks, each region's servers, and Cloudflare in front of them.

A phase is settings, not code: nothing here knows a phase's name. Resource names are the same in every phase, so that a stack's state can
move to the next phase's stack and only what really changes is changed.
"""

from typing import TYPE_CHECKING

import pulumi

from components.private_network import PrivateNetwork
from components.ssh_keys import SshKeys
from infra.catalog import locations
from infra.edge import build_edge
from infra.regions import Foundation, build_region
from infra.settings import Region, Settings

if TYPE_CHECKING:
    from infra.convergence import Convergence


def build_stack(settings: Settings) -> None:
    """Register every resource of the stack and export what people and later steps ask for.

    Raises:
        SettingsError: a server can't converge as asked. Nothing was registered then.
    """
    convergence = _convergence(settings)
    foundations = _foundations(settings)
    regions = [build_region(settings, region, foundations.get(region.name)) for region in settings.regions]
    buckets = build_edge(settings, regions) if settings.edge.enabled else {}
    if convergence is not None:
        convergence.register(regions, buckets)
    pulumi.export("servers", {name: addresses for region in regions for name, addresses in region.servers.items()})
    pulumi.export("buckets", buckets)
    if settings.edge.enabled:
        pulumi.export("api_url", f"{'https' if settings.edge.tls else 'http'}://{settings.edge.api_subdomain}.{settings.domain}")


def _convergence(settings: Settings) -> "Convergence | None":
    """What servers are asked, where they are to converge."""
    if not settings.convergence.ssh_key_file:
        return None
    # Here, because templates take a while to load, and most plans don't need them.
    from infra.convergence import Convergence

    return Convergence(settings)


def network_key(region: Region) -> str:
    """What a private network spans, and is named for: a network zone at Hetzner, a location at DigitalOcean."""
    return locations(region.provider)[region.location].network_zone


def _foundations(settings: Settings) -> dict[str, Foundation]:
    """The networks and SSH keys that the regions share, by region name. A region without servers gets none."""
    served = [region for region in settings.regions if has_servers(region)]
    labels: dict[str, pulumi.Input[str]] = {"app": settings.name, "managed-by": "rungway"}
    keys: dict[str, SshKeys] = {}
    for provider in dict.fromkeys(region.provider for region in served):
        keys[provider] = SshKeys(
            f"ssh-keys-{provider}", {"provider": provider, "public_keys": list(settings.ssh_public_keys), "labels": labels}
        )
    networks: dict[tuple[str, str], PrivateNetwork] = {}
    for provider, key in dict.fromkeys((region.provider, network_key(region)) for region in served):
        members = [region for region in served if (region.provider, network_key(region)) == (provider, key)]
        networks[provider, key] = PrivateNetwork(
            f"private-{key}",
            {
                "provider": provider,
                "cidr": settings.network.cidr,
                "network_zone": key,
                "subnets": [{"name": region.name, "location": region.location, "cidr": region.cidr} for region in members],
                "labels": labels,
            },
        )
    return {region.name: Foundation(networks[region.provider, network_key(region)], keys[region.provider]) for region in served}


def has_servers(region: Region) -> bool:
    """Whether anything at all runs in the region."""
    return any((region.app.servers, region.database.nodes, region.redis.nodes, region.monitoring.servers, region.kubernetes.enabled))
