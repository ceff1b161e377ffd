"""What a plan costs: the catalogue's rows, each rule, sums, conversion, budgets."""

import dataclasses
import time
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from infra.catalog.prices import PRICES_FILE, PriceCatalogueError, Prices, load_prices, parse_prices
from rungway.cost import FREE, BucketUsage, Usage, add, by_component, check_budget, money_text, price, priced_types, to_cents
from rungway.facts import known_types
from rungway.model import UNKNOWN, Budget, Finding, Level, Money, Plan, Resource

SERVER = "hcloud:index/server:Server"
BUCKET = "cloudflare:index/r2Bucket:R2Bucket"
POOL = "cloudflare:index/loadBalancerPool:LoadBalancerPool"
STACK = "pulumi:pulumi:Stack"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:mvp::rungway::{type_}::{name}"


def resource(type_: str, name: str = "part", *, parent: str | None = None, dependencies: tuple[str, ...] = (), **inputs: Any) -> Resource:
    component = type_.startswith("rungway:") or type_ == STACK
    return Resource(urn(type_, name), type_, name, parent, component, inputs, dependencies=dependencies)


def priced(*resources: Resource, currency: str = "EUR", usage: Usage | None = None, prices: Prices | None = None) -> Plan:
    return price(Plan("mvp", "mvp", "rungway", resources), currency, usage or Usage(), prices)


def cost(*resources: Resource, currency: str = "EUR", usage: Usage | None = None) -> Money:
    plan = priced(*resources, currency=currency, usage=usage)
    assert plan.monthly_cost is not None
    return plan.monthly_cost


def euros(item: str, name: str = "", location: str = "") -> Decimal:
    row = load_prices().find("hetzner", item, name, location)
    assert row is not None
    assert row.amount is not None
    return row.amount


# The catalogue


def test_every_row_has_a_price_or_says_unknown_a_date_and_a_source() -> None:
    prices = load_prices()
    assert len(prices.rows) > 80
    for row in prices.rows:
        assert row.amount is None or row.amount >= 0, row.label
        assert row.currency in {"EUR", "USD"}, row.label
        assert date(2020, 1, 1) < row.as_of <= date(2026, 12, 31), row.label
        assert row.source.url.startswith("https://"), row.label
    assert {row.provider for row in prices.rows} == {"hetzner", "digitalocean", "cloudflare"}
    (rate,) = prices.exchange_rates
    assert (rate.base, rate.quote) == ("EUR", "USD")
    assert Decimal("0.8") < rate.rate < Decimal("1.6")


def test_the_catalogue_is_read_quickly() -> None:
    text = PRICES_FILE.read_text()
    best = min(_seconds_to_parse(text) for _ in range(5))
    assert best < 0.03


def _seconds_to_parse(text: str) -> float:
    start = time.process_time()
    parse_prices(text, "prices.yaml")
    return time.process_time() - start


def test_a_price_is_found_by_location_then_by_group_then_anywhere() -> None:
    prices = load_prices()
    assert prices.find("hetzner", "server", "cx33", "nbg1") == prices.find("hetzner", "server", "cx33", "hel1")
    assert prices.find("hetzner", "server", "cx33", "ash") is None
    assert prices.find("hetzner", "volume", "", "ash") == prices.find("hetzner", "volume")
    assert prices.find("hetzner", "server", "ccx13", "ash") != prices.find("hetzner", "server", "ccx13", "fsn1")


