"""Each rule between settings fires with its exact words, and no rule is without a case that misses it."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from infra import rules
from infra.problems import Problem, SettingsError
from tests.support.stack_config import SSH_KEY, problems, read

POOL: dict[str, Any] = {"name": "web", "server_type": "cx33", "nodes_min": 1, "nodes_max": 2}
KUBERNETES: dict[str, Any] = {"enabled": True, "control_server_type": "cx23", "pools": [POOL]}
DATABASE: dict[str, Any] = {"nodes": 1, "server_type": "cx43", "volume_size_gb": 50}
REDIS: dict[str, Any] = {"nodes": 1, "server_type": "cx23"}
EU: dict[str, Any] = {"name": "eu", "location": "nbg1"}
NORTH: dict[str, Any] = {"name": "north", "location": "hel1"}
BUCKET: dict[str, Any] = {"name": "backups"}
HETZNER = (
    "cx23, cx33, cx43, cx53, cax11, cax21, cax31, cax41, cpx11, cpx21, cpx31, cpx41, cpx51, cpx12, cpx22, cpx32, cpx42, cpx52, cpx62, "
    "ccx13, ccx23, ccx33, ccx43, ccx53, ccx63"
)
KEY_TYPES = (
    "a public key in OpenSSH form: one of ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384, ecdsa-sha2-nistp521, "
    "sk-ssh-ed25519@openssh.com, then its base64 text"
)

Case = tuple[dict[str, Any], list[str]]

CASES: dict[str, Case] = {
    # What only the user knows.
    "a domain of one label": (
        {"domain": "localhost"},
        ["rungway:domain: found 'localhost'; allowed: a domain in lower case, for example example.com"],
    ),
    "a domain with a scheme": (
        {"domain": "https://example.com"},
        ["rungway:domain: found 'https://example.com'; allowed: a domain in lower case, for example example.com"],
    ),
    "an international domain": (
        {"domain": "münchen.de"},
        ["rungway:domain: found 'münchen.de'; allowed: ASCII letters, digits and hyphens; write it as xn--mnchen-3ya.de"],
    ),
    "an international domain that is none": (
        {"domain": "mün..chen.de"},
        ["rungway:domain: found 'mün..chen.de'; allowed: a domain in lower case, for example example.com"],
    ),
    "an account id": (
        {"cloudflare_account_id": "abc"},
        ["rungway:cloudflare_account_id: found 'abc'; allowed: 32 hexadecimal digits in lower case"],
    ),
    "a zone id": (
        {"cloudflare_zone_id": "G" * 32},
        [f"rungway:cloudflare_zone_id: found '{'G' * 32}'; allowed: 32 hexadecimal digits in lower case"],
    ),
    "a webhook that is no address": (
        {"monitoring": {"servers": 1, "server_type": "cx23", "alert_webhook_url": "hooks.example.com/s3cr3t"}},
        [
            "rungway:monitoring.alert_webhook_url: found a text that is no web address (not shown: it may be secret); "
            "allowed: https://HOST/PATH, or nothing"
        ],
    ),
    "a private key": (
        {"ssh_public_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nabc"]},
        [
            "rungway:ssh_public_keys[0]: found a private key; allowed: a public key; "
            "remove it from the file, replace the key pair, and set the .pub file's text"
        ],
    ),
    "no key": ({"ssh_public_keys": ["me@example.com"]}, [f"rungway:ssh_public_keys[0]: found 'me@example.com'; allowed: {KEY_TYPES}"]),
    "a key of another type than it says": (
        {"ssh_public_keys": [SSH_KEY.replace("ssh-ed25519", "ssh-rsa").removesuffix(" somebody")]},
        [
            "rungway:ssh_public_keys[0]: found 'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            + f"AAAA'; allowed: {KEY_TYPES}"
        ],
    ),
    "the same key twice": (
        {"ssh_public_keys": [SSH_KEY, SSH_KEY.replace("somebody", "again")]},
        [f"rungway:ssh_public_keys[1]: found '{SSH_KEY.split()[1]}'; allowed: each key only once"],
    ),
    "SSH for everybody": (
        {"admin_cidrs": ["198.51.100.7/32", "0.0.0.0/0", "::/0"]},
        [
            "rungway:admin_cidrs[1]: found '0.0.0.0/0'; allowed: a /8 or smaller; SSH must not be open to the whole Internet",
            "rungway:admin_cidrs[2]: found '::/0'; allowed: a /16 or smaller; SSH must not be open to the whole Internet",
        ],
    ),
    "an address without its length": (
        {"admin_cidrs": ["198.51.100.7"]},
        [
            "rungway:admin_cidrs[0]: found '198.51.100.7'; allowed: a network such as 198.51.100.7/32 or 2001:db8::/48; "
            "did you mean '198.51.100.7/32'?"
        ],
    ),
    "no network": (
        {"admin_cidrs": ["office"]},
        ["rungway:admin_cidrs[0]: found 'office'; allowed: a network such as 198.51.100.7/32 or 2001:db8::/48"],
    ),
    # Networks.
    "a public network": (
        {"network": {"cidr": "8.0.0.0/8"}},
        ["rungway:network.cidr: found '8.0.0.0/8'; allowed: a private IPv4 network, for example 10.0.0.0/12"],
    ),
    "a network of IPv6": (
        {"network": {"cidr": "fd00::/8"}},
        ["rungway:network.cidr: found 'fd00::/8'; allowed: a private IPv4 network, for example 10.0.0.0/12"],
    ),
    "a network with a netmask": (
        {"network": {"cidr": "10.0.0.0/255.240.0.0"}},
        [
            "rungway:network.cidr: found '10.0.0.0/255.240.0.0'; allowed: a private IPv4 network, for example 10.0.0.0/12; "
            "did you mean '10.0.0.0/12'?"
        ],
    ),
    "a network that is too small": (
        {"network": {"cidr": "10.0.0.0/21"}, "regions": [{**EU, "cidr": "10.0.0.0/22"}]},
        [
            "rungway:network.cidr: found '10.0.0.0/21'; allowed: a /20 or larger; the network is too small",
            "rungway:regions[0].cidr: found '10.0.0.0/22'; allowed: a /20 or larger; the network is too small",
        ],
    ),
    "a network without room for the next region": (
        {"network": {"cidr": "10.0.0.0/16"}, "regions": [EU, NORTH]},
        [
            "rungway:regions[1].cidr: found nothing; allowed: a /20 or larger inside rungway:network.cidr (10.0.0.0/16); "
            "set it, or take a larger network"
        ],
    ),
    "a region's network with bits behind its length": (
        {"regions": [{**EU, "cidr": "10.0.0.1/16"}]},
        [
            "rungway:regions[0].cidr: found '10.0.0.1/16'; allowed: a private IPv4 network, for example 10.0.0.0/16; "
            "did you mean '10.0.0.0/16'?"
        ],
    ),
    "a region outside the network": (
        {"regions": [{**EU, "cidr": "10.16.0.0/16"}]},
        ["rungway:regions[0].cidr: found '10.16.0.0/16'; allowed: a network inside rungway:network.cidr (10.0.0.0/12)"],
    ),
    "regions that overlap": (
        {"regions": [{**EU, "cidr": "10.0.0.0/15"}, NORTH]},
        ["rungway:regions[1].cidr: found '10.1.0.0/16'; allowed: a network that does not overlap rungway:regions[0].cidr (10.0.0.0/15)"],
    ),
    "a VPC that is too large": (
        {
            "provider": "digitalocean",
            "regions": [{"name": "eu", "location": "fra1", "cidr": "10.0.0.0/14"}],
            "app": {"servers": 1, "server_type": "s-4vcpu-8gb"},
        },
        ["rungway:regions[0].cidr: found '10.0.0.0/14'; allowed: a /16 or smaller: DigitalOcean makes no larger VPC"],
    ),
    "the pods' network": (
        {"network": {"cidr": "10.0.0.0/8"}, "regions": [{**EU, "cidr": "10.42.0.0/16"}], "kubernetes": KUBERNETES},
        ["rungway:regions[0].cidr: found '10.42.0.0/16'; allowed: a network that does not overlap Kubernetes' own 10.42.0.0/16"],
    ),
    # Places and sizes.
    "an unknown location": (
        {"regions": [{"name": "eu", "location": "nbg2"}]},
        [
            "rungway:regions[0].location: found 'nbg2'; allowed: at hetzner: fsn1, nbg1, hel1, ash, hil, sin; did you mean 'nbg1'?",
        ],
    ),
    "two regions of one name": (
        {"regions": [EU, {**NORTH, "name": "eu"}]},
        ["rungway:regions[1].name: found 'eu'; allowed: each name only once"],
    ),
    "a size that does not exist": (
        {"app": {"servers": 1, "server_type": "cx34"}},
        [f"rungway:app.server_type: found 'cx34'; allowed: at hetzner: {HETZNER}; did you mean 'cx33'?"],
    ),
    "a size of the other provider": (
        {"app": {"servers": 1, "server_type": "s-4vcpu-8gb"}},
        [f"rungway:app.server_type: found 's-4vcpu-8gb'; allowed: at hetzner: {HETZNER}"],
    ),
    "a retired size": (
        {"app": {"servers": 1, "server_type": "cx22"}},
        [f"rungway:app.server_type: found 'cx22'; allowed: at hetzner: {HETZNER}; cx22 is retired; take cx23"],
    ),
    "no size": (
        {"app": {"servers": 1}},
        ["rungway:app.server_type: found nothing; allowed: a server type of hetzner, for example cx23"],
    ),
    "a size of another architecture": (
        {"app": {"servers": 1, "server_type": "cax21"}},
        [
            "rungway:app.server_type: found 'cax21' (arm); allowed: a type of rungway:architecture (x86); "
            "no server changes architecture in place"
        ],
    ),
    "a size that is not sold there": (
        {"regions": [{"name": "us", "location": "ash"}]},
        [
            "rungway:app.server_type: found 'cx33'; allowed: what hetzner sells in ash: cpx11, cpx21, cpx31, cpx41, cpx51, ccx13, ccx23, "
            "ccx33, ccx43, ccx53, ccx63"
        ],
    ),
    "sizes of every section": (
        {
            "app": {"servers": 1, "server_type": "a1"},
            "database": {**DATABASE, "server_type": "b1"},
            "redis": {**REDIS, "server_type": "c1"},
            "monitoring": {"servers": 1, "server_type": "d1"},
            "kubernetes": {**KUBERNETES, "control_server_type": "e1", "pools": [{**POOL, "server_type": "f1"}]},
        },
        [
            f"rungway:{path}: found '{name}'; allowed: at hetzner: {HETZNER}"
            for path, name in (
                ("app.server_type", "a1"),
                ("database.server_type", "b1"),
                ("redis.server_type", "c1"),
                ("monitoring.server_type", "d1"),
                ("kubernetes.control_server_type", "e1"),
                ("kubernetes.pools[0].server_type", "f1"),
            )
        ],
    ),
    "a load balancer that does not exist": (
        {"load_balancer": {"enabled": True, "type": "lb41"}},
        ["rungway:load_balancer.type: found 'lb41'; allowed: at hetzner: lb11, lb21, lb31; did you mean 'lb11'?"],
    ),
    "a load balancer of no nodes": (
        {
            "provider": "digitalocean",
            "regions": [{"name": "eu", "location": "fra1"}],
            "app": {"servers": 1, "server_type": "s-4vcpu-8gb"},
            "load_balancer": {"enabled": True, "type": "0"},
        },
        ["rungway:load_balancer.type: found '0'; allowed: at digitalocean: the number of load balancer nodes, '1' to '100'"],
    ),
    # Counts that need one another.
    "a load balancer before nothing": (
        {"app": None, "load_balancer": {"enabled": True, "type": "lb11"}},
        [
            "rungway:load_balancer.enabled: found true; allowed: false, or application servers or Kubernetes in region 'eu'; "
            "nothing is behind it"
        ],
    ),
    "a database on no server": (
        {"app": None, "database": {"placement": "app_server", "nodes": 1}},
        ["rungway:database.placement: found 'app_server'; allowed: dedicated; region 'eu' has no application server"],
    ),
    "two databases on one server": (
        {"app": {"servers": 1, "server_type": "cx33", "data_volume_size_gb": 40}, "redis": {"placement": "app_server", "nodes": 2}},
        ["rungway:redis.nodes: found 2; allowed: 1 while placement is app_server"],
    ),
    "a database without a volume beside the application": (
        {"database": {"placement": "app_server", "nodes": 1}},
        ["rungway:app.data_volume_size_gb: found 0; allowed: 10 or more; database runs on this server"],
    ),
    "monitoring in two places": (
        {"monitoring": {"placement": "app_server", "servers": 1, "server_type": "cx23"}},
        ["rungway:monitoring.servers: found 1; allowed: 0 while placement is app_server"],
    ),
    "monitoring on no server": (
        {"app": None, "monitoring": {"placement": "app_server"}},
        ["rungway:monitoring.placement: found 'app_server'; allowed: dedicated; region 'eu' has no application server"],
    ),
    "monitoring beside the application for two servers": (
        {"app": {"servers": 2, "server_type": "cx33"}, "monitoring": {"placement": "app_server"}},
        ["rungway:monitoring.placement: found 'app_server'; allowed: dedicated; the stack has other servers to watch"],
    ),
    "monitoring beside the application for a database server": (
        {"database": DATABASE, "monitoring": {"placement": "app_server"}},
        ["rungway:monitoring.placement: found 'app_server'; allowed: dedicated; the stack has other servers to watch"],
    ),
    "monitoring beside the application for another region": (
        {"regions": [EU, {**NORTH, "monitoring": {"placement": "dedicated"}}], "monitoring": {"placement": "app_server"}},
        ["rungway:monitoring.placement: found 'app_server'; allowed: dedicated; the stack has other servers to watch"],
    ),
    "monitoring beside the application for Kubernetes": (
        {"kubernetes": KUBERNETES, "monitoring": {"placement": "app_server"}},
        ["rungway:monitoring.placement: found 'app_server'; allowed: dedicated; the stack has other servers to watch"],
    ),
    "a database without a volume": (
        {"database": {"nodes": 1, "server_type": "cx43"}},
        ["rungway:database.volume_size_gb: found 0; allowed: 10 or more"],
    ),
    "volumes that nobody sells": (
        {
            "app": {"servers": 1, "server_type": "cx33", "data_volume_size_gb": 9},
            "monitoring": {"servers": 1, "server_type": "cx23", "volume_size_gb": 1},
        },
        [
            "rungway:app.data_volume_size_gb: found 9; allowed: 0, or 10 or more",
            "rungway:monitoring.volume_size_gb: found 1; allowed: 0, or 10 or more",
        ],
    ),
    "replicas without a primary": (
        {"regions": [EU, {**NORTH, "database": DATABASE, "redis": REDIS}]},
        [
            "rungway:regions[1].database.nodes: found 1; allowed: 0, or database nodes in the primary region 'eu'; "
            "a replica needs a primary",
            "rungway:regions[1].redis.nodes: found 1; allowed: 0, or redis nodes in the primary region 'eu'; a replica needs a primary",
        ],
    ),
    "a replica of another version": (
        {"regions": [{**EU, "database": DATABASE}, {**NORTH, "database": {**DATABASE, "version": 16}}]},
        ["rungway:regions[1].database.version: found 16; allowed: 17, as in the primary region 'eu'; a replica is a copy, page by page"],
    ),
    "Sentinel with two": (
        {"redis": {**REDIS, "nodes": 2, "sentinel": True}},
        ["rungway:redis.sentinel: found true with 2 nodes; allowed: false, or redis.nodes of 3 or more; Sentinel needs a majority"],
    ),
    "a commit that nobody confirms": (
        {"database": {**DATABASE, "synchronous_commit": True}},
        [
            "rungway:database.synchronous_commit: found true with 1 nodes; allowed: false, or database.nodes of 2 or more; "
            "a commit waits for a standby"
        ],
    ),
    "Kubernetes without workers": (
        {"kubernetes": {"enabled": True, "control_server_type": "cx23"}},
        ["rungway:kubernetes.pools: found no pool; allowed: at least one pool"],
    ),
    "more pools than addresses": (
        {"kubernetes": {**KUBERNETES, "pools": [{**POOL, "name": f"pool{number}"} for number in range(20)]}},
        ["rungway:kubernetes.pools: found 20 pools; allowed: 19 or fewer"],
    ),
    "pools that contradict themselves": (
        {"kubernetes": {**KUBERNETES, "pools": [POOL, {**POOL, "nodes_min": 3}]}},
        [
            "rungway:kubernetes.pools[1].nodes_min: found 3; allowed: nodes_max (2) or fewer",
            "rungway:kubernetes.pools[1].name: found 'web'; allowed: each name only once",
        ],
    ),
    "a warning after the alarm": (
        {"monitoring": {"thresholds": {"cpu_warning_percent": 95, "response_p95_warning_ms": 2000}}},
        [
            "rungway:monitoring.thresholds.cpu_warning_percent: found 95; allowed: cpu_critical_percent (90) or less; "
            "a warning comes first",
            "rungway:monitoring.thresholds.response_p95_warning_ms: found 2000; allowed: response_p95_critical_ms (1000) or less; "
            "a warning comes first",
        ],
    ),
    # The edge.
    "TLS without a domain": (
        {"edge": {"enabled": False}, "domain": None},
        ["rungway:edge.tls: found true; allowed: false while edge.enabled is false; TLS needs a domain"],
    ),
    "an edge without TLS": (
        {"edge": {"tls": False}},
        ["rungway:edge.tls: found false; allowed: true while edge.enabled is true; the zone's settings demand HTTPS of everybody"],
    ),
    "a host name of two labels": (
        {"edge": {"api_subdomain": "api.v1"}},
        ["rungway:edge.api_subdomain: found 'api.v1'; allowed: a host name without the domain: lower-case letters, digits and hyphens"],
    ),
    "a public bucket without a name for it": (
        {"edge": {"buckets": [{"name": "images", "access": "public"}]}},
        ["rungway:edge.buckets[0].subdomain: found ''; allowed: a host name without the domain: lower-case letters, digits and hyphens"],
    ),
    "one host name twice": (
        {"edge": {"static_site": {"enabled": True, "subdomain": "api"}}},
        ["rungway:edge.static_site.subdomain: found 'api'; allowed: a name that rungway:edge.api_subdomain does not use"],
    ),
    "a private bucket with a host name": (
        {"edge": {"buckets": [{"name": "images", "subdomain": "images"}]}},
        ["rungway:edge.buckets[0].subdomain: found 'images'; allowed: nothing while access is private"],
    ),
    "two buckets of one name": (
        {"edge": {"buckets": [BUCKET, BUCKET]}},
        ["rungway:edge.buckets[1].name: found 'backups'; allowed: each name only once"],
    ),
    "a bucket's name that is too long": (
        {"name": "a" * 32, "edge": {"buckets": [{"name": "b" * 31}]}},
        [
            f"rungway:edge.buckets[0].name: found '{'b' * 31}'; allowed: together with rungway:name and a hyphen at most 63 characters",
        ],
    ),
    "an origin with a path": (
        {"edge": {"buckets": [{"name": "images", "cors": [{"origins": ["{site}", "https://example.com/"]}]}]}},
        [
            "rungway:edge.buckets[0].cors[0].origins[1]: found 'https://example.com/'; "
            "allowed: an origin such as https://www.example.com, or {site}"
        ],
    ),
    # Backups.
    "backups to no bucket": (
        {"backup": {"enabled": True, "bucket": "backup"}, "edge": {"buckets": [BUCKET]}},
        ["rungway:backup.bucket: found 'backup'; allowed: the name of a bucket of edge.buckets: backups"],
    ),
    "backups without any bucket": (
        {"backup": {"enabled": True}},
        ["rungway:backup.bucket: found ''; allowed: the name of a bucket of edge.buckets: there is none"],
    ),
    "backups without Cloudflare": (
        {"backup": {"enabled": True, "bucket": "backups"}, "edge": {"enabled": False, "tls": False, "buckets": [BUCKET]}},
        ["rungway:backup.enabled: found true; allowed: false while edge.enabled is false; the bucket is at Cloudflare"],
    ),
    "backups that everybody reads": (
        {
            "backup": {"enabled": True, "bucket": "backups"},
            "edge": {"buckets": [{**BUCKET, "access": "public", "subdomain": "backups"}]},
        },
        ["rungway:edge.buckets[0].access: found 'public'; allowed: private; the bucket holds the backups"],
    ),
    "backups that vanish": (
        {"backup": {"enabled": True, "bucket": "backups"}, "edge": {"buckets": [{**BUCKET, "delete_after_days": 7}]}},
        [
            "rungway:edge.buckets[0].delete_after_days: found 7; allowed: 0, or backup.retention_days (14) or more; "
            "backups would be gone too early"
        ],
    ),
    "backups rarer than they are kept": (
        {
            "backup": {"enabled": True, "bucket": "backups", "retention_days": 1, "full_every_hours": 48, "incremental_every_hours": 96},
            "edge": {"buckets": [BUCKET]},
        },
        [
            "rungway:backup.full_every_hours: found 48; allowed: 24 or less (backup.retention_days is 1)",
            "rungway:backup.incremental_every_hours: found 96; allowed: 0, or backup.full_every_hours (48) or less",
        ],
    ),
    # The rest.
    "instances that contradict themselves": (
        {"serverless": {"instances_min": 3}},
        ["rungway:serverless.instances_min: found 3; allowed: instances_max (2) or fewer"],
    ),
    "users that contradict themselves": (
        {"targets": {"users_min": 10, "users_max": 5}},
        ["rungway:targets.users_min: found 10; allowed: users_max (5) or fewer"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_rule_is_told_in_exact_words(name: str) -> None:
    changes, expected = CASES[name]

    assert problems(**changes) == expected


RULES = [name for name, rule in vars(rules).items() if inspect.isgeneratorfunction(rule) and rule.__module__ == rules.__name__]


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_some_case_would_pass(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> Iterator[Problem]:
        return iter(())

    monkeypatch.setattr(rules, rule, silent)
    missed = 0
    for changes, expected in CASES.values():
        try:
            read(**changes)
            found = []
        except SettingsError as error:
            found = [str(problem) for problem in error.problems]
        missed += found != expected

    assert missed


ALLOWED: list[dict[str, Any]] = [
    {"kubernetes": KUBERNETES, "app": None},
    {"app": {"servers": 1, "server_type": "cax21"}, "architecture": "arm"},
    {"edge": {"static_site": {"enabled": True, "subdomain": "@"}}},
    {"admin_cidrs": ["2001:db8::/48", "10.0.0.0/8"]},
    {"regions": [EU, {**NORTH, "database": {"nodes": 1, "synchronous_commit": True}}], "database": {**DATABASE, "nodes": 2}},
    {"domain": "xn--mnchen-3ya.de"},
    {"app": {"servers": 0, "server_type": "anything"}, "database": {"server_type": "unused"}},
    {"edge": {"enabled": False, "tls": False}, "domain": None, "cloudflare_account_id": None, "cloudflare_zone_id": None},
    {"targets": {"users_min": 10, "users_max": 0}},
    {"backup": {"retention_days": 1, "full_every_hours": 744}},
]


@pytest.mark.parametrize("changes", ALLOWED)
def test_what_only_looks_wrong_is_allowed(changes: dict[str, Any]) -> None:
    read(**changes)


def test_a_hundred_nodes_are_read() -> None:
    settings = read(
        app={"servers": 100, "server_type": "cx33"},
        kubernetes={**KUBERNETES, "pools": [{**POOL, "name": f"pool{number}", "nodes_max": 100} for number in range(19)]},
    )

    assert settings.regions[0].app.servers == 100
