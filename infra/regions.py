"""Builds the servers of one region."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.app_vps import AppVPS
from components.data_volume import DataVolume, DataVolumeArgs
from components.database_vps import DatabaseVPS
from components.k8s_cluster import K8sCluster
from components.load_balancer import LoadBalancer
from components.monitoring_vps import MonitoringVPS
from components.private_network import PrivateNetwork
from components.public_address import PublicAddress
from components.redis_node import RedisNode
from components.server import ServerArgs, ServerComponent
from components.server_group import SPREAD_GROUP_SIZE, ServerGroup
from components.ssh_keys import SshKeys
from hosts.addresses import address
from hosts.bootstrap import bootstrap_user_data
from infra.catalog import kubernetes_version
from infra.roles import Server, has_volume, rules_of, servers_of
from infra.settings import Region, Settings

COMPONENTS: dict[str, Callable[[str, ServerArgs], ServerComponent]] = {
    "app": AppVPS,
    "database": DatabaseVPS,
    "redis": RedisNode,
    "monitoring": MonitoringVPS,
}
"""The component of each role that has servers of its own."""

DATA_MOUNT = "/srv/data"
"""Where a server's data volume is mounted."""


@dataclass(frozen=True)
class Foundation:
    """What the regions of a provider share."""

    network: PrivateNetwork
    keys: SshKeys


@dataclass(frozen=True)
class BuiltServer:
    """What convergence needs of a server: which one it is, where it is, and the `parts` that must be there before."""

    server_id: pulumi.Output[str]
    public_ipv4: pulumi.Output[str]
    public_ipv6: pulumi.Output[str]
    private_address: pulumi.Output[str]
    parts: list[pulumi.Resource]


@dataclass
class BuiltRegion:
    """What a region gives to the rest of the stack: where requests enter, the addresses of its servers, and the servers that converge."""

    region: Region
    entry_ipv4: list[pulumi.Input[str]] = field(default_factory=list)
    entry_ipv6: list[pulumi.Input[str]] = field(default_factory=list)
    servers: dict[str, Any] = field(default_factory=dict)
    built_servers: dict[str, BuiltServer] = field(default_factory=dict)


def build_region(settings: Settings, region: Region, foundation: Foundation | None) -> BuiltRegion:
    """Register everything of one region; a region without a foundation has no servers, and at most a volume that stays."""
    builder = _RegionBuilder(settings, region, foundation)
    builder.build()
    return builder.built


