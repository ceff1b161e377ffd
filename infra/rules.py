"""What must fit together in a stack's settings: each rule looks at the whole and returns every problem that it finds."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Iterator

from hosts.addresses import SMALLEST_PREFIX
from infra.catalog import load_balancer_types, locations, replacement_of_retired, server_types
from infra.problems import Problem, meant, shown
from infra.settings import Region, Settings

SMALLEST_VOLUME_GB = 10
"""The smallest volume that Hetzner sells (components/data_volume.py)."""

KUBERNETES_CIDRS = ("10.42.0.0/16", "10.43.0.0/16")
"""Pods and services of k3s (docs.k3s.io, server flags --cluster-cidr and --service-cidr)."""

_PRIVATE = [ipaddress.IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
_HOSTNAME = re.compile(r"^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")
_IDENTIFIER = re.compile(r"^[0-9a-f]{32}$")
_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com")
_WIDEST_ADMIN_PREFIX = {4: 8, 6: 16}


def broken_rules(settings: Settings) -> list[Problem]:
    """Every rule that the settings break."""
    problems = [*_texts(settings), *_networks(settings), *_edge(settings), *_backup(settings)]
    for index, region in enumerate(settings.regions):
        path = f"rungway:regions[{index}]"
        problems += _place(region, path)
        problems += _sizes(region, path, settings.architecture)
        problems += _counts(region, path, primary=index == 0)
        if index:
            problems += _primaries(settings.regions[0], region, path)
    problems += _repeated((region.name for region in settings.regions), "rungway:regions", "name")
    return problems


def _texts(settings: Settings) -> Iterator[Problem]:
    if settings.edge.enabled:
        if not settings.domain.isascii():
            yield Problem("rungway:domain", shown(settings.domain), "ASCII letters, digits and hyphens", _punycode(settings.domain))
        elif not _HOSTNAME.match(settings.domain):
            yield Problem("rungway:domain", shown(settings.domain), "a domain in lower case, for example example.com")
        for key in ("cloudflare_account_id", "cloudflare_zone_id"):
            if not _IDENTIFIER.match(getattr(settings, key)):
                yield Problem(f"rungway:{key}", shown(getattr(settings, key)), "32 hexadecimal digits in lower case")
    for index, key in enumerate(settings.ssh_public_keys):
        if not _is_public_key(key):
            path = f"rungway:ssh_public_keys[{index}]"
            if "PRIVATE KEY" in key:
                yield Problem(
                    path, "a private key", "a public key", "remove it from the file, replace the key pair, and set the .pub file's text"
                )
            else:
                yield Problem(path, shown(key), f"a public key in OpenSSH form: one of {', '.join(_KEY_TYPES)}, then its base64 text")
    yield from _repeated((key.split()[1] for key in settings.ssh_public_keys if len(key.split()) > 1), "rungway:ssh_public_keys", "key")
    for index, cidr in enumerate(settings.admin_cidrs):
        path = f"rungway:admin_cidrs[{index}]"
        network = _network(cidr)
        if network is None:
            yield Problem(path, shown(cidr), "a network as 198.51.100.7/32 or 2001:db8::/48")
        elif network.prefixlen < _WIDEST_ADMIN_PREFIX[network.version]:
            yield Problem(
                path, shown(cidr), f"a /{_WIDEST_ADMIN_PREFIX[network.version]} or smaller", "SSH must not be open to the whole Internet"
            )


def _punycode(domain: str) -> str:
    try:
        return f"write it as {domain.encode('idna').decode()}"
    except UnicodeError:
        return "it has no punycode form either"


def _networks(settings: Settings) -> Iterator[Problem]:
    whole = _private_network(settings.network.cidr)
    if whole is None:
        yield Problem("rungway:network.cidr", shown(settings.network.cidr), "a private IPv4 network, for example 10.0.0.0/12")
    elif whole.prefixlen > SMALLEST_PREFIX:
        yield Problem("rungway:network.cidr", shown(settings.network.cidr), f"a /{SMALLEST_PREFIX} or larger: the network is too small")
    seen: list[tuple[str, ipaddress.IPv4Network]] = []
    for index, region in enumerate(settings.regions):
        path = f"rungway:regions[{index}].cidr"
        network = _private_network(region.cidr)
        if network is None:
            yield Problem(path, shown(region.cidr), "a private IPv4 network, for example 10.0.0.0/16")
            continue
        if network.prefixlen > SMALLEST_PREFIX:
            yield Problem(path, shown(region.cidr), f"a /{SMALLEST_PREFIX} or larger: the network is too small")
        if region.provider == "digitalocean" and network.prefixlen < 16:
            yield Problem(path, shown(region.cidr), "a /16 or smaller: DigitalOcean makes no larger VPC")
        if whole is not None and not network.subnet_of(whole):
            yield Problem(path, shown(region.cidr), f"a network inside rungway:network.cidr ({settings.network.cidr})")
        for other_path, other in seen:
            if network.overlaps(other):
                yield Problem(path, shown(region.cidr), f"a network that does not overlap {other_path} ({other})")
        for cidr in KUBERNETES_CIDRS if region.kubernetes.enabled else ():
            if network.overlaps(ipaddress.IPv4Network(cidr)):
                yield Problem(path, shown(region.cidr), f"a network that does not overlap Kubernetes' own {cidr}")
        seen.append((path, network))


def _place(region: Region, path: str) -> Iterator[Problem]:
    known = locations(region.provider)
    if region.location not in known:
        yield Problem(
            f"{path}.location", shown(region.location), f"at {region.provider}: {', '.join(known)}", meant(region.location, known)
        )


def _sizes(region: Region, path: str, architecture: str) -> Iterator[Problem]:
    wanted = [
        ("app.server_type", region.app.server_type, region.app.servers),
        ("database.server_type", region.database.server_type, region.database.nodes if region.database.placement == "dedicated" else 0),
        ("redis.server_type", region.redis.server_type, region.redis.nodes if region.redis.placement == "dedicated" else 0),
        ("monitoring.server_type", region.monitoring.server_type, region.monitoring.servers),
    ]
    if region.kubernetes.enabled:
        if region.provider == "hetzner":
            wanted.append(("kubernetes.control_server_type", region.kubernetes.control_server_type, region.kubernetes.control_nodes))
        wanted += [(f"kubernetes.pools[{index}].server_type", pool.server_type, 1) for index, pool in enumerate(region.kubernetes.pools)]
    known = server_types(region.provider)
    for key, name, count in wanted:
        if not count:
            continue
        where = f"{path}.{key}"
        if not name:
            yield Problem(where, "nothing", f"a server type of {region.provider}, for example {next(iter(known))}")
            continue
        if name not in known:
            successor = replacement_of_retired(region.provider, name)
            hint = f"{name} is retired; take {successor}" if successor else meant(name, known)
            yield Problem(where, shown(name), f"at {region.provider}: {', '.join(known)}", hint)
            continue
        if known[name].architecture != architecture:
            yield Problem(
                where,
                f"'{name}' ({known[name].architecture})",
                f"a type of rungway:architecture ({architecture})",
                "no server changes architecture in place",
            )
        if known[name].locations and region.location in locations(region.provider) and region.location not in known[name].locations:
            sold = [
                item.name
                for item in known.values()
                if (not item.locations or region.location in item.locations) and item.architecture == architecture
            ]
            yield Problem(where, f"'{name}'", f"what {region.provider} sells in {region.location}: {', '.join(sold)}")
    balancer = region.load_balancer
    if balancer.enabled:
        types = load_balancer_types(region.provider)
        if types and balancer.type not in types:
            yield Problem(f"{path}.load_balancer.type", shown(balancer.type), ", ".join(types), meant(balancer.type, types))
        if not types and not (balancer.type.isdecimal() and 1 <= int(balancer.type) <= 100):
            yield Problem(f"{path}.load_balancer.type", shown(balancer.type), "the number of load balancer nodes, '1' to '100'")


def _counts(region: Region, path: str, *, primary: bool) -> Iterator[Problem]:
    app, database, redis, kubernetes = region.app, region.database, region.redis, region.kubernetes
    for key, section in (("database", database), ("redis", redis)):
        if section.placement == "app_server" and section.nodes:
            if section.nodes > 1:
                yield Problem(f"{path}.{key}.nodes", str(section.nodes), "1 while placement is app_server")
            if not app.servers:
                yield Problem(f"{path}.{key}.placement", "'app_server'", "dedicated", "the region has no application server")
            elif app.data_volume_size_gb < SMALLEST_VOLUME_GB:
                yield Problem(
                    f"{path}.app.data_volume_size_gb",
                    str(app.data_volume_size_gb),
                    f"{SMALLEST_VOLUME_GB} or more: {key} runs on this server",
                )
        elif section.nodes and section.volume_size_gb < SMALLEST_VOLUME_GB:
            yield Problem(f"{path}.{key}.volume_size_gb", str(section.volume_size_gb), f"{SMALLEST_VOLUME_GB} or more")
    for key, size in (
        ("app.data_volume_size_gb", app.data_volume_size_gb),
        ("monitoring.volume_size_gb", region.monitoring.volume_size_gb),
    ):
        if 0 < size < SMALLEST_VOLUME_GB:
            yield Problem(f"{path}.{key}", str(size), f"0, or {SMALLEST_VOLUME_GB} or more")
    if redis.sentinel and redis.nodes < 3:
        yield Problem(f"{path}.redis.sentinel", "true", "false, or redis.nodes of 3 or more: Sentinel needs a majority")
    # Another region's standby never holds a commit up, so the setting speaks of the primary region alone.
    if database.synchronous_commit and database.nodes < 2 and primary:
        yield Problem(f"{path}.database.synchronous_commit", "true", "false, or database.nodes of 2 or more: a commit waits for a standby")
    if kubernetes.enabled and not kubernetes.pools:
        yield Problem(f"{path}.kubernetes.pools", "no pool", "at least one pool")
    yield from _repeated((pool.name for pool in kubernetes.pools), f"{path}.kubernetes.pools", "name")
    for index, pool in enumerate(kubernetes.pools):
        if pool.nodes_min > pool.nodes_max:
            yield Problem(f"{path}.kubernetes.pools[{index}].nodes_min", str(pool.nodes_min), f"at most nodes_max ({pool.nodes_max})")
    if region.load_balancer.enabled and not app.servers and not kubernetes.enabled:
        yield Problem(f"{path}.load_balancer.enabled", "true", "false, or application servers or Kubernetes behind it")


def _primaries(primary: Region, region: Region, path: str) -> Iterator[Problem]:
    for key in ("database", "redis"):
        if getattr(region, key).nodes and not getattr(primary, key).nodes:
            yield Problem(
                f"{path}.{key}.nodes",
                str(getattr(region, key).nodes),
                f"0, or {key} nodes in the primary region '{primary.name}'",
                "a replica needs a primary",
            )


def _edge(settings: Settings) -> Iterator[Problem]:
    edge = settings.edge
    if edge.tls and not edge.enabled:
        yield Problem("rungway:edge.tls", "true", "false while edge.enabled is false: TLS needs a domain")
    names = [("rungway:edge.api_subdomain", edge.api_subdomain)]
    if edge.static_site.enabled and edge.static_site.subdomain != "@":
        names.append(("rungway:edge.static_site.subdomain", edge.static_site.subdomain))
    names += [
        (f"rungway:edge.buckets[{index}].subdomain", bucket.subdomain)
        for index, bucket in enumerate(edge.buckets)
        if bucket.access == "public"
    ]
    for path, name in names:
        if not _LABEL.match(name):
            yield Problem(path, shown(name), "a host name without the domain: lower-case letters, digits and hyphens")
    for number, (path, name) in enumerate(names):
        for other_path, other in names[:number]:
            if name == other and name:
                yield Problem(path, shown(name), f"a name that {other_path} does not use")
    for index, bucket in enumerate(edge.buckets):
        if bucket.access == "private" and bucket.subdomain:
            yield Problem(f"rungway:edge.buckets[{index}].subdomain", shown(bucket.subdomain), "nothing while access is private")
        if len(f"{settings.name}-{bucket.name}") > 63:
            yield Problem(
                f"rungway:edge.buckets[{index}].name", shown(bucket.name), "together with rungway:name and a hyphen at most 63 characters"
            )
        for number, rule in enumerate(bucket.cors):
            for place, origin in enumerate(rule.origins):
                if origin != "{site}" and not re.match(r"^https?://[^/\s]+$", origin):
                    yield Problem(
                        f"rungway:edge.buckets[{index}].cors[{number}].origins[{place}]",
                        shown(origin),
                        "an origin as https://www.example.com, or {site}",
                    )
    yield from _repeated((bucket.name for bucket in edge.buckets), "rungway:edge.buckets", "name")


def _backup(settings: Settings) -> Iterator[Problem]:
    backup = settings.backup
    names = [bucket.name for bucket in settings.edge.buckets]
    if backup.enabled and backup.bucket not in names:
        yield Problem(
            "rungway:backup.bucket", shown(backup.bucket), f"the name of a bucket of edge.buckets: {', '.join(names) or 'there is none'}"
        )
    for index, bucket in enumerate(settings.edge.buckets):
        if backup.enabled and bucket.name == backup.bucket:
            if bucket.lock_days:
                yield Problem(f"rungway:edge.buckets[{index}].lock_days", str(bucket.lock_days), "0: backups rewrite their own index files")
            if bucket.access == "public":
                yield Problem(f"rungway:edge.buckets[{index}].access", "'public'", "private: the bucket holds the backups")
            if 0 < bucket.delete_after_days < backup.retention_days:
                yield Problem(
                    f"rungway:edge.buckets[{index}].delete_after_days",
                    str(bucket.delete_after_days),
                    f"0, or backup.retention_days ({backup.retention_days}) or more",
                )
    if backup.enabled and not settings.edge.enabled:
        yield Problem("rungway:backup.enabled", "true", "false while edge.enabled is false: the bucket is at Cloudflare")


def _repeated(values: Iterable[str], path: str, what: str) -> list[Problem]:
    listed = list(values)
    return [
        Problem(f"{path}[{index}].{what}" if what != "key" else f"{path}[{index}]", shown(value), f"each {what} only once")
        for index, value in enumerate(listed)
        if value in listed[:index]
    ]


def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(cidr) if "/" in cidr else None
    except ValueError:
        return None


def _private_network(cidr: str) -> ipaddress.IPv4Network | None:
    network = _network(cidr)
    private = isinstance(network, ipaddress.IPv4Network) and any(network.subnet_of(block) for block in _PRIVATE)
    return network if private and isinstance(network, ipaddress.IPv4Network) else None


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
