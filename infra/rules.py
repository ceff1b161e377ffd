"""What must fit together in a stack's settings.

Each rule is a small generator that looks at the settings and yields every problem that it finds. A rule that needs a value with a problem
of its own ends there (`infra.unreadable`), and all others are still asked: one run names everything.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Iterator

from hosts.addresses import SMALLEST_PREFIX
from infra.catalog import load_balancer_types, locations, replacement_of_retired, server_types
from infra.problems import Problem, meant, shown
from infra.settings import DatabaseSettings, RedisSettings, Region, Settings
from infra.stack_file import ENCRYPTED
from infra.unreadable import UNREADABLE, answered

SMALLEST_VOLUME_GB = 10
"""The smallest volume that Hetzner sells (components/data_volume.py)."""

MOST_POOLS = 19
"""Worker pools that a region has addresses for: 1,960 in blocks of 100 (hosts/addresses.py, infra/roles.py)."""

KUBERNETES_CIDRS = ("10.42.0.0/16", "10.43.0.0/16")
"""Pods and services of k3s (docs.k3s.io, server flags --cluster-cidr and --service-cidr)."""

_PRIVATE = [ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
_NETWORK = re.compile(r"[^/]+/[0-9]{1,3}")
_HOSTNAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ORIGIN = re.compile(r"https?://[^/\s]+")
_URL = re.compile(r"https?://[^\s/?#]+([/?]\S*)?")
_BALANCER_NODES = re.compile(r"[1-9][0-9]?|100")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com")
_WIDEST_ADMIN_PREFIX = {4: 8, 6: 16}
_THRESHOLDS = ("cpu", "memory", "response_p95", "connections", "error_rate")


def broken_rules(settings: Settings) -> list[Problem]:
    """Every rule that the settings break, without those that need a value which could not be read."""
    rules = [
        _domain(settings),
        _cloudflare_id(settings, "cloudflare_account_id"),
        _cloudflare_id(settings, "cloudflare_zone_id"),
        _ssh_keys(settings),
        _admin_networks(settings),
        _network(settings),
        _tls(settings),
        _hostnames(settings),
        _buckets(settings),
        _backup_bucket(settings),
        _backup_times(settings),
        _instances(settings),
        _users(settings),
    ]
    # A list of regions that can't be read leaves nothing to ask of them.
    for index, region in enumerate(answered(settings.regions)):
        path = f"rungway:regions[{index}]"
        rules += [_region_cidr(settings, region, f"{path}.cidr"), _overlaps(settings.regions, index, f"{path}.cidr")]
        rules += [_location(region, f"{path}.location"), _region_name(settings.regions, index, f"{path}.name")]
        rules += [_kubernetes_cidrs(region, path), _balancer_type(region, path), _balancer_targets(region, path)]
        for key in ("app", "database", "redis", "monitoring", "kubernetes"):
            rules.append(_sizes(region, key, path, settings))
        for key in ("database", "redis"):
            rules += [_placement(region, key, path), _volume(region, key, path), _primary(settings.regions, index, key, path)]
        for key, field in (("app", "data_volume_size_gb"), ("monitoring", "volume_size_gb")):
            rules.append(_optional_volume(region, key, field, path))
        rules += [_copied_version(settings.regions, index, path), _monitoring_placement(settings.regions, index, path)]
        rules.append(_webhook(region, f"{path}.monitoring.alert_webhook_url"))
        rules += [_sentinel(region, path), _synchronous_commit(region, path, primary=index == 0), _pools(region, path)]
        rules += [_thresholds(region, name, path) for name in _THRESHOLDS]
    return [problem for rule in rules for problem in answered(rule)]


def _domain(settings: Settings) -> Iterator[Problem]:
    domain = settings.domain
    if not settings.edge.enabled or _matches(_HOSTNAME, domain):
        return
    punycode = _punycode(domain)
    if domain.isascii() or not punycode:
        yield Problem("rungway:domain", shown(domain), "a domain in lower case, for example example.com")
    else:
        yield Problem("rungway:domain", shown(domain), "ASCII letters, digits and hyphens", f"write it as {punycode}")


def _punycode(domain: str) -> str:
    """The form of an international domain that DNS knows; an empty text when it has none."""
    try:
        found = domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return found if _matches(_HOSTNAME, found) else ""


def _cloudflare_id(settings: Settings, key: str) -> Iterator[Problem]:
    value = getattr(settings, key)
    if settings.edge.enabled and not _matches(_IDENTIFIER, value):
        yield Problem(f"rungway:{key}", shown(value), "32 hexadecimal digits in lower case")


def _ssh_keys(settings: Settings) -> Iterator[Problem]:
    for index, key in enumerate(settings.ssh_public_keys):
        path = f"rungway:ssh_public_keys[{index}]"
        if "PRIVATE KEY" in key:
            yield Problem(
                path, "a private key", "a public key", "remove it from the file, replace the key pair, and set the .pub file's text"
            )
        elif not _is_public_key(key):
            yield Problem(path, shown(key), f"a public key in OpenSSH form: one of {', '.join(_KEY_TYPES)}, then its base64 text")
    bodies = [(key.split() or [""])[1:2] for key in settings.ssh_public_keys]
    for index, body in enumerate(bodies):
        if body and body in bodies[:index]:
            yield Problem(f"rungway:ssh_public_keys[{index}]", shown(body[0]), "each key only once")


def _admin_networks(settings: Settings) -> Iterator[Problem]:
    for index, cidr in enumerate(settings.admin_cidrs):
        path = f"rungway:admin_cidrs[{index}]"
        network = _parsed_network(cidr)
        if network is None:
            yield Problem(path, shown(cidr), "a network such as 198.51.100.7/32 or 2001:db8::/48", _network_hint(cidr))
        elif network.prefixlen < _WIDEST_ADMIN_PREFIX[network.version]:
            widest = f"a /{_WIDEST_ADMIN_PREFIX[network.version]} or smaller"
            yield Problem(path, shown(cidr), widest, "SSH must not be open to the whole Internet")


def _network(settings: Settings) -> Iterator[Problem]:
    cidr = settings.network.cidr
    whole = private_network(cidr)
    if whole is None:
        yield Problem("rungway:network.cidr", shown(cidr), "a private IPv4 network, for example 10.0.0.0/12", _network_hint(cidr))
    elif whole.prefixlen > SMALLEST_PREFIX:
        yield Problem("rungway:network.cidr", shown(cidr), f"a /{SMALLEST_PREFIX} or larger", "the network is too small")


def _region_cidr(settings: Settings, region: Region, path: str) -> Iterator[Problem]:
    network = private_network(region.cidr)
    if network is None:
        yield Problem(path, shown(region.cidr), "a private IPv4 network, for example 10.0.0.0/16", _network_hint(region.cidr))
        return
    if network.prefixlen > SMALLEST_PREFIX:
        yield Problem(path, shown(region.cidr), f"a /{SMALLEST_PREFIX} or larger", "the network is too small")
    if region.provider == "digitalocean" and network.prefixlen < 16:
        yield Problem(path, shown(region.cidr), "a /16 or smaller: DigitalOcean makes no larger VPC")
    whole = private_network(settings.network.cidr)
    if whole is not None and not network.subnet_of(whole):
        yield Problem(path, shown(region.cidr), f"a network inside rungway:network.cidr ({settings.network.cidr})")


def _overlaps(regions: tuple[Region, ...], index: int, path: str) -> Iterator[Problem]:
    network = private_network(regions[index].cidr)
    for number, other in enumerate(regions[:index]):
        cidr = _cidr_of(other)
        other_network = private_network(cidr) if cidr is not None else None
        if network is not None and other_network is not None and network.overlaps(other_network):
            where = f"a network that does not overlap rungway:regions[{number}].cidr ({cidr})"
            yield Problem(path, shown(regions[index].cidr), where)


def _cidr_of(region: Region) -> str | None:
    """The region's addresses, or None where they could not be read: the regions beside it are compared all the same."""
    return None if region is UNREADABLE or region.cidr is UNREADABLE else region.cidr


