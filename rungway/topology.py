"""Who talks to whom in a plan, read from its resources alone: what both pictures, Mermaid and SVG, draw.

Nothing here places or styles anything. Components are told apart by their type tokens and frozen names, servers by what they contain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rungway.model import SECRET, UNKNOWN, Plan, Resource

_COMPONENT = "rungway:index:"

_SERVER_ROLES = {"AppVPS": "app", "DatabaseVPS": "database", "RedisNode": "redis", "MonitoringVPS": "monitoring"}

_TITLES = {
    "load-balancer": "Load balancer",
    "app": "Application",
    "kubernetes": "Kubernetes",
    "database": "PostgreSQL",
    "redis": "Redis",
    "monitoring": "Monitoring",
}

ROLES = tuple(_TITLES)
"""Roles of a region's groups, in the order in which a request passes them."""

_PROVIDERS = {"hcloud": "Hetzner", "digitalocean": "DigitalOcean"}


@dataclass(frozen=True)
class Member:
    """One server, pool, bucket or name: what it is called, and what a person wants to know of it."""

    name: str
    detail: str


@dataclass(frozen=True)
class Group:
    """Members with one job. `key` is unique in the topology; `role` is one of `ROLES`, or 'entry', 'site', 'zone', 'storage'."""

    key: str
    role: str
    title: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Region:
    """A region with its groups in the order of `ROLES`. `place` says whose data centre it is, `network` its private addresses."""

    name: str
    place: str
    network: str
    groups: tuple[Group, ...]

    def group(self, role: str) -> Group | None:
        """The group of that role, if the region has one."""
        return next((group for group in self.groups if group.role == role), None)


@dataclass(frozen=True)
class Link:
    """An arrow between two groups. `dashed` is for what happens behind the requests: replication and backups."""

    source: str
    target: str
    label: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Topology:
    """Everything that a picture shows. `edge` is what visitors reach first; `storage` is the object storage, if there is any."""

    stack: str
    edge: tuple[Group, ...]
    regions: tuple[Region, ...]
    storage: Group | None
    links: tuple[Link, ...]


def topology(plan: Plan) -> Topology:
    """What the plan's resources build, in the order of the plan."""
    return _Reading(plan).topology()


