"""A private network, with a subnet for each region that it spans."""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments


class SubnetArgs(TypedDict):
    """The addresses of one region."""

    name: pulumi.Input[str]
    """Name of the region; part of the resource's name, so frozen."""
    location: pulumi.Input[str]
    """The provider's location. DigitalOcean builds the VPC there; at Hetzner the subnet spans its whole network zone."""
    cidr: pulumi.Input[str]
    """Addresses of the subnet, for example 10.0.0.0/16. Frozen: a change replaces the subnet."""


class PrivateNetworkArgs(TypedDict):
    """What a private network is made of."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    cidr: pulumi.Input[str]
    """Addresses of the whole network (Hetzner); the subnets lie inside. Frozen: a change replaces the network."""
    network_zone: NotRequired[pulumi.Input[str]]
    """Hetzner's network zone, for example eu-central. Needed at Hetzner."""
    subnets: pulumi.Input[list[pulumi.Input[SubnetArgs]]]
    """One subnet a region."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the network (Hetzner)."""


class PrivateNetwork(pulumi.ComponentResource):
    """A network that only its own servers reach: a Network with subnets at Hetzner, a VPC for each region at DigitalOcean."""

    network_id: pulumi.Output[str]
    """Id of the network (Hetzner); empty at DigitalOcean, where every subnet is a VPC of its own."""
    subnet_ids: pulumi.Output[dict[str, str]]
    """Id of the subnet (Hetzner) or VPC (DigitalOcean) of each region, by region name."""

    def __init__(self, name: str, args: PrivateNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:PrivateNetwork", name, {}, opts)
        arguments = Arguments("PrivateNetwork", name, args, PrivateNetworkArgs)
        provider = arguments.provider()
        subnets = arguments.items("subnets", SubnetArgs, {"name": str})
        names = [subnet["name"] for subnet in subnets if "name" in subnet]
        for duplicate in sorted({item for item in names if names.count(item) > 1}):
            arguments.problem("subnets", duplicate, "a name only once")
        if provider == "hetzner" and not args.get("network_zone"):
            arguments.problem("network_zone", args.get("network_zone"), "one of Hetzner's network zones, for example eu-central")
        arguments.check()
        protected = pulumi.ResourceOptions(parent=self, protect=True)
        ids: dict[str, pulumi.Output[str]] = {}
        if provider == "hetzner":
            # Providers are imported where they are used: a stack loads only those that it has.
            from pulumi_hcloud.network import Network
            from pulumi_hcloud.network_subnet import NetworkSubnet

            network = Network(name, ip_range=args["cidr"], labels=args.get("labels"), opts=protected)
            for subnet in subnets:
                ids[subnet["name"]] = NetworkSubnet(
                    f"{name}-{subnet['name']}",
                    network_id=network.id.apply(int),
                    type="cloud",
                    network_zone=args["network_zone"],
                    ip_range=subnet["cidr"],
                    # Subnets of a network can't overlap: the old one, and every server's place in it, goes before the new one comes.
                    opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
                ).id
            self.network_id = network.id
        else:
            from pulumi_digitalocean.vpc import Vpc

            for subnet in subnets:
                ids[subnet["name"]] = Vpc(f"{name}-{subnet['name']}", region=subnet["location"], ip_range=subnet["cidr"], opts=protected).id
            self.network_id = pulumi.Output.from_input("")
        self.subnet_ids = pulumi.Output.from_input(_texts(ids))
        self.register_outputs({"network_id": self.network_id, "subnet_ids": self.subnet_ids})


def _texts(ids: dict[str, pulumi.Output[str]]) -> Any:
    return dict(ids)
