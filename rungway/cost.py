"""What a plan costs a month: each resource from its own inputs and the price catalogue, the sum, and the sum against the budget.

Figures are list prices without VAT for a full month. Hetzner bills by the hour and DigitalOcean by the second, both up to the monthly
price, so a month that is not full costs less, never more. Traffic beyond what servers include is not estimated. Sums are exact decimals;
`to_cents` rounds for output.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from infra.catalog.prices import Price, Prices, load_prices
from rungway.model import UNKNOWN, Finding, Level, Money, Plan, Resource

if TYPE_CHECKING:
    from infra.settings import Settings

_MILLION = Decimal(1_000_000)
_ROOT_STACK = "pulumi:pulumi:Stack"
_ADDRESS_ASSIGNMENT = "digitalocean:index/reservedIpAssignment:ReservedIpAssignment"


@dataclass(frozen=True)
class BucketUsage:
    """What is expected of one bucket: GB stored, and class A (write) and class B (read) operations a month."""

    storage_gb: int
    writes_per_month: int
    reads_per_month: int


@dataclass(frozen=True)
class Usage:
    """What is expected to be used of what is billed by use. `buckets` is by the bucket's name at Cloudflare."""

    buckets: Mapping[str, BucketUsage] = field(default_factory=dict)
    worker_requests_per_month: int = 0


def usage_of(settings: "Settings") -> Usage:
    """The usage that a stack's settings expect."""
    return Usage(
        buckets={
            f"{settings.name}-{bucket.name}": BucketUsage(bucket.storage_gb, bucket.writes_per_month, bucket.reads_per_month)
            for bucket in settings.edge.buckets
        },
        worker_requests_per_month=settings.edge.worker_requests_per_month,
    )


FREE: Mapping[str, str] = {
    "cloudflare:index/argoTieredCaching:ArgoTieredCaching": "tiered cache is part of every plan of a zone",
    "cloudflare:index/accountToken:AccountToken": "tokens cost nothing",
    "cloudflare:index/loadBalancerMonitor:LoadBalancerMonitor": "part of the load balancer's price",
    "cloudflare:index/originCaCertificate:OriginCaCertificate": "part of every plan of a zone",
    "cloudflare:index/pagesDomain:PagesDomain": "part of the Pages project",
    "cloudflare:index/r2BucketCors:R2BucketCors": "a setting of the bucket",
    "cloudflare:index/r2BucketLifecycle:R2BucketLifecycle": "a setting of the bucket",
    "cloudflare:index/r2BucketLock:R2BucketLock": "a setting of the bucket",
    "cloudflare:index/r2CustomDomain:R2CustomDomain": "a setting of the bucket",
    "cloudflare:index/r2ManagedDomain:R2ManagedDomain": "a setting of the bucket",
    "cloudflare:index/ruleset:Ruleset": "cache rules are part of every plan of a zone",
    "cloudflare:index/tieredCache:TieredCache": "part of every plan of a zone",
    "cloudflare:index/zoneSetting:ZoneSetting": "a setting of the zone",
    "command:local:Command": "runs on the machine of `pulumi up`",
    "digitalocean:index/certificate:Certificate": "part of the load balancer's price",
    "digitalocean:index/reservedIpAssignment:ReservedIpAssignment": "an attachment; the address is priced",
    "digitalocean:index/sshKey:SshKey": "keys cost nothing",
    "digitalocean:index/tag:Tag": "tags cost nothing",
    "digitalocean:index/volumeAttachment:VolumeAttachment": "an attachment; the volume is priced",
    "digitalocean:index/vpc:Vpc": "what runs in it is priced",
    "hcloud:index/loadBalancerNetwork:LoadBalancerNetwork": "an attachment; the load balancer is priced",
    "hcloud:index/loadBalancerService:LoadBalancerService": "part of the load balancer's price",
    "hcloud:index/loadBalancerTarget:LoadBalancerTarget": "part of the load balancer's price",
    "hcloud:index/networkSubnet:NetworkSubnet": "part of the network",
    "hcloud:index/serverNetwork:ServerNetwork": "an attachment; the server is priced",
    "hcloud:index/sshKey:SshKey": "keys cost nothing",
    "hcloud:index/uploadedCertificate:UploadedCertificate": "part of the load balancer's price",
    "hcloud:index/volumeAttachment:VolumeAttachment": "an attachment; the volume is priced",
    "random:index/randomPassword:RandomPassword": "made by `pulumi up` itself",
}
"""Resource types that nobody sends a bill for, and why. A type that is neither here nor has a rule has an unknown price."""


