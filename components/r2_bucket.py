"""An R2 bucket with what it needs to be used safely: protection, rules, its own host name and a token of its own."""

import hashlib
import json
from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

_ACCESS = ("private", "public")
_JURISDICTIONS = ("default", "eu", "fedramp")
_LOCATIONS = ("apac", "eeur", "enam", "oc", "weur", "wnam")
_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
_TOKENS = ("none", "read", "write")
_SECONDS_A_DAY = 86_400
_MOST_DAYS = 36_500
_MOST_CORS_SECONDS = 86_400
"""Cloudflare R2 documentation, "Configure CORS": the most that a browser may cache the answer."""
_MOST_CACHE_SECONDS = 31_536_000
_ITEM_READ, _ITEM_WRITE = "6a018a9f2fc74eb6b293b0c548f38b39", "2efd5506f9c8494dacb1fa10a3e7d5b6"
"""Permission groups 'Workers R2 Storage Bucket Item Read' and '... Write': the same ids in every account. The first is in Cloudflare's R2
documentation ("Authentication", access policy example), the second in its R2 Data Catalog documentation ("Manage catalogs")."""


class CorsRuleArgs(TypedDict):
    """Which web pages may use the bucket directly from a browser."""

    origins: pulumi.Input[list[pulumi.Input[str]]]
    """Origins, for example https://www.example.com."""
    methods: pulumi.Input[list[pulumi.Input[str]]]
    """HTTP methods: DELETE, GET, HEAD, POST, PUT."""
    headers: NotRequired[pulumi.Input[list[pulumi.Input[str]]]]
    """Request headers that a page may send."""
    max_age_seconds: NotRequired[pulumi.Input[int]]
    """How long a browser may cache the answer, 0 to 86,400; 3,600 when absent."""


class R2BucketArgs(TypedDict):
    """A bucket, who may read it, and how long objects stay."""

    account_id: pulumi.Input[str]
    """Cloudflare account."""
    bucket_name: pulumi.Input[str]
    """Name of the bucket, unique in the account. Frozen: a change would replace the bucket."""
    location: NotRequired[pulumi.Input[str]]
    """Where the bucket is created: apac, eeur, enam, oc, weur or wnam; near the first request when absent. Frozen."""
    jurisdiction: NotRequired[pulumi.Input[str]]
    """Where objects may be kept: default, eu or fedramp. Frozen."""
    access: NotRequired[pulumi.Input[str]]
    """private (when absent): only with a token. public: everyone may read, at `domain`."""
    zone_id: NotRequired[pulumi.Input[str]]
    """Zone of `domain`; needed by a public bucket."""
    domain: NotRequired[pulumi.Input[str]]
    """Host name of a public bucket, in the zone."""
    cors: NotRequired[pulumi.Input[list[pulumi.Input[CorsRuleArgs]]]]
    """Cross-origin rules."""
    delete_after_days: NotRequired[pulumi.Input[int]]
    """Objects are deleted after so many days; 0 keeps them."""
    abort_uploads_after_days: NotRequired[pulumi.Input[int]]
    """Unfinished multipart uploads are deleted after so many days; 0 leaves Cloudflare's own rule, 7 days."""
    lock_days: NotRequired[pulumi.Input[int]]
    """Nobody can delete or overwrite an object for so many days; 0 means no lock. A lock outranks `delete_after_days`."""
    token: NotRequired[pulumi.Input[str]]
    """none (when absent), read or write: create a token that can do this, to this bucket's objects alone."""
    cache_seconds: NotRequired[pulumi.Input[int]]
    """How long the CDN and browsers keep objects of a public bucket: `cache_rule` carries it to EdgeZone. 0 caches nothing."""


class CacheRule(TypedDict):
    """How long the CDN keeps what one host name serves, as EdgeZone takes it."""

    hostname: str
    """Host name of the bucket."""
    seconds: int
    """How long an object is kept."""
    description: str
    """What the rule is for."""


