"""A public IPv4 address that outlives the server behind it."""

from typing import NotRequired, TypedDict

import pulumi

from components.arguments import Arguments


class PublicAddressArgs(TypedDict):
    """Where the address is."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    location: pulumi.Input[str]
    """The provider's location; the server must be there too. Frozen."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the address (Hetzner)."""


class PublicAddress(pulumi.ComponentResource):
    """A primary IP (Hetzner) or reserved IP (DigitalOcean): the server behind it can be rebuilt and keeps its address.

    It stays as long as its phase has the server. It is not protected: a phase without servers gives it back.
    """

    address_id: pulumi.Output[str]
    """Id of the address (Hetzner); the address itself at DigitalOcean."""
    ip_address: pulumi.Output[str]
    """The IPv4 address."""

    def __init__(self, name: str, args: PublicAddressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:PublicAddress", name, {}, opts)
        arguments = Arguments("PublicAddress", name, args, PublicAddressArgs)
        provider = arguments.provider()
        arguments.check()
        if provider == "hetzner":
            from pulumi_hcloud.primary_ip import PrimaryIp

            primary = PrimaryIp(
                name,
                type="ipv4",
                location=args["location"],
                # Otherwise Hetzner deletes the address together with the first server that had it.
                auto_delete=False,
                labels=args.get("labels"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.address_id, self.ip_address = primary.id, primary.ip_address
        else:
            from pulumi_digitalocean.reserved_ip import ReservedIp

            reserved = ReservedIp(
                name,
                region=args["location"],
                # The assignment is a resource of its own, which moves to a new server.
                opts=pulumi.ResourceOptions(parent=self, ignore_changes=["dropletId"]),
            )
            self.address_id, self.ip_address = reserved.id, reserved.ip_address
        self.register_outputs({"address_id": self.address_id, "ip_address": self.ip_address})