def _kubernetes_cidrs(region: Region, path: str) -> Iterator[Problem]:
    network = private_network(region.cidr) if region.kubernetes.enabled else None
    for cidr in KUBERNETES_CIDRS:
        if network is not None and network.overlaps(ipaddress.IPv4Network(cidr)):
            yield Problem(f"{path}.cidr", shown(region.cidr), f"a network that does not overlap Kubernetes' own {cidr}")


def _location(region: Region, path: str) -> Iterator[Problem]:
    known = locations(region.provider)
    if region.location not in known:
        yield Problem(path, shown(region.location), f"at {region.provider}: {', '.join(known)}", meant(region.location, known))


def _region_name(regions: tuple[Region, ...], index: int, path: str) -> Iterator[Problem]:
    names = [region.name for region in regions[: index + 1] if region is not UNREADABLE and region.name is not UNREADABLE]
    if regions[index].name in names[:-1]:
        yield Problem(path, shown(names[-1]), "each name only once")


def _sizes(region: Region, key: str, path: str, settings: Settings) -> Iterator[Problem]:
    for field, name in _wanted_sizes(region, key):
        yield from _size(region, name, f"{path}.{key}.{field}", settings.architecture)


def _wanted_sizes(region: Region, key: str) -> Iterator[tuple[str, str]]:
    """The settings of a section that name a server type which is really built, and the types."""
    if key == "kubernetes":
        if region.kubernetes.enabled:
            if region.provider == "hetzner":
                yield "control_server_type", region.kubernetes.control_server_type
            for index, pool in enumerate(region.kubernetes.pools):
                yield f"pools[{index}].server_type", pool.server_type
    elif key in ("app", "monitoring"):
        section = region.app if key == "app" else region.monitoring
        if section.servers:
            yield "server_type", section.server_type
    else:
        store = _store(region, key)
        if store.nodes and store.placement == "dedicated":
            yield "server_type", store.server_type