@dataclass(frozen=True)
class _Line:
    """One line of a bill: `amount` in `currency` a month, or None while nobody knows. `price` is the row that it came from."""

    what: str
    amount: Decimal | None
    currency: str = ""
    price: Price | None = None


class _Pricing:
    """Prices the resources of one plan, in their order: free allowances are the account's, so they are used up along the way."""

    def __init__(self, prices: Prices, usage: Usage, currency: str, assigned: frozenset[str]) -> None:
        self.usage = usage
        self.assigned = assigned
        self.low_confidence: dict[str, None] = {}
        self.notes: list[Finding] = []
        self._prices = prices
        self._currency = currency
        self._used: dict[str, Decimal] = {}

    def cost(self, resource: Resource) -> Money | None:
        """The resource's cost, or None when it has no price of its own."""
        if resource.component or resource.type in FREE or resource.type.startswith("pulumi:"):
            return None
        rule = _RULES.get(resource.type)
        lines = rule(self, resource) if rule else [_Line(resource.type, None)]
        amount = Decimal(0)
        unknown = []
        for line in lines:
            converted = None if line.amount is None else self._prices.convert(line.amount, line.currency, self._currency)
            if converted is None:
                unknown.append(f"{resource.name}: {line.what}")
                continue
            amount += converted
            if line.price is not None and line.price.low_confidence:
                self.low_confidence[f"{line.price.label} ({line.price.source.url})"] = None
        return Money(amount, self._currency, tuple(unknown))

    def line(self, provider: str, item: str, name: Any = "", location: Any = "", quantity: Any = 1) -> _Line:
        """What `quantity` units of this cost. Inputs are passed as they are: one that is unknown gives an unknown price."""
        what = " ".join(str(part) for part in (item, name, location and f"in {location}") if part)
        if not all(isinstance(text, str) and text != UNKNOWN for text in (name, location)) or not _is_number(quantity):
            return _Line(what, None)
        price = self._prices.find(provider, item, name, location)
        if price is None or price.amount is None:
            return _Line(what, None)
        return _Line(what, price.amount * Decimal(str(quantity)), price.currency, price)

    def share(self, line: _Line, provider: str, item: str, name: str = "") -> _Line:
        """What an addition costs that is priced as a percentage of `line`."""
        percentage = self._prices.find(provider, item, name)
        if line.amount is None or percentage is None or percentage.amount is None:
            return _Line(f"{item} of {line.what}", None)
        return dataclasses.replace(line, what=item, amount=line.amount * percentage.amount / 100, price=percentage)

    def metered(self, provider: str, item: str, units: Decimal) -> _Line:
        """What `units` more of the account's use cost: the free allowance first, then every unit begun."""
        price = self._prices.find(provider, item)
        if price is None or price.amount is None:
            return _Line(item, None)
        before = self._used.get(item, Decimal(0))
        self._used[item] = before + units
        return _Line(item, price.amount * (_billed(before + units, price) - _billed(before, price)), price.currency, price)

    def is_first(self, what: str) -> bool:
        """Whether this is the first that an account-wide subscription is asked for in this plan."""
        first = what not in self._used
        self._used[what] = Decimal(1)
        return first

    def note_ceiling(self, resource: Resource, node: _Line, least: Any, most: Any) -> None:
        """Say what autoscaling can add to the bill of a node pool."""
        if not _is_number(least) or not _is_number(most) or most <= least or node.amount is None:
            return
        extra = self._prices.convert(node.amount * (most - least), node.currency, self._currency)
        if extra is not None:
            self.notes.append(
                Finding(
                    Level.NOTE,
                    "autoscaling_ceiling",
                    resource.urn,
                    f"priced at {least} nodes; autoscaling up to {most} adds up to {to_cents(extra)} {self._currency} a month",
                )
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _billed(units: Decimal, price: Price) -> Decimal:
    return max(units - price.included, Decimal(0)).to_integral_value(ROUND_CEILING)


def _hetzner_server(pricing: _Pricing, resource: Resource) -> list[_Line]:
    inputs = resource.inputs
    server = pricing.line("hetzner", "server", inputs.get("serverType", UNKNOWN), inputs.get("location", UNKNOWN))
    lines = [server]
    if inputs.get("backups"):
        lines.append(pricing.share(server, "hetzner", "server-backup"))
    # Without an address of its own resource, Hetzner creates a primary IPv4 with the server, and bills it.
    networks = inputs.get("publicNets", [{}])
    if isinstance(networks, list) and any(
        isinstance(network, dict) and network.get("ipv4Enabled", True) and network.get("ipv4") is None for network in networks
    ):
        lines.append(pricing.line("hetzner", "primary-ip", "ipv4"))
    return lines


def _droplet(pricing: _Pricing, resource: Resource) -> list[_Line]:
    droplet = pricing.line("digitalocean", "server", resource.inputs.get("size", UNKNOWN))
    if not resource.inputs.get("backups"):
        return [droplet]
    policy = resource.inputs.get("backupPolicy")
    plan = policy.get("plan", "weekly") if isinstance(policy, dict) else "weekly"
    return [droplet, pricing.share(droplet, "digitalocean", "server-backup", plan)]


def _reserved_ip(pricing: _Pricing, resource: Resource) -> list[_Line]:
    assigned = resource.urn in pricing.assigned or resource.inputs.get("dropletId") is not None
    return [pricing.line("digitalocean", "reserved-ip", "assigned" if assigned else "unassigned")]


def _digitalocean_load_balancer(pricing: _Pricing, resource: Resource) -> list[_Line]:
    kind = resource.inputs.get("type", "REGIONAL")
    nodes = 1 if kind == "GLOBAL" else resource.inputs.get("sizeUnit", 1)
    return [pricing.line("digitalocean", "load-balancer", kind, quantity=nodes)]


def _kubernetes_cluster(pricing: _Pricing, resource: Resource) -> list[_Line]:
    control_plane = pricing.line(
        "digitalocean", "kubernetes-control-plane", "highly-available" if resource.inputs.get("ha") else "standard"
    )
    pool = resource.inputs.get("nodePool")
    if not isinstance(pool, dict):
        return [control_plane, _Line("node pool", None)]
    return [control_plane, _pool(pricing, resource, pool)]


def _node_pool(pricing: _Pricing, resource: Resource) -> list[_Line]:
    return [_pool(pricing, resource, resource.inputs)]


def _pool(pricing: _Pricing, resource: Resource, pool: Mapping[str, Any]) -> _Line:
    scales = pool.get("autoScale")
    nodes = pool.get("minNodes", 1) if scales else pool.get("nodeCount", 1)
    if scales:
        pricing.note_ceiling(resource, pricing.line("digitalocean", "server", pool.get("size", UNKNOWN)), nodes, pool.get("maxNodes"))
    return pricing.line("digitalocean", "server", pool.get("size", UNKNOWN), quantity=nodes)


def _bucket(pricing: _Pricing, resource: Resource) -> list[_Line]:
    usage = pricing.usage.buckets.get(str(resource.inputs.get("name")))
    if usage is None or resource.inputs.get("storageClass", "Standard") != "Standard":
        return [_Line("storage and operations", None)]
    return [
        pricing.metered("cloudflare", "r2-storage", Decimal(usage.storage_gb)),
        pricing.metered("cloudflare", "r2-class-a", usage.writes_per_month / _MILLION),
        pricing.metered("cloudflare", "r2-class-b", usage.reads_per_month / _MILLION),
    ]


def _worker(pricing: _Pricing, resource: Resource) -> list[_Line]:  # noqa: ARG001 (every rule has this form)
    """The account's Workers plan, with the first Worker: the free one while it is enough, else the paid one with its requests."""
    if not pricing.is_first("workers"):
        return []
    requests = pricing.usage.worker_requests_per_month / _MILLION
    free = pricing.line("cloudflare", "workers", "free")
    if free.price is not None and requests <= free.price.included:
        return [free]
    return [pricing.line("cloudflare", "workers", "paid"), pricing.metered("cloudflare", "workers-requests", requests)]


def _global_load_balancer(pricing: _Pricing, resource: Resource) -> list[_Line]:  # noqa: ARG001 (every rule has this form)
    """The account's subscription, with the first load balancer. Its pools carry the endpoints."""
    return [pricing.line("cloudflare", "load-balancing")] if pricing.is_first("load-balancing") else []


def _global_load_balancer_pool(pricing: _Pricing, resource: Resource) -> list[_Line]:
    origins = resource.inputs.get("origins")
    if not isinstance(origins, list):
        return [_Line("endpoints", None)]
    return [pricing.metered("cloudflare", "load-balancing-endpoint", Decimal(len(origins)))]


def _simple(
    provider: str, item: str, *, name: str = "", location: str = "", quantity: str = ""
) -> Callable[[_Pricing, Resource], list[_Line]]:
    """A rule for what has one price: the inputs that hold the name, the location and the quantity of the row, where it has them."""

    def rule(pricing: _Pricing, resource: Resource) -> list[_Line]:
        inputs = resource.inputs
        return [
            pricing.line(
                provider,
                item,
                inputs.get(name, UNKNOWN) if name else "",
                inputs.get(location, UNKNOWN) if location else "",
                inputs.get(quantity, UNKNOWN) if quantity else 1,
            )
        ]

    return rule


_RULES: Mapping[str, Callable[[_Pricing, Resource], list[_Line]]] = {
    "cloudflare:index/dnsRecord:DnsRecord": _simple("cloudflare", "dns"),
    "cloudflare:index/loadBalancer:LoadBalancer": _global_load_balancer,
    "cloudflare:index/loadBalancerPool:LoadBalancerPool": _global_load_balancer_pool,
    "cloudflare:index/pagesProject:PagesProject": _simple("cloudflare", "pages"),
    "cloudflare:index/r2Bucket:R2Bucket": _bucket,
    "cloudflare:index/workersScript:WorkersScript": _worker,
    "digitalocean:index/droplet:Droplet": _droplet,
    "digitalocean:index/firewall:Firewall": _simple("digitalocean", "firewall"),
    "digitalocean:index/kubernetesCluster:KubernetesCluster": _kubernetes_cluster,
    "digitalocean:index/kubernetesNodePool:KubernetesNodePool": _node_pool,
    "digitalocean:index/loadBalancer:LoadBalancer": _digitalocean_load_balancer,
    "digitalocean:index/reservedIp:ReservedIp": _reserved_ip,
    "digitalocean:index/volume:Volume": _simple("digitalocean", "volume", quantity="size"),
    "hcloud:index/firewall:Firewall": _simple("hetzner", "firewall"),
    "hcloud:index/floatingIp:FloatingIp": _simple("hetzner", "floating-ip", name="type"),
    "hcloud:index/loadBalancer:LoadBalancer": _simple("hetzner", "load-balancer", name="loadBalancerType", location="location"),
    "hcloud:index/network:Network": _simple("hetzner", "network"),
    "hcloud:index/placementGroup:PlacementGroup": _simple("hetzner", "placement-group"),
    "hcloud:index/primaryIp:PrimaryIp": _simple("hetzner", "primary-ip", name="type"),
    "hcloud:index/server:Server": _hetzner_server,
    # How large a snapshot is, compressed, is known only when it is made.
    "hcloud:index/snapshot:Snapshot": lambda _pricing, _resource: [_Line("snapshot", None)],
    "hcloud:index/volume:Volume": _simple("hetzner", "volume", quantity="size"),
}


def priced_types() -> frozenset[str]:
    """The resource types that have a price or are known to have none."""
    return frozenset({*_RULES, *FREE})


def price(plan: Plan, currency: str, usage: Usage, prices: Prices | None = None) -> Plan:
    """`plan` with the monthly cost of every resource and of the whole, in `currency` (EUR or USD).

    A resource without a price of its own (a component, or a type of `FREE`) has None. What has no known price counts as nothing in the sum
    and is named in `unknown`. Adds notes: what autoscaling can add, and which figures were not read from the vendor.
    """
    # DigitalOcean bills a reserved address only while no Droplet has it.
    assigned = frozenset(urn for resource in plan.resources if resource.type == _ADDRESS_ASSIGNMENT for urn in resource.dependencies)
    pricing = _Pricing(prices or load_prices(), usage, currency, assigned)
    resources = [dataclasses.replace(resource, monthly_cost=pricing.cost(resource)) for resource in plan.resources]
    notes = list(pricing.notes)
    if pricing.low_confidence:
        notes.append(
            Finding(
                Level.NOTE,
                "price_at_second_hand",
                "infra/catalog/prices.yaml",
                f"not read from the vendor: {'; '.join(pricing.low_confidence)}",
                "check these against your own bill",
            )
        )
    return dataclasses.replace(
        plan,
        resources=tuple(resources),
        monthly_cost=add([resource.monthly_cost for resource in resources], currency),
        findings=(*plan.findings, *notes),
    )


def add(costs: Sequence[Money | None], currency: str) -> Money:
    """The sum of `costs`, which are all in `currency`; None counts as nothing."""
    known = [cost for cost in costs if cost is not None]
    return Money(sum((cost.amount for cost in known), Decimal(0)), currency, tuple(name for cost in known for name in cost.unknown))


def to_cents(amount: Decimal) -> Decimal:
    """`amount` with two decimals, halves rounded up: the form for output."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def money_text(money: Money) -> str:
    """`money` as people read it: `12.35 EUR`, with `+ unknown` when something in it has no known price."""
    return f"{to_cents(money.amount)} {money.currency}{' + unknown' if money.unknown else ''}"


def check_budget(plan: Plan) -> Finding | None:
    """An error when the priced `plan` costs more than its budget; a warning when unknown prices leave that open.

    The error names the three largest items.
    """
    budget, cost = plan.budget, plan.monthly_cost
    if budget is None or cost is None:
        return None
    path = "rungway:budget.monthly_amount"
    limit = f"{to_cents(budget.amount)} {budget.currency}"
    # Rounded as it is shown: a sum that reads as the budget is within it.
    if to_cents(cost.amount) > budget.amount:
        largest = sorted((resource for resource in plan.resources if resource.monthly_cost), key=_amount, reverse=True)[:3]
        items = ", ".join(f"{resource.name} {to_cents(_amount(resource))}" for resource in largest)
        return Finding(
            Level.ERROR,
            "over_budget",
            path,
            f"costs {money_text(cost)} a month; allowed: {limit}; the largest items: {items}",
            "take smaller or fewer servers, or raise rungway:budget.monthly_amount",
        )
    if cost.unknown:
        return Finding(
            Level.WARNING,
            "budget_uncertain",
            path,
            f"costs {to_cents(cost.amount)} {cost.currency} of {limit} a month, without what has no known price: {', '.join(cost.unknown)}",
            "look these prices up and write them into infra/catalog/prices.yaml",
        )
    return None


def _amount(resource: Resource) -> Decimal:
    return resource.monthly_cost.amount if resource.monthly_cost else Decimal(0)


def by_component(plan: Plan) -> tuple[tuple[str, Money], ...]:
    """What each top-level component of a priced `plan` costs, in the plan's order: `app-eu-1 (AppVPS)`.

    A resource outside of components stands for itself. What costs nothing is left out.
    """
    parents = {resource.urn: resource for resource in plan.resources}
    costs: dict[str, list[Money | None]] = {}
    for resource in plan.resources:
        costs.setdefault(_label(_top_level(resource, parents)), []).append(resource.monthly_cost)
    currency = plan.monthly_cost.currency if plan.monthly_cost else ""
    sums = ((label, add(parts, currency)) for label, parts in costs.items())
    return tuple((label, cost) for label, cost in sums if cost.amount or cost.unknown)


def _top_level(resource: Resource, parents: Mapping[str, Resource]) -> Resource:
    for ancestor in _ancestors(resource, parents):
        resource = ancestor
    return resource


def _ancestors(resource: Resource, parents: Mapping[str, Resource]) -> Iterator[Resource]:
    while resource.parent is not None and (parent := parents.get(resource.parent)) is not None and parent.type != _ROOT_STACK:
        yield parent
        resource = parent


def _label(resource: Resource) -> str:
    return f"{resource.name} ({resource.type.rsplit(':', 1)[-1]})"
