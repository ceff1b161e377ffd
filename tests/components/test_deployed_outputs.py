"""What server components hand on once their providers have answered, and who has to go before a replacement can come."""

from typing import Any

import pytest

from components.app_vps import AppVPS
from components.data_volume import DataVolume
from components.database_vps import DatabaseVPS
from components.k8s_cluster import K8sCluster
from components.load_balancer import LoadBalancer
from components.public_address import PublicAddress
from components.server_group import ServerGroup
from tests.support.built import build
from tests.support.deployed import deploy, id_of

HETZNER: Any = {"provider": "hetzner", "location": "nbg1"}
DIGITALOCEAN: Any = {"provider": "digitalocean", "location": "fra1"}
SERVER_OUTPUTS = ("server_id", "public_ipv4", "public_ipv6", "private_address", "volume_id")
COMPUTED: dict[str, dict[str, Any]] = {
    "Server": {"ipv4Address": "203.0.113.1", "ipv6Address": "2001:db8::1"},
    "Droplet": {"ipv4Address": "203.0.113.1", "ipv6Address": "2001:db8::1", "ipv4AddressPrivate": "10.0.1.9"},
    "LoadBalancer": {"ipv4": "203.0.113.2", "ip": "203.0.113.3", "ipv6": "2001:db8::2"},
    "KubernetesCluster": {"endpoint": "https://k8s.example.com", "kubeConfigs": [{"rawConfig": "apiVersion: v1"}]},
}
POOLS = [
    {"name": "workers", "server_type": "any", "nodes_min": 2, "nodes_max": 2},
    {"name": "batch", "server_type": "any", "nodes_min": 1, "nodes_max": 1},
]


def outputs(component: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(component, name) for name in names}


def test_a_server_at_hetzner() -> None:
    args: Any = {**HETZNER, "server_type": "cx33", "subnet_id": "7-10.0.0.0/16", "private_address": "10.0.1.1", "volume_size_gb": 20}
    deployed = deploy(lambda: outputs(AppVPS("app-eu-1", args), SERVER_OUTPUTS), COMPUTED)

    assert deployed.outputs == {
        "server_id": id_of("Server", "app-eu-1"),
        "public_ipv4": "203.0.113.1",
        "public_ipv6": "2001:db8::1",
        "private_address": "10.0.1.1",
        "volume_id": id_of("Volume", "app-eu-1-data"),
    }
    server = int(id_of("Server", "app-eu-1"))
    assert deployed.inputs["ServerNetwork", "app-eu-1-private"]["serverId"] == server
    assert deployed.inputs["VolumeAttachment", "app-eu-1-data-attachment"] == {
        "serverId": server,
        "volumeId": int(id_of("Volume", "app-eu-1-data")),
        "automount": False,
    }


def test_a_server_without_a_public_address_says_so_before_and_after_it_is_deployed() -> None:
    args: Any = {**HETZNER, "server_type": "cx33", "volume_size_gb": 20}

    def program() -> dict[str, Any]:
        return outputs(DatabaseVPS("database-eu-1", args), ("public_ipv4",))

    assert build(program).outputs == {"public_ipv4": ""}
    # Hetzner's provider leaves the property out where there is no address.
    assert deploy(program, {"Server": {"ipv6Address": "2001:db8::1"}}).outputs == {"public_ipv4": ""}


def test_a_server_at_digitalocean_is_known_by_its_reserved_address() -> None:
    args: Any = {**DIGITALOCEAN, "server_type": "any", "volume_size_gb": 20}
    with_address: Any = {**args, "public_address_id": "203.0.113.9"}
    deployed = deploy(
        lambda: {
            "with": outputs(AppVPS("app-eu-1", with_address), SERVER_OUTPUTS),
            "without": outputs(AppVPS("app-eu-2", args), SERVER_OUTPUTS),
        },
        COMPUTED,
    )

    assert deployed.outputs["with"] == {
        "server_id": id_of("Droplet", "app-eu-1"),
        "public_ipv4": "203.0.113.9",
        "public_ipv6": "2001:db8::1",
        "private_address": "10.0.1.9",
        "volume_id": id_of("Volume", "app-eu-1-data"),
    }
    assert deployed.outputs["without"]["public_ipv4"] == "203.0.113.1"
    assert deployed.inputs["ReservedIpAssignment", "app-eu-1-ipv4"]["dropletId"] == int(id_of("Droplet", "app-eu-1"))


def test_an_address_and_the_server_that_takes_it() -> None:
    def program() -> dict[str, Any]:
        address = PublicAddress("app-eu-1-ipv4", HETZNER)
        args: Any = {**HETZNER, "server_type": "cx33", "public_address_id": address.address_id}
        AppVPS("app-eu-1", args)
        return outputs(address, ("address_id", "ip_address"))

    deployed = deploy(program, {"PrimaryIp": {"ipAddress": "203.0.113.9"}, **COMPUTED})

    number = id_of("PrimaryIp", "app-eu-1-ipv4")
    assert deployed.outputs == {"address_id": number, "ip_address": "203.0.113.9"}
    assert deployed.inputs["Server", "app-eu-1"]["publicNets"] == [{"ipv4Enabled": True, "ipv6Enabled": True, "ipv4": int(number)}]