def _size(region: Region, name: str, path: str, architecture: str) -> Iterator[Problem]:
    known = server_types(region.provider)
    if not name:
        yield Problem(path, "nothing", f"a server type of {region.provider}, for example {next(iter(known))}")
        return
    if name not in known:
        successor = replacement_of_retired(region.provider, name)
        hint = f"{name} is retired; take {successor}" if successor else meant(name, known)
        yield Problem(path, shown(name), f"at {region.provider}: {', '.join(known)}", hint)
        return
    if known[name].architecture != architecture:
        allowed = f"a type of rungway:architecture ({architecture})"
        yield Problem(path, f"'{name}' ({known[name].architecture})", allowed, "no server changes architecture in place")
    if region.location in locations(region.provider) and not _is_sold(known[name].locations, region.location):
        sold = [item.name for item in known.values() if _is_sold(item.locations, region.location) and item.architecture == architecture]
        allowed = f"what {region.provider} sells in {region.location}: {', '.join(sold) or f'nothing for {architecture}'}"
        yield Problem(path, shown(name), allowed)


def _is_sold(places: tuple[str, ...], location: str) -> bool:
    return not places or location in places


def _balancer_type(region: Region, path: str) -> Iterator[Problem]:
    balancer = region.load_balancer
    if not balancer.enabled:
        return
    types = load_balancer_types(region.provider)
    if types and balancer.type not in types:
        allowed = f"at {region.provider}: {', '.join(types)}"
        yield Problem(f"{path}.load_balancer.type", shown(balancer.type), allowed, meant(balancer.type, types))
    if not types and not _matches(_BALANCER_NODES, balancer.type):
        allowed = f"at {region.provider}: the number of load balancer nodes, '1' to '100'"
        yield Problem(f"{path}.load_balancer.type", shown(balancer.type), allowed)


def _balancer_targets(region: Region, path: str) -> Iterator[Problem]:
    if region.load_balancer.enabled and not region.app.servers and not region.kubernetes.enabled:
        allowed = f"false, or application servers or Kubernetes in region '{region.name}'"
        yield Problem(f"{path}.load_balancer.enabled", "true", allowed, "nothing is behind it")


