"""What Cloudflare demands of visitors and of our servers in one zone, and what it caches."""

import re
from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

_TLS_MODES = ("full", "strict")
_TLS_VERSIONS = ("1.2", "1.3")
_MOST_HSTS_SECONDS = 63_072_000
"""Two years, what the preload lists ask for at most (hstspreload.org)."""


class CacheRuleArgs(TypedDict):
    """How long the CDN and browsers keep what one host name serves."""

    hostname: pulumi.Input[str]
    """Host name whose answers are kept."""
    seconds: pulumi.Input[int]
    """How long; 0 keeps nothing. Cloudflare's free plan keeps them at least two hours."""
    description: NotRequired[pulumi.Input[str]]
    """What the rule is for."""


class EdgeZoneArgs(TypedDict):
    """Settings of one zone."""

    zone_id: pulumi.Input[str]
    """The zone."""
    tls_mode: NotRequired[pulumi.Input[str]]
    """strict (when absent): the server's certificate must be valid for its name. full: any certificate will do."""
    minimum_tls_version: NotRequired[pulumi.Input[str]]
    """Oldest TLS version that visitors may use: 1.2 (when absent) or 1.3."""
    hsts_max_age_seconds: NotRequired[pulumi.Input[int]]
    """For how long browsers refuse plain HTTP (Strict-Transport-Security), 0 to 63,072,000; 0 (when absent) turns it off."""
    hsts_include_subdomains: NotRequired[pulumi.Input[bool]]
    """Whether that holds for every subdomain too."""
    cdn: NotRequired[pulumi.Input[bool]]
    """Tiered cache: Cloudflare's locations ask one another before they ask the servers."""
    cache_rules: NotRequired[pulumi.Input[list[pulumi.Input[CacheRuleArgs]]]]
    """What is cached for how long, by host name. A zone has one set of cache rules, and this is it.

    R2Bucket.cache_rule is such a rule."""


class EdgeZone(pulumi.ComponentResource):
    """TLS, HTTPS, HSTS and protocols of a zone, its tiered cache and its one set of cache rules.

    Settings that Cloudflare's free plan can't change, such as http2, are left alone.
    """

    zone_id: pulumi.Output[str]
    """The zone."""

    def __init__(self, name: str, args: EdgeZoneArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:EdgeZone", name, {}, opts)
        arguments = Arguments("EdgeZone", name, args, EdgeZoneArgs)
        hsts_seconds = arguments.number("hsts_max_age_seconds", 0, _MOST_HSTS_SECONDS, 0)
        settings: dict[str, Any] = {
            "ssl": arguments.choice("tls_mode", _TLS_MODES, "strict"),
            "min_tls_version": arguments.choice("minimum_tls_version", _TLS_VERSIONS, "1.2"),
            "tls_1_3": "on",
            "always_use_https": "on",
            "automatic_https_rewrites": "on",
            # Always there, so that turning HSTS off is an update and not a deletion, which would leave the zone as it was.
            "security_header": {
                "strict_transport_security": {
                    "enabled": hsts_seconds > 0,
                    "max_age": hsts_seconds,
                    "include_subdomains": hsts_seconds > 0 and arguments.plain("hsts_include_subdomains", bool, False),
                    "preload": False,
                    "nosniff": True,
                }
            },
            "http3": "on",
            "websockets": "on",
        }
        cdn = arguments.plain("cdn", bool, False)
        cache_rules = args.get("cache_rules")
        if not isinstance(cache_rules, pulumi.Output):
            for index, rule in enumerate(arguments.plain("cache_rules", list, [])):
                if not isinstance(rule, pulumi.Output):
                    arguments.check_keys(f"cache_rules[{index}]", rule, CacheRuleArgs)
        arguments.check()
        from pulumi_cloudflare.zone_setting import ZoneSetting

        child = pulumi.ResourceOptions(parent=self)
        for setting_id, value in settings.items():
            ZoneSetting(f"{name}-{setting_id.replace('_', '-')}", zone_id=args["zone_id"], setting_id=setting_id, value=value, opts=child)
        if cdn:
            from pulumi_cloudflare.argo_tiered_caching import ArgoTieredCaching
            from pulumi_cloudflare.tiered_cache import TieredCache

            # The second picks the best of the ways that the first opens, so it needs the first.
            tiered = ArgoTieredCaching(f"{name}-tiered-caching", zone_id=args["zone_id"], value="on", opts=child)
            smart = pulumi.ResourceOptions(parent=self, depends_on=[tiered])
            TieredCache(f"{name}-tiered-cache", zone_id=args["zone_id"], value="on", opts=smart)
        if isinstance(cache_rules, pulumi.Output) or cache_rules:
            from pulumi_cloudflare.ruleset import Ruleset

            Ruleset(
                f"{name}-cache",
                zone_id=args["zone_id"],
                name="Cache rules",
                description="What the CDN keeps, by host name",
                kind="zone",
                phase="http_request_cache_settings",
                rules=pulumi.Output.from_input(cache_rules).apply(lambda known: [_cache_rule(rule) for rule in known]),
                opts=child,
            )
        self.zone_id = pulumi.Output.from_input(args["zone_id"])
        self.register_outputs({"zone_id": self.zone_id})


def _cache_rule(rule: Any) -> Any:
    hostname, seconds = rule["hostname"], int(rule["seconds"])
    kept = {"mode": "override_origin", "default": seconds}
    # Without this an error page would be kept as long as the object that should have been there.
    errors = {"status_code_range": {"from_": 400, "to": 599}, "value": 0}
    caching = {"cache": True, "edge_ttl": {**kept, "status_code_ttls": [errors]}, "browser_ttl": kept}
    return {
        # A name of its own keeps a rule's identity when another is added before it.
        "ref": "cache_" + re.sub(r"[^a-z0-9]", "_", hostname.lower()),
        "description": rule.get("description", ""),
        "enabled": True,
        "expression": f'(http.host eq "{hostname}")',
        "action": "set_cache_settings",
        "action_parameters": caching if seconds else {"cache": False},
    }
