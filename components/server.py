"""What the server components have in common: the same arguments for every role and both providers, and the server itself."""

from typing import NotRequired, TypedDict

import pulumi

from components.arguments import Arguments
from components.data_volume import DataVolume, tags

HETZNER_IMAGE = "debian-13"
DIGITALOCEAN_IMAGE = "debian-13-x64"


class ServerArgs(TypedDict):
    """Arguments of every server component, the same for both providers."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    location: pulumi.Input[str]
    """The provider's location, for example nbg1 or fra1."""
    server_type: pulumi.Input[str]
    """The provider's server type, for example cx33 or s-4vcpu-8gb. A change resizes the server in place, with a restart."""
    image: NotRequired[pulumi.Input[str]]
    """Operating system image of a new server; Debian 13 when absent. A running server ignores changes."""
    hostname: NotRequired[pulumi.Input[str]]
    """Name of the server at the provider, and its host name; the component's name when absent."""
    subnet_id: NotRequired[pulumi.Input[str]]
    """Private network (PrivateNetwork.subnet_ids): the subnet's id at Hetzner, the VPC's id at DigitalOcean."""
    private_address: NotRequired[pulumi.Input[str]]
    """Address in the private network (Hetzner). DigitalOcean assigns one itself."""
    firewall_ids: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Firewalls (Hetzner), in force from the first second."""
    tags: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Further tags (DigitalOcean), among them the one that puts the server behind its firewall."""
    placement_group_id: NotRequired[pulumi.Input[str]]
    """Spread placement group (Hetzner)."""
    ssh_key_ids: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """SSH keys that a new server knows. A running server ignores changes."""
    user_data: NotRequired[pulumi.Input[str]]
    """cloud-init user data of a new server; treated as secret. A running server ignores changes."""
    public_ipv4: NotRequired[pulumi.Input[bool]]
    """Whether the server has a public IPv4 address (Hetzner). DigitalOcean's always have one; the firewall closes it."""
    public_address_id: NotRequired[pulumi.Input[str]]
    """Address that outlives the server (PublicAddress.address_id)."""
    image_backups: NotRequired[pulumi.Input[bool]]
    """The provider's own backups of the server's disk."""
    volume_size_gb: NotRequired[pulumi.Input[int]]
    """Protected data volume in GB; 0 or absent means none. It can grow in place, never shrink."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of everything in the component; DigitalOcean gets them as 'key:value' tags."""


class ServerComponent(pulumi.ComponentResource):
    """A server with its place in the private network, its firewall and, where asked for, its data volume."""

    server_id: pulumi.Output[str]
    """Id of the server."""
    public_ipv4: pulumi.Output[str]
    """Public IPv4 address; empty where there is none."""
    public_ipv6: pulumi.Output[str]
    """Public IPv6 address."""
    private_address: pulumi.Output[str]
    """Address in the private network; empty where there is none."""
    volume_id: pulumi.Output[str]
    """Id of the data volume; empty where there is none."""

    def _build(self, component: str, name: str, args: ServerArgs, *, public_ipv4: bool, holds_data: bool, least_volume_gb: int = 0) -> None:
        """Register the children.

        `public_ipv4` holds where the arguments don't say; `holds_data` guards the server, here and at the provider;
        `least_volume_gb` is the smallest data volume that the component works with, 0 for none.
        """
        arguments = Arguments(component, name, args, ServerArgs)
        provider = arguments.provider()
        has_address = arguments.plain("public_ipv4", bool, public_ipv4)
        volume_size_gb = arguments.plain("volume_size_gb", int, 0)
        if volume_size_gb < least_volume_gb:
            arguments.problem("volume_size_gb", volume_size_gb, f"{least_volume_gb} or more")
        arguments.check()
        server = (
            create_hetzner_server(name, args, self, public_ipv4=has_address, holds_data=holds_data)
            if provider == "hetzner"
            else _digitalocean(name, args, self, holds_data=holds_data)
        )
        self.server_id, self.public_ipv4, self.public_ipv6, self.private_address = server
        self.volume_id = pulumi.Output.from_input("")
        if volume_size_gb:
            self.volume_id = DataVolume(
                f"{name}-data",
                {
                    "provider": provider,
                    "location": args["location"],
                    "size_gb": volume_size_gb,
                    "server_id": self.server_id,
                    "labels": args.get("labels", {}),
                },
                pulumi.ResourceOptions(parent=self),
            ).volume_id
        self.register_outputs(
            {
                "server_id": self.server_id,
                "public_ipv4": self.public_ipv4,
                "public_ipv6": self.public_ipv6,
                "private_address": self.private_address,
                "volume_id": self.volume_id,
            }
        )


