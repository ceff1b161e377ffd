"""A host name and the addresses that it leads to."""

import ipaddress
from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

_AUTOMATIC_TTL_SECONDS = 1
"""Cloudflare's way to write "automatic" (Cloudflare API, DNS records): the only value of a proxied record, 300 seconds otherwise."""
_LEAST_TTL_SECONDS, _MOST_TTL_SECONDS = 60, 86_400
"""Cloudflare API, DNS records: bounds of a time to live outside the Enterprise plan."""


class DnsNameArgs(TypedDict):
    """A host name and its addresses."""

    zone_id: pulumi.Input[str]
    """Zone of the host name."""
    hostname: pulumi.Input[str]
    """The whole host name, for example api.example.com."""
    ipv4_addresses: pulumi.Input[list[pulumi.Input[str]]]
    """IPv4 addresses, an A record each."""
    ipv6_addresses: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """IPv6 addresses, an AAAA record each."""
    proxied: NotRequired[pulumi.Input[bool]]
    """Whether Cloudflare stands in front (when absent) or visitors reach the addresses themselves."""
    ttl_seconds: NotRequired[pulumi.Input[int]]
    """How long resolvers keep the answer, 60 to 86,400; automatic when absent or 0. A proxied name is always automatic."""
    comment: NotRequired[pulumi.Input[str]]
    """Comment on each record."""


class DnsName(pulumi.ComponentResource):
    """A record for each address; with several, resolvers take turns."""

    hostname: pulumi.Output[str]
    """The host name."""

    def __init__(self, name: str, args: DnsNameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:DnsName", name, {}, opts)
        arguments = Arguments("DnsName", name, args, DnsNameArgs)
        ipv4 = arguments.plain("ipv4_addresses", list, [])
        ipv6 = arguments.plain("ipv6_addresses", list, [])
        if args.get("ipv4_addresses") == [] and not args.get("ipv6_addresses"):
            arguments.problem("ipv4_addresses", [], "at least one address, here or in ipv6_addresses")
        proxied = arguments.plain("proxied", bool, True)
        ttl_seconds = arguments.plain("ttl_seconds", int, 0)
        if ttl_seconds:
            if proxied:
                arguments.problem("ttl_seconds", ttl_seconds, "nothing, as a proxied name is always automatic")
            else:
                arguments.number("ttl_seconds", _LEAST_TTL_SECONDS, _MOST_TTL_SECONDS, 0)
        _check_addresses(arguments, "ipv4_addresses", ipv4, 4)
        _check_addresses(arguments, "ipv6_addresses", ipv6, 6)
        arguments.check()
        from pulumi_cloudflare.dns_record import DnsRecord

        for record_type, addresses in (("A", ipv4), ("AAAA", ipv6)):
            for index, address in enumerate(addresses, 1):
                DnsRecord(
                    f"{name}-{record_type.lower()}-{index}",
                    zone_id=args["zone_id"],
                    name=args["hostname"],
                    type=record_type,
                    content=address,
                    proxied=proxied,
                    ttl=ttl_seconds or _AUTOMATIC_TTL_SECONDS,
                    comment=args.get("comment") or None,
                    opts=pulumi.ResourceOptions(parent=self),
                )
        self.hostname = pulumi.Output.from_input(args["hostname"])
        self.register_outputs({"hostname": self.hostname})


def _check_addresses(arguments: Arguments, key: str, addresses: list[Any], version: int) -> None:
    """What is known already must be an address, and there only once: Cloudflare refuses a record that exists."""
    seen = set()
    for index, address in enumerate(addresses):
        if isinstance(address, pulumi.Output):
            continue
        try:
            right = ipaddress.ip_address(address).version == version
        except ValueError:
            right = False
        if not right:
            arguments.problem(f"{key}[{index}]", address, f"an IPv{version} address")
        elif address in seen:
            arguments.problem(f"{key}[{index}]", address, "each address only once")
        seen.add(address)
