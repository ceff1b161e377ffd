"""Pictures of plans: complete, the same every time, safe with any name."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from rungway.graph import mermaid, svg
from rungway.model import UNKNOWN, Plan, Resource
from rungway.topology import Group, Link, Member, topology


class PlanBuilder:
    """Resources as the components register them, without the components."""

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self.resources: list[Resource] = []

    def component(self, kind: str, name: str, parent: str | None = None) -> str:
        return self._add(f"rungway:index:{kind}", name, {}, parent)

    def part(self, type_: str, name: str, inputs: dict[str, Any], parent: str) -> str:
        return self._add(type_, name, inputs, parent)

    def _add(self, type_: str, name: str, inputs: dict[str, Any], parent: str | None) -> str:
        chain = f"{parent.split('::')[2]}$" if parent else ""
        urn = f"urn:pulumi:{self.stack}::rungway::{chain}{type_}::{name}"
        self.resources.append(Resource(urn, type_, name, parent, type_.startswith("rungway:"), inputs))
        return urn

    def server(self, kind: str, name: str, type_: str, location: str, region: str, volume_size_gb: int = 0) -> None:
        component = self.component(kind, name)
        labels = {"region": region}
        self.part("hcloud:index/server:Server", name, {"serverType": type_, "location": location, "labels": labels}, component)
        if volume_size_gb:
            volume = self.component("DataVolume", f"{name}-data", component)
            self.part("hcloud:index/volume:Volume", f"{name}-data", {"size": volume_size_gb}, volume)

    def droplet(self, kind: str, name: str, size: str, location: str, region: str) -> None:
        component = self.component(kind, name)
        self.part(
            "digitalocean:index/droplet:Droplet",
            name,
            {"size": size, "region": location, "tags": ["app:shop", f"region:{region}"]},
            component,
        )

    def subnet(self, region: str, cidr: str) -> None:
        network = self.component("PrivateNetwork", f"private-eu-central-{region}")
        self.part("hcloud:index/networkSubnet:NetworkSubnet", f"private-eu-central-{region}", {"ipRange": cidr}, network)

    def edge(self, *, domain: str = "example.com") -> None:
        zone = self.component("EdgeZone", "zone")
        for setting, value in (("ssl", "strict"), ("min_tls_version", "1.2"), ("security_header", {})):
            self.part("cloudflare:index/zoneSetting:ZoneSetting", f"zone-{setting}", {"settingId": setting, "value": value}, zone)
        site = self.component("StaticSite", "site")
        self.part("cloudflare:index/pagesDomain:PagesDomain", "site-domain", {"name": f"www.{domain}"}, site)
        api = self.component("DnsName", "api")
        self.part("cloudflare:index/dnsRecord:DnsRecord", "api-a-1", {"name": f"api.{domain}", "proxied": True}, api)
        for name, public in (("images", True), ("backups", False)):
            bucket = self.component("R2Bucket", f"bucket-{name}")
            self.part("cloudflare:index/r2Bucket:R2Bucket", f"bucket-{name}", {"name": f"shop-{name}"}, bucket)
            if public:
                self.part("cloudflare:index/r2CustomDomain:R2CustomDomain", f"bucket-{name}-domain", {"domain": f"img.{domain}"}, bucket)

    def plan(self) -> Plan:
        return Plan(self.stack, self.stack, "rungway", tuple(self.resources))


def small_plan() -> Plan:
    builder = PlanBuilder("mvp")
    builder.subnet("eu", "10.0.16.0/20")
    builder.server("AppVPS", "app-eu-1", "cx33", "nbg1", "eu")
    volume = builder.component("DataVolume", "app-eu-1-data")
    builder.part("hcloud:index/volume:Volume", "app-eu-1-data", {"size": 40}, volume)
    builder.edge()
    return builder.plan()


def two_regions() -> Plan:
    builder = PlanBuilder("phase4")
    for region, location, cidr in (("eu", "nbg1", "10.0.16.0/20"), ("us", "ash", "10.0.32.0/20")):
        builder.subnet(region, cidr)
        balancer = builder.component("LoadBalancer", f"load-balancer-{region}")
        inputs = {"loadBalancerType": "lb11", "location": location}
        builder.part("hcloud:index/loadBalancer:LoadBalancer", f"load-balancer-{region}", inputs, balancer)
        cluster = builder.component("K8sCluster", f"kubernetes-{region}")
        for pool, type_, count in (("control", "cx33", 3), ("default", "cx43", 4)):
            for number in range(1, count + 1):
                server = {"serverType": type_, "location": location, "labels": {"region": region}}
                builder.part("hcloud:index/server:Server", f"kubernetes-{region}-{pool}-{number}", server, cluster)
        for number in range(1, 4):
            builder.server("DatabaseVPS", f"database-{region}-{number}", "ccx33", location, region, 200)
            builder.server("RedisNode", f"redis-{region}-{number}", "cx33", location, region, 10)
        builder.server("MonitoringVPS", f"monitoring-{region}-1", "cx33", location, region, 50)
    builder.edge()
    balancing = builder.component("GlobalLoadBalancer", "api")
    builder.part("cloudflare:index/loadBalancer:LoadBalancer", "api", {"name": "api.example.com"}, balancing)
    return builder.plan()


def texts(picture: str) -> list[str]:
    root = ElementTree.fromstring(picture)  # noqa: S314 (our own output)
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_topology_of_one_server() -> None:
    found = topology(small_plan())
    assert [(region.name, region.place, region.network) for region in found.regions] == [("eu", "Hetzner nbg1", "10.0.16.0/20")]
    assert found.regions[0].groups == (Group("app-eu", "app", "Application", (Member("app-eu-1", "cx33 · 40 GB volume"),)),)
    assert found.edge == (
        Group("entry", "entry", "Application's name", (Member("api.example.com", "DNS, behind the proxy"),)),
        Group("site", "site", "Static site", (Member("www.example.com", "Cloudflare Pages"),)),
        Group("zone", "zone", "Zone settings", (Member("zone", "strict · TLS ≥ 1.2"),)),
    )
    buckets = (Member("images", "public · img.example.com"), Member("backups", "private"))
    assert found.storage == Group("storage", "storage", "Object storage · Cloudflare R2", buckets)
    assert found.links == (Link("entry", "app-eu", "HTTPS"), Link("app-eu", "storage", "backups", dashed=True))


def test_topology_of_two_regions() -> None:
    found = topology(two_regions())
    assert [region.name for region in found.regions] == ["eu", "us"]
    assert [group.role for group in found.regions[1].groups] == ["load-balancer", "kubernetes", "database", "redis", "monitoring"]
    assert found.regions[1].groups[1].members == (Member("control", "3 × cx33"), Member("default", "4 × cx43"))
    assert found.edge[0].members[0] == Member("api.example.com", "global load balancing")
    assert found.links == (
        Link("entry", "load-balancer-eu", "HTTPS"),
        Link("load-balancer-eu", "kubernetes-eu"),
        Link("kubernetes-eu", "database-eu"),
        Link("kubernetes-eu", "redis-eu"),
        Link("entry", "load-balancer-us", "HTTPS"),
        Link("load-balancer-us", "kubernetes-us"),
        Link("kubernetes-us", "database-us"),
        Link("kubernetes-us", "redis-us"),
        Link("database-eu", "database-us", "replication", dashed=True),
        Link("database-eu", "storage", "backups", dashed=True),
    )


def test_topology_at_digitalocean() -> None:
    builder = PlanBuilder("phase3")
    builder.droplet("AppVPS", "app-eu-west-1", "s-4vcpu-8gb", "fra1", "eu-west")
    cluster = builder.component("K8sCluster", "kubernetes-eu-west")
    pool = {"name": "default", "size": "s-2vcpu-4gb", "minNodes": 2, "maxNodes": 5}
    managed = {"region": "fra1", "ha": True, "nodePool": pool}
    builder.part("digitalocean:index/kubernetesCluster:KubernetesCluster", "kubernetes-eu-west", managed, cluster)
    batch = {"name": "batch", "size": UNKNOWN, "nodeCount": 2}
    builder.part("digitalocean:index/kubernetesNodePool:KubernetesNodePool", "kubernetes-eu-west-batch", batch, cluster)
    found = topology(builder.plan())
    assert [(region.name, region.place) for region in found.regions] == [("eu-west", "DigitalOcean fra1")]
    assert found.regions[0].groups[1].members == (
        Member("control plane", "managed, 3 nodes"),
        Member("default", "2–5 × s-2vcpu-4gb"),
        Member("batch", "2 × "),
    )


@pytest.mark.parametrize("plan", [small_plan(), two_regions(), Plan("empty", "empty", "rungway", ())], ids=lambda plan: plan.stack)
def test_pictures_are_the_same_every_time_and_well_formed(plan: Plan) -> None:
    assert svg(plan) == svg(plan)
    assert mermaid(plan) == mermaid(plan)
    root = ElementTree.fromstring(svg(plan))  # noqa: S314 (our own output)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, w, h = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        assert w > 0
        assert h > 0


def test_svg_says_everything_and_describes_itself() -> None:
    picture = svg(two_regions())
    shown = texts(picture)
    for text in (
        "phase4",
        "Visitors",
        "eu · Hetzner nbg1",
        "us · Hetzner ash",
        "database-us-3",
        "ccx33 · 200 GB volume",
        "api.example.com",
        "4 × cx43",
    ):
        assert text in shown, text
    root = ElementTree.fromstring(picture)  # noqa: S314 (our own output)
    assert root.attrib["role"] == "img"
    assert root[0].text == "Topology of phase4"
    assert "Region us · Hetzner ash: Load balancer: load-balancer-us; Kubernetes: control, default; PostgreSQL: database-us-1" in (
        root[1].text or ""
    )
    assert "prefers-color-scheme: dark" in picture


def test_no_cards_overlap() -> None:
    root = ElementTree.fromstring(svg(two_regions()))  # noqa: S314 (our own output)
    cards = [
        tuple(float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        for element in root.iter("{http://www.w3.org/2000/svg}rect")
        if element.attrib["class"] == "card"
    ]
    assert len(cards) == 14
    for number, (x, y, w, h) in enumerate(cards):
        for other_x, other_y, other_w, other_h in cards[number + 1 :]:
            apart = x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
            assert apart


def test_names_can_be_anything() -> None:
    builder = PlanBuilder("<b>&\"'")
    builder.server("AppVPS", 'app-<eu>&"1"-1', "cx33", "größe\x00\x1b]", '<eu>&"1"')
    builder.edge(domain='ex"ample|日本語.com')
    plan = builder.plan()
    assert 'app-<eu>&"1"-1' in texts(svg(plan))
    assert "\x1b" not in svg(plan) + mermaid(plan)
    labels = re.findall(r'\["(.*)"\]', mermaid(plan))
    assert labels
    assert all('"' not in label for label in labels)
    assert "<b>Application</b><br/>app-#lt;eu#gt;#amp;#quot;1#quot;-1 · cx33" in labels


def test_long_names_are_cut_and_many_servers_are_summed_up() -> None:
    builder = PlanBuilder("phase5")
    for number in range(1, 101):
        builder.server("AppVPS", f"app-{'r' * 32}-{number}", "cx33", "nbg1", "r" * 32)
    shown = texts(svg(builder.plan()))
    assert "Application (100)" in shown
    assert "and 95 more" in shown
    assert any(text.startswith("app-rrrrr") and text.endswith("…") for text in shown)
    assert "and 95 more" in mermaid(builder.plan())


def test_mermaid() -> None:
    assert (
        mermaid(small_plan())
        == """\
flowchart TB
  accTitle: Topology of mvp
  accDescr: Application's name: api.example.com. Static site: www.example.com. Zone settings: zone. Region eu · Hetzner nbg1: \
Application: app-eu-1. Object storage · Cloudflare R2: images, backups.
  visitors(["Visitors"])
  subgraph edge ["Cloudflare"]
    n0["<b>Application's name</b><br/>api.example.com · DNS, behind the proxy"]
    n1["<b>Static site</b><br/>www.example.com · Cloudflare Pages"]
    n2["<b>Zone settings</b><br/>zone · strict · TLS ≥ 1.2"]
  end
  subgraph r0 ["eu · Hetzner nbg1"]
    n3["<b>Application</b><br/>app-eu-1 · cx33 · 40 GB volume"]
  end
  n4["<b>Object storage · Cloudflare R2</b><br/>images · public · img.example.com<br/>backups · private"]
  visitors --> edge
  n0 -->|HTTPS| n3
  n3 -.->|backups| n4
"""
    )
