"""Clusters: k3s nodes at Hetzner, managed at DigitalOcean."""

from typing import Any

import pulumi
import pytest

from components.k8s_cluster import K8sCluster
from rungway.model import SECRET, UNKNOWN
from tests.support.built import Built, build, problems

POOLS = [
    {"name": "workers", "server_type": "cx33", "nodes_min": 2, "nodes_max": 5},
    {"name": "batch", "server_type": "cx43", "nodes_min": 1, "nodes_max": 1},
]
LABELS = {"app": "shop"}
HETZNER: dict[str, Any] = {
    "provider": "hetzner",
    "location": "nbg1",
    "control_nodes": 1,
    "control_server_type": "cx23",
    "pools": POOLS,
    "labels": LABELS,
}
DIGITALOCEAN: dict[str, Any] = {
    "provider": "digitalocean",
    "location": "fra1",
    "version": "1.34.1-do.0",
    "control_nodes": 3,
    "pools": POOLS,
    "labels": LABELS,
}


def clusters(first: dict[str, Any], second: dict[str, Any] | None = None) -> Built:
    def program() -> dict[str, Any]:
        eu: Any = first
        us: Any = second or first
        one = K8sCluster("kubernetes-eu", eu)
        K8sCluster("kubernetes-us", us)
        return {key: getattr(one, key) for key in ("kubeconfig", "endpoint", "node_addresses", "worker_tag")}

    return build(program)


def test_two_clusters_side_by_side_at_hetzner_have_these_urns() -> None:
    inside = "rungway:index:K8sCluster$hcloud:index"
    assert clusters(HETZNER).urns == [
        urn
        for name in ("kubernetes-eu", "kubernetes-us")
        for urn in (
            f"rungway:index:K8sCluster::{name}",
            f"{inside}/placementGroup:PlacementGroup::{name}-control",
            f"{inside}/server:Server::{name}-control-1",
            f"{inside}/placementGroup:PlacementGroup::{name}-workers",
            f"{inside}/server:Server::{name}-workers-1",
            f"{inside}/server:Server::{name}-workers-2",
            f"{inside}/placementGroup:PlacementGroup::{name}-batch",
            f"{inside}/server:Server::{name}-batch-1",
        )
    ]


def test_two_clusters_side_by_side_at_digitalocean_have_these_urns() -> None:
    inside = "rungway:index:K8sCluster$digitalocean:index"
    assert clusters(DIGITALOCEAN).urns == [
        urn
        for name in ("kubernetes-eu", "kubernetes-us")
        for urn in (
            f"rungway:index:K8sCluster::{name}",
            f"{inside}/kubernetesCluster:KubernetesCluster::{name}",
            f"{inside}/kubernetesNodePool:KubernetesNodePool::{name}-batch",
        )
    ]


def test_the_nodes_of_a_cluster_at_hetzner() -> None:
    built = clusters(
        {
            **HETZNER,
            "control_nodes": 3,
            "control_addresses": ["10.0.8.1", "10.0.8.2", "10.0.8.3"],
            "pools": [{**POOLS[0], "addresses": ["10.0.9.1", "10.0.9.2"]}],
            "subnet_id": "10-10.0.0.0/16",
            "firewall_ids": ["7"],
            "ssh_key_ids": ["9"],
            "user_data": "#cloud-config",
        }
    )
    worker = built["Server", "kubernetes-eu-workers-2"]
    for key, value in {
        "name": "kubernetes-eu-workers-2",
        "serverType": "cx33",
        "location": "nbg1",
        "firewallIds": [7],
        "sshKeys": ["9"],
        "userData": SECRET,
        "deleteProtection": False,
        "placementGroupId": UNKNOWN,
        "labels": {"app": "shop", "role": "kubernetes-worker", "pool": "workers"},
    }.items():
        assert worker.inputs[key] == value, key
    assert set(worker.ignore_changes) == {"userData", "sshKeys", "image", "location"}
    control = built.inputs("Server", "kubernetes-eu-control-3")
    assert control["serverType"] == "cx23"
    assert control["labels"] == {"app": "shop", "role": "kubernetes-control", "pool": "control"}
    addresses = {item.name: item.inputs["ip"] for item in built.resources if item.type.endswith(":ServerNetwork") and "-eu-" in item.name}
    assert addresses == {
        "kubernetes-eu-control-1-private": "10.0.8.1",
        "kubernetes-eu-control-2-private": "10.0.8.2",
        "kubernetes-eu-control-3-private": "10.0.8.3",
        "kubernetes-eu-workers-1-private": "10.0.9.1",
        "kubernetes-eu-workers-2-private": "10.0.9.2",
    }
    assert built.inputs("PlacementGroup", "kubernetes-eu-workers")["type"] == "spread"
    assert built.protected() == []


def test_more_than_ten_nodes_get_another_placement_group() -> None:
    built = clusters({**HETZNER, "pools": [{**POOLS[0], "nodes_min": 21, "nodes_max": 21}]})

    groups = [item.name for item in built.resources if item.type.endswith(":PlacementGroup") and "-eu-workers" in item.name]
    assert groups == ["kubernetes-eu-workers", "kubernetes-eu-workers-2", "kubernetes-eu-workers-3"]
    waits = {number: built.waits_for("Server", f"kubernetes-eu-workers-{number}") for number in (10, 11, 20, 21)}
    assert waits == {
        10: ["hcloud:index/placementGroup:PlacementGroup::kubernetes-eu-workers"],
        11: ["hcloud:index/placementGroup:PlacementGroup::kubernetes-eu-workers-2"],
        20: ["hcloud:index/placementGroup:PlacementGroup::kubernetes-eu-workers-2"],
        21: ["hcloud:index/placementGroup:PlacementGroup::kubernetes-eu-workers-3"],
    }