CreatedServer = tuple[pulumi.Output[str], pulumi.Output[str], pulumi.Output[str], pulumi.Output[str]]
"""Server id, public IPv4 and IPv6 addresses, private address."""


def create_hetzner_server(name: str, args: ServerArgs, parent: pulumi.Resource, *, public_ipv4: bool, holds_data: bool) -> CreatedServer:
    """A server with its private network interface, as children of `parent`."""
    # Providers are imported where they are used: a stack loads only those that it has.
    from pulumi_hcloud.server import Server
    from pulumi_hcloud.server_network import ServerNetwork

    address = _number(args.get("public_address_id"))
    server = Server(
        name,
        name=args.get("hostname", name),
        server_type=args["server_type"],
        location=args["location"],
        image=args.get("image", HETZNER_IMAGE),
        # A disk that grew can't shrink: it keeps its size, so that a resize can be taken back.
        keep_disk=True,
        ssh_keys=args.get("ssh_key_ids"),
        user_data=_secret(args.get("user_data")),
        public_nets=[
            {"ipv4_enabled": public_ipv4, "ipv6_enabled": True, **({"ipv4": address} if public_ipv4 and address is not None else {})}
        ],
        firewall_ids=_numbers(args.get("firewall_ids")),
        placement_group_id=_number(args.get("placement_group_id")),
        backups=args.get("image_backups", False),
        # Hetzner wants both or neither.
        delete_protection=holds_data,
        rebuild_protection=holds_data,
        shutdown_before_deletion=True,
        labels=args.get("labels"),
        # The provider's protection answers only after the volume was detached and the server stopped; this one before anything is touched.
        opts=pulumi.ResourceOptions(
            protect=holds_data,
            parent=parent,
            ignore_changes=["userData", "sshKeys", "image", "location"],
            # Its name, addresses and volume belong to one server at a time: where it is replaced on purpose, the old one goes first.
            delete_before_replace=True,
        ),
    )
    ipv4_address = server.ipv4_address if public_ipv4 else pulumi.Output.from_input("")
    private_address: pulumi.Input[str] = args.get("private_address", "")
    if args.get("subnet_id") is not None:
        private_address = ServerNetwork(
            f"{name}-private",
            server_id=server.id.apply(int),
            subnet_id=args["subnet_id"],
            ip=args.get("private_address"),
            # A server joins a network once: a new address or subnet means leaving first.
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
        ).ip
    return server.id, ipv4_address, server.ipv6_address, pulumi.Output.from_input(private_address)


def _digitalocean(name: str, args: ServerArgs, parent: pulumi.Resource, *, holds_data: bool) -> CreatedServer:
    from pulumi_digitalocean.droplet import Droplet

    droplet = Droplet(
        name,
        name=args.get("hostname", name),
        size=args["server_type"],
        region=args["location"],
        image=args.get("image", DIGITALOCEAN_IMAGE),
        # A disk that grew can't shrink: it keeps its size, so that a resize can be taken back.
        resize_disk=False,
        ssh_keys=args.get("ssh_key_ids"),
        user_data=_secret(args.get("user_data")),
        vpc_uuid=args.get("subnet_id"),
        tags=_all_tags(args),
        ipv6=True,
        monitoring=True,
        backups=args.get("image_backups", False),
        graceful_shutdown=True,
        opts=pulumi.ResourceOptions(
            parent=parent, protect=holds_data, ignore_changes=["userData", "sshKeys", "image", "region", "vpcUuid", "monitoring"]
        ),
    )
    public_ipv4 = droplet.ipv4_address
    if args.get("public_address_id") is not None:
        from pulumi_digitalocean.reserved_ip_assignment import ReservedIpAssignment

        public_ipv4 = ReservedIpAssignment(
            f"{name}-ipv4",
            droplet_id=droplet.id.apply(int),
            ip_address=args["public_address_id"],
            opts=pulumi.ResourceOptions(parent=parent, delete_before_replace=True),
        ).ip_address
    return droplet.id, public_ipv4, droplet.ipv6_address, droplet.ipv4_address_private


def _all_tags(args: ServerArgs) -> pulumi.Output[list[str]]:
    return pulumi.Output.all(tags(args.get("labels")) or [], args.get("tags") or []).apply(lambda both: [*both[0], *both[1]])


def _secret(value: pulumi.Input[str] | None) -> pulumi.Output[str] | None:
    return None if value is None else pulumi.Output.secret(value)


def _number(value: pulumi.Input[str] | None) -> pulumi.Output[int] | None:
    return None if value is None else pulumi.Output.from_input(value).apply(int)


def _numbers(values: pulumi.Input[list[pulumi.Input[str]]] | None) -> pulumi.Output[list[int]] | None:
    return None if values is None else pulumi.Output.from_input(values).apply(lambda known: [int(str(value)) for value in known])