def test_groups_tell_servers_where_they_belong() -> None:
    names = ("firewall_id", "placement_group_ids", "tag")

    def program() -> dict[str, Any]:
        return {
            "hetzner": outputs(ServerGroup("app-eu", {"provider": "hetzner", "rules": [], "servers": 11}), names),
            "digitalocean": outputs(ServerGroup("app-us", {"provider": "digitalocean", "rules": [], "servers": 11}), names),
        }

    assert deploy(program).outputs == {
        "hetzner": {
            "firewall_id": id_of("Firewall", "app-eu"),
            "placement_group_ids": [id_of("PlacementGroup", "app-eu"), id_of("PlacementGroup", "app-eu-2")],
            "tag": "",
        },
        "digitalocean": {"firewall_id": id_of("Firewall", "app-us"), "placement_group_ids": [], "tag": "rungway-app-us"},
    }


def test_load_balancers() -> None:
    eu: Any = {**HETZNER, "type": "lb11", "target_label": "role=app", "subnet_id": "7-10.0.0.0/16"}
    us: Any = {**DIGITALOCEAN, "type": "2", "target_tag": "app"}
    names = ("public_ipv4", "public_ipv6")
    deployed = deploy(
        lambda: {"eu": outputs(LoadBalancer("balancer-eu", eu), names), "us": outputs(LoadBalancer("balancer-us", us), names)}, COMPUTED
    )

    assert deployed.outputs == {
        "eu": {"public_ipv4": "203.0.113.2", "public_ipv6": "2001:db8::2"},
        "us": {"public_ipv4": "203.0.113.3", "public_ipv6": "2001:db8::2"},
    }
    number = id_of("LoadBalancer", "balancer-eu")
    assert deployed.inputs["LoadBalancerTarget", "balancer-eu-target"]["loadBalancerId"] == int(number)
    assert deployed.inputs["LoadBalancerNetwork", "balancer-eu-private"]["loadBalancerId"] == int(number)
    # The one resource of Hetzner's that takes the number as a text.
    assert deployed.inputs["LoadBalancerService", "balancer-eu-http"]["loadBalancerId"] == number


def test_clusters() -> None:
    eu: Any = {**HETZNER, "control_nodes": 1, "control_server_type": "cx23", "pools": POOLS}
    us: Any = {**DIGITALOCEAN, "control_nodes": 1, "version": "1.34.1-do.0", "pools": POOLS, "labels": {"app": "shop"}}
    names = ("kubeconfig", "endpoint", "node_addresses")
    deployed = deploy(
        lambda: {"eu": outputs(K8sCluster("kubernetes-eu", eu), names), "us": outputs(K8sCluster("kubernetes-us", us), names)}, COMPUTED
    )

    nodes = ("control-1", "workers-1", "workers-2", "batch-1")
    assert deployed.outputs == {
        "eu": {"kubeconfig": "", "endpoint": "", "node_addresses": {f"kubernetes-eu-{node}": "203.0.113.1" for node in nodes}},
        "us": {"kubeconfig": "apiVersion: v1", "endpoint": "https://k8s.example.com", "node_addresses": {}},
    }
    # The nodes carry the cluster's tags as well as the one that a load balancer finds them by.
    tags = ["app:shop", "rungway-kubernetes-us-worker"]
    assert deployed.inputs["KubernetesCluster", "kubernetes-us"]["nodePool"]["tags"] == tags
    assert deployed.inputs["KubernetesNodePool", "kubernetes-us-batch"]["tags"] == tags


def test_volumes() -> None:
    def program() -> list[Any]:
        eu: Any = {**HETZNER, "size_gb": 10, "server_id": "42"}
        us: Any = {**DIGITALOCEAN, "size_gb": 10, "server_id": "42"}
        return [DataVolume("data-eu", eu).volume_id, DataVolume("data-us", us).volume_id]

    deployed = deploy(program)

    assert deployed.outputs == [id_of("Volume", "data-eu"), id_of("Volume", "data-us")]
    assert deployed.inputs["VolumeAttachment", "data-us-attachment"] == {"volumeId": id_of("Volume", "data-us"), "dropletId": 42}


@pytest.mark.parametrize(
    ("type_end", "name"),
    [
        ("Server", "app-eu-1"),
        ("VolumeAttachment", "app-eu-1-data-attachment"),
        ("ServerNetwork", "app-eu-1-private"),
        ("LoadBalancer", "balancer-eu"),
        ("LoadBalancerNetwork", "balancer-eu-private"),
        ("LoadBalancerService", "balancer-eu-http"),
        ("LoadBalancerService", "balancer-eu-https"),
        ("LoadBalancerService", "balancer-tls-https"),
        ("LoadBalancer", "balancer-us"),
        ("KubernetesCluster", "kubernetes-us"),
    ],
)
def test_what_is_unique_goes_before_its_replacement_comes(type_end: str, name: str) -> None:
    """Names, addresses and volumes that can be taken only once would make the provider refuse the new one."""

    def program() -> None:
        subnet = {"subnet_id": "7-10.0.0.0/16"}
        server: Any = {**HETZNER, **subnet, "server_type": "cx33", "volume_size_gb": 10}
        eu: Any = {**HETZNER, **subnet, "type": "lb11", "target_label": "role=app"}
        tls: Any = {**eu, "certificate_pem": "certificate", "private_key_pem": "key"}
        us: Any = {**DIGITALOCEAN, "type": "2", "target_tag": "app"}
        cluster: Any = {**DIGITALOCEAN, "control_nodes": 1, "version": "1.34.1-do.0", "pools": POOLS}
        AppVPS("app-eu-1", server)
        LoadBalancer("balancer-eu", eu)
        LoadBalancer("balancer-tls", tls)
        LoadBalancer("balancer-us", us)
        K8sCluster("kubernetes-us", cluster)

    assert build(program)[type_end, name].delete_before_replace
