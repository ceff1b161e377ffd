"""A Kubernetes cluster: managed at DigitalOcean, k3s on servers of one's own at Hetzner."""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments
from components.data_volume import tags
from components.server import create_hetzner_server
from components.server_group import SPREAD_GROUP_SIZE

_CONTROL = "control"
"""What the control nodes are called among the pools."""


class NodePoolArgs(TypedDict):
    """A pool of equal worker nodes."""

    name: pulumi.Input[str]
    """Name of the pool; frozen once used."""
    server_type: pulumi.Input[str]
    """The provider's server type."""
    nodes_min: pulumi.Input[int]
    """Nodes to start with, and the least that autoscaling keeps."""
    nodes_max: pulumi.Input[int]
    """The most that autoscaling adds up to."""
    addresses: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Private addresses of the first nodes_min nodes (Hetzner)."""


class K8sClusterArgs(TypedDict):
    """What a cluster is made of."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    location: pulumi.Input[str]
    """The provider's location."""
    version: NotRequired[pulumi.Input[str]]
    """Kubernetes version slug (DigitalOcean). k3s is installed on the hosts, not by this component."""
    control_nodes: pulumi.Input[int]
    """1 or 3 control nodes; at DigitalOcean 3 makes the managed control plane highly available."""
    control_server_type: NotRequired[pulumi.Input[str]]
    """Server type of a control node (Hetzner)."""
    control_addresses: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Private addresses of the control nodes (Hetzner)."""
    control_plane_allowed_cidrs: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Networks that may reach the Kubernetes API (DigitalOcean)."""
    pools: pulumi.Input[list[pulumi.Input[NodePoolArgs]]]
    """Worker pools, at least one."""
    subnet_id: NotRequired[pulumi.Input[str]]
    """Private network (PrivateNetwork.subnet_ids)."""
    firewall_ids: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Firewalls of the nodes (Hetzner)."""
    ssh_key_ids: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """SSH keys of the nodes (Hetzner)."""
    user_data: NotRequired[pulumi.Input[str]]
    """cloud-init user data of the nodes (Hetzner). It holds no join token: k3s is set up over SSH."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of everything in the cluster; DigitalOcean gets them as 'key:value' tags."""