SMALL = """
sources: {list: {url: "https://example.com/prices", note: ""}}
exchange_rates: []
prices:
  - {provider: hetzner, item: volume, price: 0.0572, unit: GB-month, currency: EUR, as_of: 2026-05-27, source: list}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("price: 0.0572, ", "", "prices.yaml: prices[0]: price: found nothing; every row needs it"),
        ("price: 0.0572", "price: -1", "prices.yaml: prices[0]: price: found -1; allowed: a number from 0, or unknown"),
        ("price: 0.0572", "price: cheap", "prices.yaml: prices[0]: price: found 'cheap'; allowed: a number from 0, or unknown"),
        (", source: list", "", "prices.yaml: prices[0]: source: found nothing; every row needs it"),
        ("source: list", "source: rumour", "prices.yaml: prices[0]: source: found 'rumour'; allowed: list"),
        ("as_of: 2026-05-27", "as_of: May", "prices.yaml: prices[0]: as_of: found 'May'; allowed: a date as 2026-11-21"),
        ("currency: EUR, ", "", "prices.yaml: prices[0]: currency: found nothing; every row needs it"),
    ],
)
def test_a_row_that_cannot_be_used_is_an_exact_error(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(PriceCatalogueError) as caught:
        parse_prices(SMALL.replace(old, new), "prices.yaml")
    assert str(caught.value) == message


def test_two_rows_for_the_same_thing_are_an_error() -> None:
    last = SMALL.strip().splitlines()[-1]
    with pytest.raises(PriceCatalogueError, match=r"^prices.yaml: prices: hetzner volume: two rows price this; keep one$"):
        parse_prices(SMALL + last, "prices.yaml")


def test_what_is_no_catalogue_is_an_error() -> None:
    with pytest.raises(PriceCatalogueError, match=r"^prices.yaml: found no catalogue"):
        parse_prices("- 1", "prices.yaml")
    with pytest.raises(PriceCatalogueError, match=r"^prices.yaml: not valid YAML: "):
        parse_prices("prices: [", "prices.yaml")


# The rules


def test_every_type_that_the_components_use_has_a_rule_or_a_reason() -> None:
    assert known_types() - priced_types() == frozenset()


@pytest.mark.parametrize(
    ("type_", "inputs", "expected"),
    [
        (SERVER, {"serverType": "cx33", "location": "nbg1", "publicNets": [{"ipv4Enabled": False}]}, "8.49"),
        # Hetzner makes and bills an address of its own when none is given.
        (SERVER, {"serverType": "cx33", "location": "nbg1", "publicNets": [{"ipv4Enabled": True, "ipv6Enabled": True}]}, "8.99"),
        (SERVER, {"serverType": "cx33", "location": "nbg1"}, "8.99"),
        (SERVER, {"serverType": "cx33", "location": "nbg1", "publicNets": [{"ipv4Enabled": True, "ipv4": UNKNOWN}]}, "8.49"),
        # Backups are 20 % of the server, not of its address.
        (SERVER, {"serverType": "cx33", "location": "nbg1", "backups": True}, "10.688"),
        (SERVER, {"serverType": "ccx13", "location": "ash", "publicNets": [{"ipv4Enabled": False}]}, "43.49"),
        ("hcloud:index/primaryIp:PrimaryIp", {"type": "ipv4"}, "0.5"),
        ("hcloud:index/volume:Volume", {"size": 100}, "5.72"),
        ("hcloud:index/loadBalancer:LoadBalancer", {"loadBalancerType": "lb11", "location": "nbg1"}, "7.49"),
        ("hcloud:index/network:Network", {"ipRange": "10.0.0.0/12"}, "0"),
        ("cloudflare:index/dnsRecord:DnsRecord", {}, "0"),
        ("cloudflare:index/pagesProject:PagesProject", {}, "0"),
    ],
)
def test_prices_in_euros(type_: str, inputs: dict[str, Any], expected: str) -> None:
    assert cost(resource(type_, **inputs)) == Money(Decimal(expected), "EUR")


@pytest.mark.parametrize(
    ("type_", "inputs", "expected"),
    [
        ("digitalocean:index/droplet:Droplet", {"size": "s-4vcpu-8gb"}, "48"),
        ("digitalocean:index/droplet:Droplet", {"size": "s-4vcpu-8gb", "backups": True}, "57.6"),
        ("digitalocean:index/droplet:Droplet", {"size": "s-4vcpu-8gb", "backups": True, "backupPolicy": {"plan": "daily"}}, "62.4"),
        ("digitalocean:index/volume:Volume", {"size": 40}, "4"),
        ("digitalocean:index/loadBalancer:LoadBalancer", {"sizeUnit": 3}, "36"),
        ("digitalocean:index/loadBalancer:LoadBalancer", {"type": "REGIONAL_NETWORK"}, "15"),
        ("digitalocean:index/loadBalancer:LoadBalancer", {"type": "GLOBAL", "sizeUnit": 3}, "15"),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", {"nodePool": {"size": "s-2vcpu-4gb", "nodeCount": 3}}, "72"),
        ("digitalocean:index/kubernetesCluster:KubernetesCluster", {"ha": True, "nodePool": {"size": "s-2vcpu-4gb"}}, "64"),
        ("digitalocean:index/kubernetesNodePool:KubernetesNodePool", {"size": "s-2vcpu-4gb", "nodeCount": 2}, "48"),
        (POOL, {"origins": [{"address": UNKNOWN}] * 5}, "15"),
        ("cloudflare:index/loadBalancer:LoadBalancer", {}, "5"),
    ],
)
def test_prices_in_dollars(type_: str, inputs: dict[str, Any], expected: str) -> None:
    assert cost(resource(type_, **inputs), currency="USD") == Money(Decimal(expected), "USD")


@pytest.mark.parametrize(
    ("type_", "inputs", "name"),
    [
        (SERVER, {"serverType": "cx99", "location": "nbg1", "publicNets": []}, "part: server cx99 in nbg1"),
        (SERVER, {"serverType": "cx33", "location": "ash", "publicNets": []}, "part: server cx33 in ash"),
        (SERVER, {"serverType": "cx33", "publicNets": []}, "part: server cx33 in [unknown]"),
        (SERVER, {"serverType": "cpx62", "location": "sin", "publicNets": []}, "part: server cpx62 in sin"),
        ("hcloud:index/loadBalancer:LoadBalancer", {"loadBalancerType": "lb21", "location": "nbg1"}, "part: load-balancer lb21 in nbg1"),
        ("hcloud:index/volume:Volume", {"size": UNKNOWN}, "part: volume"),
        ("hcloud:index/snapshot:Snapshot", {}, "part: snapshot"),
        ("digitalocean:index/reservedIp:ReservedIp", {}, "part: reserved-ip unassigned"),
        (
            "digitalocean:index/kubernetesNodePool:KubernetesNodePool",
            {"size": "s-2vcpu-4gb", "nodeCount": UNKNOWN},
            "part: server s-2vcpu-4gb",
        ),
        (POOL, {"origins": UNKNOWN}, "part: endpoints"),
        (BUCKET, {}, "part: storage and operations"),
        ("aws:s3/bucket:Bucket", {}, "part: aws:s3/bucket:Bucket"),
    ],
)
def test_an_unknown_price_is_named_and_never_passes_for_a_known_zero(type_: str, inputs: dict[str, Any], name: str) -> None:
    assert cost(resource(type_, **inputs)) == Money(Decimal(0), "EUR", (name,))


def test_backups_of_a_server_without_a_price_are_unknown_too() -> None:
    server = resource(SERVER, serverType="cx99", location="nbg1", publicNets=[], backups=True)
    assert cost(server).unknown == ("part: server cx99 in nbg1", "part: server-backup of server cx99 in nbg1")


def test_what_has_no_price_of_its_own_has_no_cost() -> None:
    component = resource("rungway:index:AppVPS", "app")
    free = [resource(type_, f"free-{index}") for index, type_ in enumerate(FREE)]
    plan = priced(resource(STACK, "rungway-mvp"), component, *free)
    assert [item.monthly_cost for item in plan.resources] == [None] * (2 + len(free))
    assert plan.monthly_cost == Money(Decimal(0), "EUR")


def test_a_reserved_address_is_free_while_a_droplet_has_it() -> None:
    address = resource("digitalocean:index/reservedIp:ReservedIp", "app-ipv4")
    assignment = resource("digitalocean:index/reservedIpAssignment:ReservedIpAssignment", dependencies=(address.urn,))
    assert cost(address, assignment, currency="USD") == Money(Decimal(0), "USD")


def test_the_free_allowance_of_r2_is_the_accounts_and_units_begun_count_whole() -> None:
    usage = Usage({"app-a": BucketUsage(8, 900_000, 9_000_000), "app-b": BucketUsage(8, 200_000, 1_500_000)})
    plan = priced(_bucket("a"), _bucket("b"), currency="USD", usage=usage)
    costs = [item.monthly_cost for item in plan.resources]
    # The first stays within the allowance; the second goes beyond it by 6 GB, 0.1 and 0.5 million operations.
    assert costs[0] == Money(Decimal(0), "USD")
    assert costs[1] == Money(6 * Decimal("0.015") + Decimal("4.5") + Decimal("0.36"), "USD")


def _bucket(name: str) -> Resource:
    return Resource(urn(BUCKET, f"bucket-{name}"), BUCKET, f"bucket-{name}", None, False, {"name": f"app-{name}"})


def test_cloudflares_own_r2_example() -> None:
    """developers.cloudflare.com/r2/pricing: 1,000 GB, 1,000 writes and 1 million reads a month are 14.85 USD."""
    usage = Usage({"app-a": BucketUsage(1000, 1000, 1_000_000)})
    assert cost(_bucket("a"), currency="USD", usage=usage) == Money(Decimal("14.85"), "USD")


@pytest.mark.parametrize(("requests", "expected"), [(0, "0"), (3_000_000, "0"), (3_000_001, "5"), (12_500_000, "5.9")])
def test_the_workers_plan_is_paid_once_and_by_requests(requests: int, expected: str) -> None:
    workers = [resource("cloudflare:index/workersScript:WorkersScript", name) for name in ("edge", "images")]
    usage = Usage(worker_requests_per_month=requests)
    assert cost(*workers, currency="USD", usage=usage) == Money(Decimal(expected), "USD")


def test_the_load_balancing_subscription_includes_two_endpoints() -> None:
    pools = [resource(POOL, name, origins=[{}, {}]) for name in ("eu", "us")]
    balancers = [resource("cloudflare:index/loadBalancer:LoadBalancer", name) for name in ("api", "site")]
    plan = priced(*pools, *balancers, currency="USD")
    assert [item.monthly_cost and item.monthly_cost.amount for item in plan.resources] == [0, 10, 5, 0]


def test_what_autoscaling_can_add_is_a_note() -> None:
    pool = {"size": "s-2vcpu-4gb", "autoScale": True, "minNodes": 2, "maxNodes": 6, "nodeCount": 4}
    plan = priced(resource("digitalocean:index/kubernetesCluster:KubernetesCluster", "kubernetes-eu", nodePool=pool), currency="USD")
    assert plan.monthly_cost == Money(Decimal(48), "USD")
    assert plan.findings == (
        Finding(
            Level.NOTE,
            "autoscaling_ceiling",
            urn("digitalocean:index/kubernetesCluster:KubernetesCluster", "kubernetes-eu"),
            "priced at 2 nodes; autoscaling up to 6 adds up to 96.00 USD a month",
        ),
    )


def test_figures_at_second_hand_are_a_note() -> None:
    (note,) = priced(resource("cloudflare:index/loadBalancer:LoadBalancer")).findings
    assert (note.level, note.code) == (Level.NOTE, "price_at_second_hand")
    assert (
        note.message == "not read from the vendor: cloudflare load-balancing (https://github.com/cloudflare/cloudflare-docs/issues/33527)"
    )
    assert priced(resource(SERVER, serverType="cx33", location="nbg1")).findings == ()


# Sums


def test_dollars_are_converted_exactly_and_rounded_only_for_output() -> None:
    rate = load_prices().exchange_rates[0].rate
    plan = priced(*(resource("digitalocean:index/volume:Volume", f"v{index}", size=1) for index in range(3)))
    assert plan.monthly_cost is not None
    assert abs(plan.monthly_cost.amount - 3 * Decimal("0.1") / rate) < Decimal("1e-20")
    assert to_cents(Decimal("0.125")) == Decimal("0.13")
    assert to_cents(Decimal("0.124999")) == Decimal("0.12")


def test_without_an_exchange_rate_a_price_is_unknown() -> None:
    prices = parse_prices(SMALL, "prices.yaml")
    plan = priced(resource("hcloud:index/volume:Volume", size=10), currency="USD", prices=prices)
    assert plan.monthly_cost == Money(Decimal(0), "USD", ("part: volume",))


def test_sums_name_everything_unknown() -> None:
    one, two = Money(Decimal(1), "EUR", ("a",)), Money(Decimal(2), "EUR", ("b",))
    assert add([one, None, two], "EUR") == Money(Decimal(3), "EUR", ("a", "b"))
    assert money_text(one) == "1.00 EUR + unknown"


def test_costs_by_component_follow_parents_to_the_top() -> None:
    stack = resource(STACK, "rungway-mvp")
    database = dataclasses.replace(resource("rungway:index:DatabaseVPS", "database-eu-1"), parent=stack.urn)
    data = resource("rungway:index:DataVolume", "database-eu-1-data", parent=database.urn)
    volume = resource("hcloud:index/volume:Volume", "database-eu-1-data", parent=data.urn, size=100)
    server = resource(SERVER, "database-eu-1", parent=database.urn, serverType="cx33", location="nbg1", publicNets=[])
    network = resource("hcloud:index/network:Network", "private", parent=stack.urn)
    loose = resource("hcloud:index/primaryIp:PrimaryIp", "address", parent=stack.urn, type="ipv4")
    plan = priced(stack, database, server, data, volume, network, loose)
    assert by_component(plan) == (
        ("database-eu-1 (DatabaseVPS)", Money(Decimal("14.21"), "EUR")),
        ("address (PrimaryIp)", Money(Decimal("0.5"), "EUR")),
    )


# Budgets


def _budgeted(amount: str, *resources: Resource) -> Finding | None:
    return check_budget(dataclasses.replace(priced(*resources), budget=Budget(Decimal(amount), "EUR")))


def test_over_budget_is_an_error_with_the_largest_items() -> None:
    servers = [
        resource(SERVER, name, serverType=type_, location="nbg1", publicNets=[])
        for name, type_ in (("redis", "cx23"), ("database", "cx43"), ("app", "cx33"), ("monitoring", "cx23"))
    ]
    assert _budgeted("35", *servers) == Finding(
        Level.ERROR,
        "over_budget",
        "rungway:budget.monthly_amount",
        "costs 35.46 EUR a month; allowed: 35.00 EUR; the largest items: database 15.99, app 8.49, redis 5.49",
        "take smaller or fewer servers, or raise rungway:budget.monthly_amount",
    )
    assert _budgeted("35.46", *servers) is None


def test_a_sum_that_reads_as_the_budget_is_within_it() -> None:
    # 10 GB at 0.0572 EUR and backups of a cx23: 0.572 + 6.588 EUR.
    parts = [
        resource("hcloud:index/volume:Volume", size=10),
        resource(SERVER, "app", serverType="cx23", location="nbg1", publicNets=[], backups=True),
    ]
    assert euros("volume") * 10 + euros("server", "cx23", "nbg1") * Decimal("1.2") == Decimal("7.160")
    assert _budgeted("7.16", *parts) is None
    assert _budgeted("7.15", *parts) is not None


def test_unknown_prices_leave_the_budget_open() -> None:
    finding = _budgeted("35", resource("hcloud:index/snapshot:Snapshot", "before-climb"))
    assert finding is not None
    assert (finding.level, finding.code) == (Level.WARNING, "budget_uncertain")
    assert finding.message == "costs 0.00 EUR of 35.00 EUR a month, without what has no known price: before-climb: snapshot"


def test_without_a_budget_nothing_is_held_to_it() -> None:
    assert check_budget(priced(resource("hcloud:index/volume:Volume", size=10_000))) is None