class R2Bucket(pulumi.ComponentResource):
    """A protected bucket whose development address (r2.dev) is closed, with rules, a host name and a token as asked.

    A zone has one set of cache rules, so the bucket makes none: give `cache_rule` to the zone's EdgeZone.
    """

    bucket_name: pulumi.Output[str]
    """Name of the bucket."""
    endpoint: pulumi.Output[str]
    """Address of the S3 API."""
    public_url: pulumi.Output[str]
    """Address of a public bucket; empty for a private one."""
    access_key_id: pulumi.Output[str]
    """S3 access key id of the token; empty without a token."""
    secret_access_key: pulumi.Output[str]
    """S3 secret access key of the token, secret; empty without a token."""
    cache_rule: pulumi.Output[CacheRule]
    """A rule for EdgeZone's `cache_rules`. With 0 seconds it keeps the CDN from caching."""

    def __init__(self, name: str, args: R2BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:R2Bucket", name, {}, opts)
        arguments = Arguments("R2Bucket", name, args, R2BucketArgs)
        location = arguments.choice("location", _LOCATIONS, "")
        jurisdiction = arguments.choice("jurisdiction", _JURISDICTIONS, "default")
        public = arguments.choice("access", _ACCESS, "private") == "public"
        token = arguments.choice("token", _TOKENS, "none")
        delete_after_days = arguments.number("delete_after_days", 0, _MOST_DAYS, 0)
        abort_uploads_after_days = arguments.number("abort_uploads_after_days", 0, _MOST_DAYS, 0)
        lock_days = arguments.number("lock_days", 0, _MOST_DAYS, 0)
        cache_seconds = arguments.number("cache_seconds", 0, _MOST_CACHE_SECONDS, 0)
        cors = arguments.items("cors", CorsRuleArgs)
        for index, rule in enumerate(cors):
            _check_cors(arguments, index, rule)
        for key in ("domain", "zone_id"):
            if public != bool(args.get(key)):
                arguments.problem(key, args.get(key), "what a public bucket is served from" if public else "nothing, as access is private")
        arguments.check()
        from pulumi_cloudflare.r2_bucket import R2Bucket as Bucket
        from pulumi_cloudflare.r2_managed_domain import R2ManagedDomain

        bucket = Bucket(
            name,
            account_id=args["account_id"],
            name=args["bucket_name"],
            location=location or None,
            jurisdiction=jurisdiction if jurisdiction != "default" else None,
            opts=pulumi.ResourceOptions(parent=self, protect=True),
        )
        of_bucket: dict[str, Any] = {
            "account_id": args["account_id"],
            "bucket_name": bucket.name,
            "jurisdiction": jurisdiction if jurisdiction != "default" else None,
            "opts": pulumi.ResourceOptions(parent=self),
        }
        # The r2.dev address has no cache, no access rules and a limited rate: Cloudflare means it for development.
        R2ManagedDomain(f"{name}-managed-domain", enabled=False, **of_bucket)
        if public:
            from pulumi_cloudflare.r2_custom_domain import R2CustomDomain

            R2CustomDomain(f"{name}-domain", domain=args["domain"], zone_id=args["zone_id"], enabled=True, min_tls="1.2", **of_bucket)
        if cors:
            from pulumi_cloudflare.r2_bucket_cors import R2BucketCors

            R2BucketCors(f"{name}-cors", rules=[_cors_rule(rule) for rule in cors], **of_bucket)
        lifecycle = _lifecycle_rules(delete_after_days, abort_uploads_after_days)
        if lifecycle:
            from pulumi_cloudflare.r2_bucket_lifecycle import R2BucketLifecycle

            R2BucketLifecycle(f"{name}-lifecycle", rules=lifecycle, **of_bucket)
        if lock_days:
            from pulumi_cloudflare.r2_bucket_lock import R2BucketLock

            condition: Any = {"type": "Age", "max_age_seconds": lock_days * _SECONDS_A_DAY}
            # All objects; named so that a later change of its days updates the same rule.
            R2BucketLock(f"{name}-lock", rules=[{"id": "lock", "enabled": True, "prefix": "", "condition": condition}], **of_bucket)
        self.access_key_id, self.secret_access_key = self._token(name, args["account_id"], bucket.name, jurisdiction, token)
        self.bucket_name = bucket.name
        subdomain = "" if jurisdiction == "default" else f".{jurisdiction}"
        self.endpoint = pulumi.Output.from_input(args["account_id"]).apply(
            lambda account: f"https://{account}{subdomain}.r2.cloudflarestorage.com"
        )
        hostname = pulumi.Output.from_input(args.get("domain") or "")
        self.public_url = hostname.apply(lambda known: f"https://{known}" if known else "")
        self.cache_rule = pulumi.Output.all(hostname, bucket.name).apply(
            lambda known: CacheRule(hostname=known[0], seconds=cache_seconds, description=f"bucket {known[1]}")
        )
        self.register_outputs(
            {
                "bucket_name": self.bucket_name,
                "endpoint": self.endpoint,
                "public_url": self.public_url,
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
                "cache_rule": self.cache_rule,
            }
        )

    def _token(
        self, name: str, account_id: pulumi.Input[str], bucket_name: pulumi.Output[str], jurisdiction: str, token: str
    ) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """S3 access key id and secret access key of the bucket's own token."""
        if token == "none":  # noqa: S105
            return pulumi.Output.from_input(""), pulumi.Output.from_input("")
        from pulumi_cloudflare.account_token import AccountToken

        resources = pulumi.Output.all(account_id, bucket_name).apply(
            lambda known: json.dumps({f"com.cloudflare.edge.r2.bucket.{known[0]}_{jurisdiction}_{known[1]}": "*"})
        )
        groups = [_ITEM_READ] if token == "read" else [_ITEM_READ, _ITEM_WRITE]  # noqa: S105
        made = AccountToken(
            f"{name}-token",
            account_id=account_id,
            name=bucket_name.apply(lambda known: f"{known}-{token}"),
            policies=[{"effect": "allow", "permission_groups": [{"id": group} for group in groups], "resources": resources}],
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Cloudflare R2 documentation, "Authentication": the secret access key is the SHA-256 of the token's value.
        return made.id, pulumi.Output.secret(made.value.apply(lambda value: hashlib.sha256(value.encode()).hexdigest()))


def _check_cors(arguments: Arguments, index: int, rule: Any) -> None:
    methods = rule.get("methods")
    if isinstance(methods, list):
        for method in methods:
            if isinstance(method, str) and method not in _METHODS:
                arguments.problem(f"cors[{index}].methods", method, ", ".join(_METHODS))
    seconds = rule.get("max_age_seconds")
    if isinstance(seconds, int | float) and not 0 <= seconds <= _MOST_CORS_SECONDS:
        arguments.problem(f"cors[{index}].max_age_seconds", seconds, f"0 to {_MOST_CORS_SECONDS}")


def _cors_rule(rule: Any) -> Any:
    allowed = {"origins": rule["origins"], "methods": rule["methods"]}
    if rule.get("headers"):
        allowed["headers"] = rule["headers"]
    seconds = rule.get("max_age_seconds")
    return {"allowed": allowed, "max_age_seconds": 3600 if seconds is None else seconds}


def _lifecycle_rules(delete_after_days: int, abort_uploads_after_days: int) -> list[Any]:
    rules = []
    for rule_id, days, transition in (
        ("delete-objects", delete_after_days, "delete_objects_transition"),
        ("abort-uploads", abort_uploads_after_days, "abort_multipart_uploads_transition"),
    ):
        if days:
            condition = {"type": "Age", "max_age": days * _SECONDS_A_DAY}
            rules.append({"id": rule_id, "enabled": True, "conditions": {"prefix": ""}, transition: {"condition": condition}})
    return rules