class K8sCluster(pulumi.ComponentResource):
    """The nodes of a cluster, with autoscaling bounds for each pool."""

    kubeconfig: pulumi.Output[str]
    """Administrator's kubeconfig (DigitalOcean); secret. Empty at Hetzner, where k3s writes it on the control nodes."""
    endpoint: pulumi.Output[str]
    """URL of the Kubernetes API (DigitalOcean); empty at Hetzner."""
    node_addresses: pulumi.Output[dict[str, str]]
    """Public IPv4 address of each server that the component created (Hetzner), by name."""
    worker_tag: pulumi.Output[str]
    """What a load balancer finds the workers by: a label selector (Hetzner) or a tag (DigitalOcean)."""

    def __init__(self, name: str, args: K8sClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:K8sCluster", name, {}, opts)
        arguments = Arguments("K8sCluster", name, args, K8sClusterArgs)
        provider = arguments.provider()
        control_nodes = arguments.plain("control_nodes", int, 1)
        if control_nodes not in {1, 3}:
            arguments.problem("control_nodes", control_nodes, "1 or 3")
        pools = arguments.items("pools", NodePoolArgs, {"name": str, "nodes_min": int, "nodes_max": int, "addresses": list})
        control_addresses = arguments.plain("control_addresses", list, [])
        if args.get("pools") == []:
            arguments.problem("pools", [], "at least one pool")
        if control_addresses and len(control_addresses) < control_nodes:
            arguments.problem("control_addresses", control_addresses, f"an address for each of {control_nodes} control nodes")
        _check_pools(arguments, pools)
        needed = {"hetzner": "control_server_type", "digitalocean": "version"}.get(provider, "")
        if needed and not args.get(needed):
            arguments.problem(needed, args.get(needed), f"what the cluster runs at {provider}")
        arguments.check()
        if provider == "hetzner":
            self._hetzner(name, args, control_nodes, pools)
        else:
            self._digitalocean(name, args, control_nodes, pools)
        self.register_outputs(
            {
                "kubeconfig": self.kubeconfig,
                "endpoint": self.endpoint,
                "node_addresses": self.node_addresses,
                "worker_tag": self.worker_tag,
            }
        )

    def _hetzner(self, name: str, args: K8sClusterArgs, control_nodes: int, pools: list[Any]) -> None:
        from pulumi_hcloud.placement_group import PlacementGroup

        labels = args.get("labels", {})
        nodes: dict[str, pulumi.Output[str]] = {}
        groups: list[tuple[str, Any, int, Any, str]] = [
            (_CONTROL, args["control_server_type"], control_nodes, args.get("control_addresses"), "kubernetes-control")
        ]
        groups += [(pool["name"], pool["server_type"], pool["nodes_min"], pool.get("addresses"), "kubernetes-worker") for pool in pools]
        for group, server_type, count, addresses, role in groups:
            group_labels = _with(labels, role=role, pool=group)
            placements: list[pulumi.Output[str]] = []
            for number in range(1, count + 1):
                if (number - 1) % SPREAD_GROUP_SIZE == 0:
                    suffix = "" if number == 1 else f"-{number // SPREAD_GROUP_SIZE + 1}"
                    placement = PlacementGroup(
                        f"{name}-{group}{suffix}", type="spread", labels=group_labels, opts=pulumi.ResourceOptions(parent=self)
                    )
                    placements.append(placement.id)
                node = f"{name}-{group}-{number}"
                server: Any = {
                    **{key: args[key] for key in ("subnet_id", "firewall_ids", "ssh_key_ids", "user_data") if args.get(key) is not None},
                    "provider": "hetzner",
                    "location": args["location"],
                    "server_type": server_type,
                    "placement_group_id": placements[-1],
                    "labels": group_labels,
                }
                if addresses:
                    server["private_address"] = addresses[number - 1]
                nodes[node] = create_hetzner_server(node, server, self, public_ipv4=True, holds_data=False)[1]
        self.kubeconfig = pulumi.Output.secret("")
        self.endpoint = pulumi.Output.from_input("")
        self.node_addresses = pulumi.Output.all(**nodes)
        self.worker_tag = _with(labels, role="kubernetes-worker").apply(
            lambda known: ",".join(f"{key}={value}" for key, value in sorted(known.items()))
        )

    def _digitalocean(self, name: str, args: K8sClusterArgs, control_nodes: int, pools: list[Any]) -> None:
        from pulumi_digitalocean.kubernetes_cluster import KubernetesCluster
        from pulumi_digitalocean.kubernetes_node_pool import KubernetesNodePool

        worker_tag = f"{pulumi.get_project()}-{name}-worker"
        cluster_tags = tags(args.get("labels", {}))
        pool_tags = pulumi.Output.from_input(cluster_tags).apply(lambda known: [*(known or []), worker_tag])
        first: Any
        others: list[Any]
        first, *others = [_pool(pool, pool_tags) for pool in pools]
        allowed = args.get("control_plane_allowed_cidrs")
        firewall: Any = None if allowed is None else {"enabled": True, "allowed_addresses": allowed}
        cluster = KubernetesCluster(
            name,
            name=name,
            region=args["location"],
            version=args["version"],
            ha=control_nodes == 3,
            vpc_uuid=args.get("subnet_id"),
            # Upgrades are a decision (the version is a setting); one surge node keeps the capacity while they run.
            auto_upgrade=False,
            surge_upgrade=True,
            control_plane_firewall=firewall,
            node_pool=first,
            tags=cluster_tags,
            # The autoscaler changes the count of nodes within its bounds, which is no drift.
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["nodePool.nodeCount"] if first["auto_scale"] else None,
                # Names of clusters are unique in an account.
                delete_before_replace=True,
            ),
        )
        for pool in others:
            KubernetesNodePool(
                f"{name}-{pool['name']}",
                cluster_id=cluster.id,
                opts=pulumi.ResourceOptions(parent=self, ignore_changes=["nodeCount"] if pool["auto_scale"] else None),
                **pool,
            )
        self.kubeconfig = pulumi.Output.secret(cluster.kube_configs.apply(lambda configs: str(configs[0].raw_config) if configs else ""))
        self.endpoint = cluster.endpoint
        self.node_addresses = pulumi.Output.from_input({})
        self.worker_tag = pulumi.Output.from_input(worker_tag)


def _check_pools(arguments: Arguments, pools: list[Any]) -> None:
    # The control nodes are named like a pool's.
    seen = {_CONTROL}
    for index, pool in enumerate(pools):
        path = f"pools[{index}]"
        if pool.get("name") in seen:
            arguments.problem(f"{path}.name", pool["name"], f"a name that no other pool has, and not '{_CONTROL}'")
        seen.add(pool.get("name"))
        least, most, addresses = pool.get("nodes_min"), pool.get("nodes_max"), pool.get("addresses")
        if least is None or most is None:
            continue
        if not 0 <= least <= most:
            arguments.problem(f"{path}.nodes_min", least, f"0 to nodes_max ({most})")
        if addresses and len(addresses) < least:
            arguments.problem(f"{path}.addresses", addresses, f"an address for each of {least} nodes")


def _pool(pool: Any, pool_tags: pulumi.Output[list[str]]) -> dict[str, Any]:
    """A pool as DigitalOcean takes it. Bounds belong to autoscaling alone: without it the provider reports them as 0."""
    scales = pool["nodes_max"] > pool["nodes_min"]
    bounds = {"min_nodes": pool["nodes_min"], "max_nodes": pool["nodes_max"]} if scales else {}
    return {
        "name": pool["name"],
        "size": pool["server_type"],
        "auto_scale": scales,
        "node_count": pool["nodes_min"],
        "tags": pool_tags,
        **bounds,
    }


def _with(labels: pulumi.Input[dict[str, pulumi.Input[str]]], **more: str) -> pulumi.Output[dict[str, str]]:
    return pulumi.Output.from_input(labels).apply(lambda known: {**{key: str(value) for key, value in known.items()}, **more})
