"""Serves the components to Pulumi programs in other languages: `pulumi package add <this folder>`.

Pulumi runs this file with the arguments of its plugin protocol. Python and the packages of pyproject.toml must be there: install the
project in the virtual environment that Pulumi's Python finds first.
"""

import sys
from pathlib import Path

# Pulumi starts a plugin by its folder: Python then looks for modules in components/, and not for `components` beside it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pulumi
from pulumi.provider.experimental import component_provider_host

from components.app_vps import AppVPS
from components.data_volume import DataVolume
from components.database_vps import DatabaseVPS
from components.dns_name import DnsName
from components.edge_zone import EdgeZone
from components.generated_secrets import GeneratedSecrets
from components.global_load_balancer import GlobalLoadBalancer
from components.host_convergence import HostConvergence
from components.k8s_cluster import K8sCluster
from components.load_balancer import LoadBalancer
from components.monitoring_vps import MonitoringVPS
from components.origin_certificate import OriginCertificate
from components.private_network import PrivateNetwork
from components.public_address import PublicAddress
from components.r2_bucket import R2Bucket
from components.redis_node import RedisNode
from components.server_group import ServerGroup
from components.ssh_keys import SshKeys
from components.static_site import StaticSite

COMPONENTS: list[type[pulumi.ComponentResource]] = [
    AppVPS,
    DatabaseVPS,
    RedisNode,
    MonitoringVPS,
    DataVolume,
    PublicAddress,
    PrivateNetwork,
    ServerGroup,
    SshKeys,
    LoadBalancer,
    K8sCluster,
    R2Bucket,
    StaticSite,
    EdgeZone,
    DnsName,
    GlobalLoadBalancer,
    GeneratedSecrets,
    HostConvergence,
    OriginCertificate,
]

if __name__ == "__main__":
    component_provider_host(name="rungway", components=COMPONENTS)
