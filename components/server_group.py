"""What all servers of one role in one region share: a default-deny firewall and, at Hetzner, spread placement groups."""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

SPREAD_GROUP_SIZE = 10
"""The most servers that a Hetzner spread placement group takes (Hetzner Cloud documentation, Placement Groups)."""

_EVERYWHERE = ["0.0.0.0/0", "::/0"]


class FirewallRuleArgs(TypedDict):
    """One kind of traffic that may come in."""

    description: pulumi.Input[str]
    """What it is for."""
    protocol: pulumi.Input[str]
    """tcp, udp or icmp."""
    port: pulumi.Input[str]
    """A port, a range as '1000-2000', or an empty text for icmp."""
    sources: pulumi.Input[list[pulumi.Input[str]]]
    """Networks that it may come from, as CIDRs."""


class ServerGroupArgs(TypedDict):
    """The servers of one role in one region."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    rules: pulumi.Input[list[pulumi.Input[FirewallRuleArgs]]]
    """What may come in; everything else is dropped. Everything may go out."""
    servers: pulumi.Input[int]
    """How many servers the group has: one spread placement group for every ten (Hetzner)."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the firewall and the placement groups (Hetzner)."""


class ServerGroup(pulumi.ComponentResource):
    """Firewall and placement of a role's servers.

    The firewall exists before the servers, so that none ever boots open. Hetzner's firewalls see public traffic only; what comes over the
    private network is filtered by nftables on the hosts, from the same rules. DigitalOcean's see both.
    """

    firewall_id: pulumi.Output[str]
    """Id of the firewall."""
    placement_group_ids: pulumi.Output[list[str]]
    """Ids of the spread placement groups (Hetzner), ten servers each in order; empty at DigitalOcean."""
    tag: pulumi.Output[str]
    """Tag that puts a Droplet behind the firewall (DigitalOcean); empty at Hetzner."""

    def __init__(self, name: str, args: ServerGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:ServerGroup", name, {}, opts)
        arguments = Arguments("ServerGroup", name, args, ServerGroupArgs)
        provider = arguments.provider()
        servers = arguments.number("servers", 0, 1000, 0)
        rules = arguments.items("rules", FirewallRuleArgs, {"protocol": str, "port": str})
        for index, rule in enumerate(rules):
            if rule.get("protocol", "tcp") not in {"tcp", "udp", "icmp"}:
                arguments.problem(f"rules[{index}].protocol", rule["protocol"], "icmp, tcp, udp")
        arguments.check()
        child = pulumi.ResourceOptions(parent=self)
        groups: list[pulumi.Output[str]] = []
        if provider == "hetzner":
            from pulumi_hcloud.firewall import Firewall as HetznerFirewall
            from pulumi_hcloud.placement_group import PlacementGroup

            self.firewall_id = HetznerFirewall(
                name, labels=args.get("labels"), rules=[_hetzner_rule(rule) for rule in rules], opts=child
            ).id
            for number in range(1, -(-servers // SPREAD_GROUP_SIZE) + 1):
                group_name = name if number == 1 else f"{name}-{number}"
                groups.append(PlacementGroup(group_name, type="spread", labels=args.get("labels"), opts=child).id)
            self.tag = pulumi.Output.from_input("")
        else:
            from pulumi_digitalocean.firewall import Firewall as DigitalOceanFirewall
            from pulumi_digitalocean.tag import Tag

            tag = Tag(name, name=f"{pulumi.get_project()}-{name}", opts=child)
            firewall = DigitalOceanFirewall(
                name,
                tags=[tag.id],
                inbound_rules=[_digitalocean_rule(rule) for rule in rules],
                outbound_rules=[_everything_out(protocol) for protocol in ("tcp", "udp", "icmp")],
                opts=child,
            )
            self.firewall_id = firewall.id
            # A server that takes its tag from here starts after the firewall that the tag puts it behind.
            self.tag = pulumi.Output.all(tag.name, firewall.id).apply(lambda both: str(both[0]))
        self.placement_group_ids = pulumi.Output.all(*groups)
        self.register_outputs({"firewall_id": self.firewall_id, "placement_group_ids": self.placement_group_ids, "tag": self.tag})


def _hetzner_rule(rule: Any) -> Any:
    port = {"port": rule["port"]} if rule["port"] else {}
    return {"direction": "in", "description": rule["description"], "protocol": rule["protocol"], "source_ips": rule["sources"], **port}


def _digitalocean_rule(rule: Any) -> Any:
    port = {"port_range": rule["port"]} if rule["port"] else {}
    return {"protocol": rule["protocol"], "source_addresses": rule["sources"], **port}


def _everything_out(protocol: str) -> Any:
    ports = {} if protocol == "icmp" else {"port_range": "1-65535"}
    return {"protocol": protocol, "destination_addresses": _EVERYWHERE, **ports}