class _Reading:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._children: dict[str | None, list[Resource]] = {}
        for resource in plan.resources:
            self._children.setdefault(resource.parent, []).append(resource)
        self._region_names = self._find_region_names()

    def topology(self) -> Topology:
        regions = tuple(region for name in self._region_names if (region := self._region(name)).groups)
        edge = tuple(self._edge())
        storage = self._storage()
        return Topology(self._plan.stack, edge, regions, storage, tuple(self._links(edge, regions, storage)))

    def _components(self, kind: str) -> list[Resource]:
        return [resource for resource in self._plan.resources if resource.type == f"{_COMPONENT}{kind}"]

    def _descendants(self, resource: Resource) -> Iterator[Resource]:
        for child in self._children.get(resource.urn, []):
            yield child
            yield from self._descendants(child)

    def _parts(self, resource: Resource, type_name: str) -> list[Resource]:
        """Provider resources inside a component whose type ends in `type_name`."""
        return [part for part in self._descendants(resource) if part.type.rsplit(":", 1)[-1] == type_name]

    def _server(self, component: Resource) -> Resource | None:
        return next(iter(self._parts(component, "Server") + self._parts(component, "Droplet")), None)

    def _find_region_names(self) -> list[str]:
        names: dict[str, None] = {}
        for resource in self._plan.resources:
            kind = resource.type.removeprefix(_COMPONENT)
            if kind in _SERVER_ROLES:
                names[resource.name.removeprefix(f"{_SERVER_ROLES[kind]}-").rsplit("-", 1)[0]] = None
            elif kind == "K8sCluster":
                names[resource.name.removeprefix("kubernetes-")] = None
            elif kind == "LoadBalancer":
                names[resource.name.removeprefix("load-balancer-")] = None
        return list(names)

    def _region(self, name: str) -> Region:
        groups = []
        balancers = [
            part for component in self._named("LoadBalancer", f"load-balancer-{name}") for part in self._parts(component, "LoadBalancer")
        ]
        if balancers:
            members = tuple(Member(part.name, _known(part.inputs, "loadBalancerType", "sizeUnit", "size")) for part in balancers)
            groups.append(_group("load-balancer", name, members))
        for kind, role in _SERVER_ROLES.items():
            servers = [component for component in self._components(kind) if component.name.rsplit("-", 1)[0] == f"{role}-{name}"]
            if servers:
                groups.append(_group(role, name, tuple(Member(server.name, self._server_detail(server)) for server in servers)))
        for cluster in self._named("K8sCluster", f"kubernetes-{name}"):
            groups.append(_group("kubernetes", name, tuple(self._cluster_members(cluster))))
        groups.sort(key=lambda group: ROLES.index(group.role))
        place, network = self._place(name)
        return Region(name, place, network, tuple(groups))

    def _named(self, kind: str, name: str) -> list[Resource]:
        return [component for component in self._components(kind) if component.name == name]

    def _server_detail(self, component: Resource) -> str:
        server = self._server(component)
        details = [_known(server.inputs, "serverType", "size")] if server else []
        volumes = self._parts(component, "Volume")
        for data_volume in self._named("DataVolume", f"{component.name}-data"):
            volumes += [volume for volume in self._parts(data_volume, "Volume") if volume not in volumes]
        details += [f"{volume.inputs['size']} GB volume" for volume in volumes if isinstance(volume.inputs.get("size"), int)]
        return " · ".join(detail for detail in details if detail)

    def _cluster_members(self, cluster: Resource) -> Iterator[Member]:
        pools: dict[str, list[Resource]] = {}
        for server in self._parts(cluster, "Server"):
            pools.setdefault(server.name.removeprefix(f"{cluster.name}-").rsplit("-", 1)[0], []).append(server)
        for pool, servers in pools.items():
            yield Member(pool, f"{len(servers)} × {_known(servers[0].inputs, 'serverType')}")
        for managed in self._parts(cluster, "KubernetesCluster"):
            yield Member("control plane", "managed, 3 nodes" if managed.inputs.get("ha") is True else "managed")
            if isinstance(managed.inputs.get("nodePool"), dict):
                yield _pool(managed.inputs["nodePool"])
        for extra in self._parts(cluster, "KubernetesNodePool"):
            yield _pool(extra.inputs)

    def _place(self, name: str) -> tuple[str, str]:
        """Provider and location of a region's servers, and the private addresses of its subnet."""
        place = ""
        for resource in self._plan.resources:
            package, _, type_name = resource.type.partition(":")
            if type_name.rsplit(":", 1)[-1] not in {"Server", "Droplet", "KubernetesCluster", "LoadBalancer"} or package not in _PROVIDERS:
                continue
            if self._region_of(resource) == name:
                place = f"{_PROVIDERS[package]} {_known(resource.inputs, 'location', 'region')}".rstrip()
                break
        for resource in self._plan.resources:
            if resource.type.rsplit(":", 1)[-1] in {"NetworkSubnet", "Vpc"} and resource.name.endswith(f"-{name}"):
                return place, _known(resource.inputs, "ipRange")
        return place, ""

    def _region_of(self, resource: Resource) -> str:
        labels = resource.inputs.get("labels")
        if isinstance(labels, dict) and isinstance(labels.get("region"), str):
            return str(labels["region"])
        for tag in resource.inputs.get("tags") or []:
            if isinstance(tag, str) and tag.startswith("region:"):
                return tag.removeprefix("region:")
        names = [name for name in self._region_names if f"-{name}-" in f"-{resource.name}-"]
        return max(names, key=len, default="")

    def _edge(self) -> Iterator[Group]:
        entries = [
            Member(_known(balancer.inputs, "name") or component.name, "global load balancing")
            for component in self._components("GlobalLoadBalancer")
            for balancer in self._parts(component, "LoadBalancer")
        ]
        for component in self._components("DnsName"):
            records = self._parts(component, "DnsRecord")
            proxied = any(record.inputs.get("proxied") is True for record in records)
            name = next((_known(record.inputs, "name") for record in records), "") or component.name
            entries.append(Member(name, "DNS, behind the proxy" if proxied else "DNS"))
        if entries:
            yield Group("entry", "entry", "Application's name", tuple(entries))
        sites = [
            Member(
                next((_known(d.inputs, "name") for d in self._parts(component, "PagesDomain")), "") or component.name, "Cloudflare Pages"
            )
            for component in self._components("StaticSite")
        ]
        if sites:
            yield Group("site", "site", "Static site", tuple(sites))
        zones = [Member(component.name, self._zone_detail(component)) for component in self._components("EdgeZone")]
        if zones:
            yield Group("zone", "zone", "Zone settings", tuple(zones))

    def _zone_detail(self, zone: Resource) -> str:
        values = {part.inputs.get("settingId"): part.inputs.get("value") for part in self._parts(zone, "ZoneSetting")}
        details = [f"{values['ssl']}"] if isinstance(values.get("ssl"), str) else []
        details += [f"TLS ≥ {values['min_tls_version']}"] if isinstance(values.get("min_tls_version"), str) else []
        details += ["CDN"] if self._parts(zone, "TieredCache") else []
        return " · ".join(details)

    def _storage(self) -> Group | None:
        buckets = []
        for component in self._components("R2Bucket"):
            domain = next((_known(part.inputs, "domain") for part in self._parts(component, "R2CustomDomain")), None)
            detail = "private" if domain is None else f"public · {domain}" if domain else "public"
            buckets.append(Member(component.name.removeprefix("bucket-"), detail))
        return Group("storage", "storage", "Object storage · Cloudflare R2", tuple(buckets)) if buckets else None

    def _links(self, edge: tuple[Group, ...], regions: tuple[Region, ...], storage: Group | None) -> Iterator[Link]:
        databases: list[Group] = []
        for region in regions:
            tier = region.group("kubernetes") or region.group("app")
            balancer = region.group("load-balancer")
            door = balancer or tier
            if door is not None and any(group.role == "entry" for group in edge):
                yield Link("entry", door.key, "HTTPS")
            if balancer is not None and tier is not None:
                yield Link(balancer.key, tier.key)
            database = region.group("database")
            for store in (database, region.group("redis")):
                if tier is not None and store is not None:
                    yield Link(tier.key, store.key)
            # A database without servers of its own runs on the first application server.
            keeper = database or (region.group("app") if not databases else None)
            if keeper is not None:
                databases.append(keeper)
        for replica in databases[1:]:
            yield Link(databases[0].key, replica.key, "replication", dashed=True)
        if storage is not None and databases and any("backup" in bucket.name for bucket in storage.members):
            yield Link(databases[0].key, storage.key, "backups", dashed=True)


def _group(role: str, region: str, members: tuple[Member, ...]) -> Group:
    return Group(f"{role}-{region}", role, _TITLES[role], members)


def _pool(inputs: dict[str, Any]) -> Member:
    least, most = _known(inputs, "minNodes", "nodeCount"), _known(inputs, "maxNodes")
    count = f"{least}–{most}" if most and most != least else least
    return Member(_known(inputs, "name") or "pool", f"{count} × {_known(inputs, 'size')}")


def _known(inputs: dict[str, Any], *names: str) -> str:
    """The first of these inputs that is a known text or number, as text."""
    for name in names:
        value = inputs.get(name)
        if isinstance(value, str | int) and value not in (UNKNOWN, SECRET):
            return str(value)
    return ""