def test_a_managed_cluster() -> None:
    built = clusters(
        {**DIGITALOCEAN, "subnet_id": "vpc", "control_plane_allowed_cidrs": ["192.0.2.0/24"]}, {**DIGITALOCEAN, "control_nodes": 1}
    )
    cluster = built["KubernetesCluster", "kubernetes-eu"]
    for key, value in {
        "name": "kubernetes-eu",
        "region": "fra1",
        "version": "1.34.1-do.0",
        "ha": True,
        "vpcUuid": "vpc",
        "autoUpgrade": False,
        "surgeUpgrade": True,
        "controlPlaneFirewall": {"enabled": True, "allowedAddresses": ["192.0.2.0/24"]},
        "tags": ["app:shop"],
    }.items():
        assert cluster.inputs[key] == value, key
    pool = cluster.inputs["nodePool"]
    assert {key: pool[key] for key in ("name", "size", "autoScale", "nodeCount", "minNodes", "maxNodes")} == {
        "name": "workers",
        "size": "cx33",
        "autoScale": True,
        "nodeCount": 2,
        "minNodes": 2,
        "maxNodes": 5,
    }
    assert "rungway-kubernetes-eu-worker" in pool["tags"]
    assert built.inputs("KubernetesCluster", "kubernetes-us")["ha"] is False


def test_only_the_autoscaler_s_count_is_ignored() -> None:
    built = clusters(DIGITALOCEAN, {**DIGITALOCEAN, "pools": POOLS[::-1]})

    assert built["KubernetesCluster", "kubernetes-eu"].ignore_changes == ("nodePool.nodeCount",)
    assert built["KubernetesNodePool", "kubernetes-eu-batch"].ignore_changes == ()
    assert built["KubernetesCluster", "kubernetes-us"].ignore_changes == ()
    assert built["KubernetesNodePool", "kubernetes-us-workers"].ignore_changes == ("nodeCount",)
    fixed = built.inputs("KubernetesNodePool", "kubernetes-eu-batch")
    assert (fixed["autoScale"], fixed["nodeCount"]) == (False, 1)
    assert not {"minNodes", "maxNodes"} & set(fixed)


def test_outputs() -> None:
    hetzner, digitalocean = clusters(HETZNER).outputs, clusters(DIGITALOCEAN).outputs
    assert hetzner["worker_tag"] == "app=shop,role=kubernetes-worker"
    assert hetzner["endpoint"] == ""
    assert digitalocean["worker_tag"] == "rungway-kubernetes-eu-worker"
    assert digitalocean["kubeconfig"] == SECRET
    assert digitalocean["endpoint"] == UNKNOWN
    assert digitalocean["node_addresses"] == {}


def _with_pools(*pools: Any, **more: Any) -> Any:
    return {**HETZNER, "pools": list(pools), **more}


def test_every_problem_is_named_at_once() -> None:
    late = pulumi.Output.from_input
    args = _with_pools(
        {**POOLS[0], "nodes_min": 6},
        {**POOLS[0], "nodes_min": late(1)},
        {**POOLS[0], "name": "control", "addresses": ["10.0.9.1"]},
        {**POOLS[0], "name": "few", "nodes_min": "2", "size": "cx33"},
        {"name": "bare"},
        control_nodes=2,
        control_server_type="",
        control_addresses=["10.0.8.1"],
    )
    label = "kubernetes (K8sCluster)"
    other = "a name that no other pool has, and not 'control'"
    assert problems(lambda: K8sCluster("kubernetes", args)) == [
        f"{label}: control_nodes: found 2; allowed: 1 or 3",
        f"{label}: pools[1].nodes_min: must be known before deployment; found an Output",
        f"{label}: pools[3].size: found an unknown argument; allowed: addresses, name, nodes_max, nodes_min, server_type",
        f"{label}: pools[3].nodes_min: found '2'; allowed: a whole number",
        f"{label}: pools[4].nodes_max: found nothing; it is required",
        f"{label}: pools[4].nodes_min: found nothing; it is required",
        f"{label}: pools[4].server_type: found nothing; it is required",
        f"{label}: control_addresses: found ['10.0.8.1']; allowed: an address for each of 2 control nodes",
        f"{label}: pools[0].nodes_min: found 6; allowed: 0 to nodes_max (5)",
        f"{label}: pools[1].name: found 'workers'; allowed: {other}",
        f"{label}: pools[2].name: found 'control'; allowed: {other}",
        f"{label}: pools[2].addresses: found ['10.0.9.1']; allowed: an address for each of 2 nodes",
        f"{label}: control_server_type: found ''; allowed: what the cluster runs at hetzner",
    ]


@pytest.mark.parametrize("pools", [[], None])
def test_a_cluster_needs_a_pool(pools: Any) -> None:
    found = problems(lambda: K8sCluster("kubernetes", {**DIGITALOCEAN, "version": "", "pools": pools}))  # type: ignore[typeddict-item]
    assert found == [
        "kubernetes (K8sCluster): pools: found []; allowed: at least one pool"
        if pools == []
        else "kubernetes (K8sCluster): pools: found nothing; it is required",
        "kubernetes (K8sCluster): version: found ''; allowed: what the cluster runs at digitalocean",
    ]


def test_an_unknown_provider_is_the_only_problem() -> None:
    args: Any = {**HETZNER, "provider": "aws", "control_server_type": ""}
    assert problems(lambda: K8sCluster("kubernetes", args)) == [
        "kubernetes (K8sCluster): provider: found 'aws'; allowed: digitalocean, hetzner"
    ]