def _placement(region: Region, key: str, path: str) -> Iterator[Problem]:
    store = _store(region, key)
    if store.placement != "app_server" or not store.nodes:
        return
    if store.nodes > 1:
        yield Problem(f"{path}.{key}.nodes", str(store.nodes), "1 while placement is app_server")
    if not region.app.servers:
        yield Problem(f"{path}.{key}.placement", "'app_server'", "dedicated", f"region '{region.name}' has no application server")
    elif region.app.data_volume_size_gb < SMALLEST_VOLUME_GB:
        size = str(region.app.data_volume_size_gb)
        yield Problem(f"{path}.app.data_volume_size_gb", size, f"{SMALLEST_VOLUME_GB} or more", f"{key} runs on this server")


def _monitoring_placement(regions: tuple[Region, ...], index: int, path: str) -> Iterator[Problem]:
    region = regions[index]
    if region.monitoring.placement != "app_server":
        return
    if region.monitoring.servers:
        yield Problem(f"{path}.monitoring.servers", str(region.monitoring.servers), "0 while placement is app_server")
    if not region.app.servers:
        yield Problem(f"{path}.monitoring.placement", "'app_server'", "dedicated", f"region '{region.name}' has no application server")
    elif sum(_servers_that_log(other) for other in regions) > 1:
        # No firewall of an application server lets journals in.
        yield Problem(f"{path}.monitoring.placement", "'app_server'", "dedicated", "the stack has other servers to watch")


def _servers_that_log(region: Region) -> int:
    """Servers of the region, without monitoring's own; Kubernetes counts as one."""
    stores = [store.nodes for store in (region.database, region.redis) if store.placement == "dedicated"]
    return sum((region.app.servers, *stores, region.kubernetes.enabled))


def _volume(region: Region, key: str, path: str) -> Iterator[Problem]:
    store = _store(region, key)
    if store.nodes and store.placement == "dedicated" and store.volume_size_gb < SMALLEST_VOLUME_GB:
        yield Problem(f"{path}.{key}.volume_size_gb", str(store.volume_size_gb), f"{SMALLEST_VOLUME_GB} or more")


def _optional_volume(region: Region, key: str, field: str, path: str) -> Iterator[Problem]:
    size = getattr(getattr(region, key), field)
    if 0 < size < SMALLEST_VOLUME_GB:
        yield Problem(f"{path}.{key}.{field}", str(size), f"0, or {SMALLEST_VOLUME_GB} or more")


def _primary(regions: tuple[Region, ...], index: int, key: str, path: str) -> Iterator[Problem]:
    nodes, primary = _store(regions[index], key).nodes, regions[0]
    if nodes and index and not _store(primary, key).nodes:
        allowed = f"0, or {key} nodes in the primary region '{primary.name}'"
        yield Problem(f"{path}.{key}.nodes", str(nodes), allowed, "a replica needs a primary")


def _copied_version(regions: tuple[Region, ...], index: int, path: str) -> Iterator[Problem]:
    """PostgreSQL streams between servers of one major version alone (documentation, 26.2.1)."""
    database, first = regions[index].database, regions[0]
    if index and database.nodes and database.version != first.database.version:
        allowed = f"{first.database.version}, as in the primary region '{first.name}'"
        yield Problem(f"{path}.database.version", str(database.version), allowed, "a replica is a copy, page by page")


def _sentinel(region: Region, path: str) -> Iterator[Problem]:
    if region.redis.sentinel and region.redis.nodes < 3:
        found = f"true with {region.redis.nodes} nodes"
        yield Problem(f"{path}.redis.sentinel", found, "false, or redis.nodes of 3 or more", "Sentinel needs a majority")


def _synchronous_commit(region: Region, path: str, *, primary: bool) -> Iterator[Problem]:
    """Another region's standby never holds a commit up, so the setting speaks of the primary region alone."""
    if primary and region.database.synchronous_commit and region.database.nodes < 2:
        found = f"true with {region.database.nodes} nodes"
        yield Problem(f"{path}.database.synchronous_commit", found, "false, or database.nodes of 2 or more", "a commit waits for a standby")