class _RegionBuilder:
    def __init__(self, settings: Settings, region: Region, foundation: Foundation | None) -> None:
        self._settings = settings
        self._region = region
        self._foundation = foundation
        self._balanced = region.load_balancer.enabled
        self._targets: pulumi.Input[str] = ""
        self.built = BuiltRegion(region)

    def build(self) -> None:
        by_role: dict[str, list[Server]] = {}
        for server in servers_of(self._region):
            by_role.setdefault(server.role, []).append(server)
        for role in COMPONENTS:
            if role in by_role:
                self._role(role, by_role[role])
        if self._region.app.data_volume_size_gb and not self._region.app.servers:
            self._app_volume(None)
        if self._region.kubernetes.enabled:
            self._kubernetes([server for role in ("kubernetes-control", "kubernetes-worker") for server in by_role.get(role, ())])
        if self._balanced:
            self._load_balancer()

    def _role(self, role: str, servers: list[Server]) -> None:
        group = self._group(role, f"{role}-{self._region.name}", len(servers))
        for server in servers:
            component = COMPONENTS[role](server.name, self._server_args(server, group))
            self.built.servers[server.name] = {
                "public_ipv4": component.public_ipv4,
                "public_ipv6": component.public_ipv6,
                "private_address": component.private_address,
            }
            built = BuiltServer(component.server_id, component.public_ipv4, component.public_ipv6, component.private_address, [component])
            self.built.built_servers[server.name] = built
            if role == "app":
                self._targets = self._app_targets(group)
                if server.number == 1 and self._region.app.data_volume_size_gb:
                    built.parts.append(self._app_volume(component.server_id))
                if not self._balanced:
                    self.built.entry_ipv4.append(component.public_ipv4)
                    self.built.entry_ipv6.append(component.public_ipv6)

    def _group(self, role: str, name: str, servers: int) -> ServerGroup:
        rules = rules_of(self._settings, self._region, role)
        return ServerGroup(
            name,
            {
                "provider": self._region.provider,
                "servers": servers,
                "labels": self._labels(role),
                "rules": [
                    {"description": rule.description, "protocol": rule.protocol, "port": rule.port, "sources": list(rule.sources)}
                    for rule in rules
                ],
            },
        )

    def _server_args(self, server: Server, group: ServerGroup) -> ServerArgs:
        region = self._region
        section: Any = getattr(region, server.role)
        args: ServerArgs = {
            "provider": region.provider,
            "location": region.location,
            "server_type": server.server_type,
            "ssh_key_ids": self._ssh_key_ids(),
            "user_data": self._user_data(server.name, has_volume=has_volume(region, server)),
            "image_backups": getattr(section, "image_backups", False),
            "labels": self._labels(server.role),
        }
        if self._foundation is not None:
            args["subnet_id"] = self._foundation.network.subnet_ids[region.name]
        if server.private_address is not None:
            args["private_address"] = server.private_address
        if region.provider == "hetzner":
            args["firewall_ids"] = [group.firewall_id]
            args["placement_group_id"] = group.placement_group_ids[(server.number - 1) // SPREAD_GROUP_SIZE]
        else:
            args["tags"] = [group.tag]
        if server.role == "app":
            public = PublicAddress(
                f"{server.name}-ipv4", {"provider": region.provider, "location": region.location, "labels": self._labels("app")}
            )
            args["public_address_id"] = public.address_id
        else:
            args["volume_size_gb"] = section.volume_size_gb
        return args

    def _app_volume(self, server_id: pulumi.Output[str] | None) -> DataVolume:
        """The volume of the first application server. It is no child of that server's component, so that it stays when the server goes."""
        region = self._region
        args: DataVolumeArgs = {
            "provider": region.provider,
            "location": region.location,
            "size_gb": region.app.data_volume_size_gb,
            "labels": self._labels("app"),
        }
        if server_id is not None:
            args["server_id"] = server_id
        return DataVolume(f"app-{region.name}-1-data", args)

    def _kubernetes(self, nodes: list[Server]) -> None:
        region, kubernetes = self._region, self._region.kubernetes
        name = f"kubernetes-{region.name}"
        args: Any = {
            "provider": region.provider,
            "location": region.location,
            "control_nodes": kubernetes.control_nodes,
            "version": kubernetes.version or kubernetes_version(region.provider),
            "pools": [
                {
                    "name": pool.name,
                    "server_type": pool.server_type,
                    "nodes_min": pool.nodes_min,
                    "nodes_max": pool.nodes_max,
                    **({"addresses": _addresses(nodes, pool.name)} if nodes else {}),
                }
                for pool in kubernetes.pools
            ],
            "labels": {key: value for key, value in self._labels("kubernetes").items() if key != "role"},
        }
        if self._foundation is not None:
            args["subnet_id"] = self._foundation.network.subnet_ids[region.name]
        if region.provider == "hetzner":
            group = self._group("kubernetes-control", name, 0)
            args |= {
                "control_server_type": kubernetes.control_server_type,
                "control_addresses": _addresses(nodes, "control"),
                "firewall_ids": [group.firewall_id],
                "ssh_key_ids": self._ssh_key_ids(),
                "user_data": self._user_data(None, has_volume=False),
            }
        else:
            args["control_plane_allowed_cidrs"] = list(self._settings.admin_cidrs)
        cluster = K8sCluster(name, args)
        self._targets = cluster.worker_tag
        self.built.servers[name] = {"nodes": cluster.node_addresses, "endpoint": cluster.endpoint}
        if region.provider == "digitalocean":
            pulumi.export(f"kubeconfig-{region.name}", cluster.kubeconfig)

    def _load_balancer(self) -> None:
        region = self._region
        args: Any = {
            "provider": region.provider,
            "location": region.location,
            "type": region.load_balancer.type,
            "algorithm": region.load_balancer.algorithm,
            "health_check_path": region.app.health_check_path,
            "labels": self._labels("load-balancer"),
        }
        if self._foundation is not None:
            args["subnet_id"] = self._foundation.network.subnet_ids[region.name]
        if region.provider == "hetzner":
            args["private_address"] = address(region.cidr, "load-balancer", 1)
            args["target_label"] = self._targets
        else:
            args["target_tag"] = self._targets
        balancer = LoadBalancer(f"load-balancer-{region.name}", args)
        self.built.entry_ipv4.append(balancer.public_ipv4)
        self.built.entry_ipv6.append(balancer.public_ipv6)

    def _app_targets(self, group: ServerGroup) -> pulumi.Input[str]:
        """What a load balancer finds the application servers by."""
        if self._region.provider == "digitalocean":
            return group.tag
        return f"app={self._settings.name},region={self._region.name},role=app"

    def _ssh_key_ids(self) -> Any:
        existing = list(self._settings.existing_ssh_keys)
        if self._foundation is None:
            return existing
        return self._foundation.keys.ids.apply(lambda ids: [*ids, *existing])

    def _user_data(self, hostname: str | None, *, has_volume: bool) -> str:
        return bootstrap_user_data(
            hostname=hostname,
            public_keys=self._settings.ssh_public_keys,
            provider=self._region.provider,
            data_mount=DATA_MOUNT if has_volume else None,
        )

    def _labels(self, role: str) -> dict[str, pulumi.Input[str]]:
        return {"app": self._settings.name, "managed-by": "rungway", "region": self._region.name, "role": role}


def _addresses(nodes: Iterable[Server], pool: str) -> list[str]:
    return [node.private_address for node in nodes if node.pool == pool and node.private_address is not None]