def _webhook(region: Region, path: str) -> Iterator[Problem]:
    url = region.monitoring.alert_webhook_url
    if url and url != ENCRYPTED and not _matches(_URL, url):
        # Who knows the address can post there, so that a slip of it is no text to repeat either.
        yield Problem(path, "a text that is no web address (not shown: it may be secret)", "https://HOST/PATH, or nothing")


def _pools(region: Region, path: str) -> Iterator[Problem]:
    kubernetes = region.kubernetes
    if kubernetes.enabled and not kubernetes.pools:
        yield Problem(f"{path}.kubernetes.pools", "no pool", "at least one pool")
    if len(kubernetes.pools) > MOST_POOLS:
        yield Problem(f"{path}.kubernetes.pools", f"{len(kubernetes.pools)} pools", f"{MOST_POOLS} or fewer")
    for index, pool in enumerate(kubernetes.pools):
        pool_path = f"{path}.kubernetes.pools[{index}]"
        yield from answered(_pool_size(pool.nodes_min, pool.nodes_max, pool_path))
        yield from answered(_once(pool.name, [other.name for other in kubernetes.pools[:index]], f"{pool_path}.name"))


def _pool_size(nodes_min: int, nodes_max: int, path: str) -> Iterator[Problem]:
    if nodes_min > nodes_max:
        yield Problem(f"{path}.nodes_min", str(nodes_min), f"nodes_max ({nodes_max}) or fewer")


def _thresholds(region: Region, name: str, path: str) -> Iterator[Problem]:
    unit = "ms" if name == "response_p95" else "percent"
    warning, critical = (getattr(region.monitoring.thresholds, f"{name}_{level}_{unit}") for level in ("warning", "critical"))
    if warning > critical:
        where = f"{path}.monitoring.thresholds.{name}_warning_{unit}"
        yield Problem(where, str(warning), f"{name}_critical_{unit} ({critical}) or less", "a warning comes first")


def _tls(settings: Settings) -> Iterator[Problem]:
    if settings.edge.tls and not settings.edge.enabled:
        yield Problem("rungway:edge.tls", "true", "false while edge.enabled is false", "TLS needs a domain")
    if settings.edge.enabled and not settings.edge.tls:
        yield Problem("rungway:edge.tls", "false", "true while edge.enabled is true", "the zone's settings demand HTTPS of everybody")


def _hostnames(settings: Settings) -> Iterator[Problem]:
    edge = settings.edge
    names = [("rungway:edge.api_subdomain", edge.api_subdomain)]
    if edge.static_site.enabled:
        names.append(("rungway:edge.static_site.subdomain", edge.static_site.subdomain))
    for index, bucket in enumerate(edge.buckets):
        if bucket.access == "public":
            names.append((f"rungway:edge.buckets[{index}].subdomain", bucket.subdomain))
    for number, (path, name) in enumerate(names):
        is_site_at_top = name == "@" and path == "rungway:edge.static_site.subdomain"
        if not _matches(_LABEL, name) and not is_site_at_top:
            yield Problem(path, shown(name), "a host name without the domain: lower-case letters, digits and hyphens")
            continue
        for other_path, other in names[:number]:
            if name == other:
                yield Problem(path, shown(name), f"a name that {other_path} does not use")


def _buckets(settings: Settings) -> Iterator[Problem]:
    buckets = settings.edge.buckets
    for index, bucket in enumerate(buckets):
        path = f"rungway:edge.buckets[{index}]"
        yield from answered(_once(bucket.name, [other.name for other in buckets[:index]], f"{path}.name"))
        if bucket.access == "private" and bucket.subdomain:
            yield Problem(f"{path}.subdomain", shown(bucket.subdomain), "nothing while access is private")
        for number, rule in enumerate(bucket.cors):
            for place, origin in enumerate(rule.origins):
                if origin != "{site}" and not _matches(_ORIGIN, origin):
                    where = f"{path}.cors[{number}].origins[{place}]"
                    yield Problem(where, shown(origin), "an origin such as https://www.example.com, or {site}")
        if len(f"{settings.name}-{bucket.name}") > 63:
            yield Problem(f"{path}.name", shown(bucket.name), "together with rungway:name and a hyphen at most 63 characters")


def _backup_bucket(settings: Settings) -> Iterator[Problem]:
    backup, buckets = settings.backup, settings.edge.buckets
    if not backup.enabled:
        return
    if not settings.edge.enabled:
        yield Problem("rungway:backup.enabled", "true", "false while edge.enabled is false", "the bucket is at Cloudflare")
    names = [bucket.name for bucket in buckets]
    if backup.bucket not in names:
        yield Problem(
            "rungway:backup.bucket", shown(backup.bucket), f"the name of a bucket of edge.buckets: {', '.join(names) or 'there is none'}"
        )
        return
    index = names.index(backup.bucket)
    if buckets[index].access == "public":
        yield Problem(f"rungway:edge.buckets[{index}].access", "'public'", "private", "the bucket holds the backups")
    if 0 < buckets[index].delete_after_days < backup.retention_days:
        days = str(buckets[index].delete_after_days)
        allowed = f"0, or backup.retention_days ({backup.retention_days}) or more"
        yield Problem(f"rungway:edge.buckets[{index}].delete_after_days", days, allowed, "backups would be gone too early")


def _backup_times(settings: Settings) -> Iterator[Problem]:
    backup = settings.backup
    if not backup.enabled:
        return
    if backup.full_every_hours > 24 * backup.retention_days:
        allowed = f"{24 * backup.retention_days} or less (backup.retention_days is {backup.retention_days})"
        yield Problem("rungway:backup.full_every_hours", str(backup.full_every_hours), allowed)
    if backup.incremental_every_hours > backup.full_every_hours:
        allowed = f"0, or backup.full_every_hours ({backup.full_every_hours}) or less"
        yield Problem("rungway:backup.incremental_every_hours", str(backup.incremental_every_hours), allowed)


def _instances(settings: Settings) -> Iterator[Problem]:
    serverless = settings.serverless
    if serverless.instances_min > serverless.instances_max:
        allowed = f"instances_max ({serverless.instances_max}) or fewer"
        yield Problem("rungway:serverless.instances_min", str(serverless.instances_min), allowed)


def _users(settings: Settings) -> Iterator[Problem]:
    targets = settings.targets
    if targets.users_max and targets.users_min > targets.users_max:
        yield Problem("rungway:targets.users_min", str(targets.users_min), f"users_max ({targets.users_max}) or fewer")


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    """Whether the whole text is of the pattern. The format string lets a text that could not be read refuse."""
    return pattern.fullmatch(f"{text}") is not None


def _once(name: str, before: Iterable[str], path: str) -> Iterator[Problem]:
    if name in [other for other in before if other is not UNREADABLE]:
        yield Problem(path, shown(name), "each name only once")


def _store(region: Region, key: str) -> DatabaseSettings | RedisSettings:
    return region.database if key == "database" else region.redis


def _parsed_network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network that a text names as address/prefix; Python also takes address/netmask, which the providers do not."""
    try:
        return ipaddress.ip_network(cidr) if _matches(_NETWORK, cidr) else None
    except ValueError:
        return None


def _network_hint(cidr: str) -> str:
    """What a network with bits behind its prefix, or an address alone, was likely meant to be."""
    try:
        return f"did you mean '{ipaddress.ip_network(cidr, strict=False)}'?" if _parsed_network(cidr) is None else ""
    except ValueError:
        return ""


def private_network(cidr: str) -> ipaddress.IPv4Network | None:
    """The network that a text names; None when it is no private IPv4 network."""
    network = _parsed_network(cidr)
    if not isinstance(network, ipaddress.IPv4Network):
        return None
    return network if any(network.subnet_of(block) for block in _PRIVATE) else None


def _is_public_key(key: str) -> bool:
    words = key.split()
    if "\n" in key.strip() or len(words) < 2 or words[0] not in _KEY_TYPES:
        return False
    try:
        body = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    # The body starts with its own type, behind a length of four bytes.
    return body[4 : 4 + len(words[0])].decode("ascii", errors="replace") == words[0]
