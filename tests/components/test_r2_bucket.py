"""Buckets: what is made, what is protected, what stays secret."""

import hashlib
import json
from typing import Any

import pulumi
import pytest

from components.edge_zone import EdgeZone
from components.r2_bucket import R2Bucket
from rungway.model import SECRET, UNKNOWN
from tests.support.built import Built, build, problems
from tests.support.deployed import deploy, id_of

PUBLIC: dict[str, Any] = {
    "account_id": "account",
    "bucket_name": "shop-images",
    "location": "weur",
    "access": "public",
    "zone_id": "zone",
    "domain": "images.example.com",
    "cors": [{"origins": ["https://www.example.com"], "methods": ["GET", "PUT"], "headers": ["content-type"], "max_age_seconds": 600}],
    "delete_after_days": 30,
    "abort_uploads_after_days": 7,
    "lock_days": 2,
    "token": "write",
    "cache_seconds": 86_400,
}
NOTHING: dict[str, Any] = {
    "account_id": "account",
    "bucket_name": "shop-backups",
    "location": "",
    "access": "private",
    "zone_id": "",
    "domain": "",
    "cors": [],
    "delete_after_days": 0,
    "abort_uploads_after_days": 0,
    "lock_days": 0,
    "token": "none",
    "cache_seconds": 0,
}


def buckets(*, images: dict[str, Any] | None = None, backups: dict[str, Any] | None = None) -> Built:
    def program() -> dict[str, Any]:
        built = {
            "images": R2Bucket("bucket-images", {**PUBLIC, **(images or {})}),  # type: ignore[typeddict-item]
            "backups": R2Bucket("bucket-backups", {**NOTHING, **(backups or {})}),  # type: ignore[typeddict-item]
        }
        keys = ("bucket_name", "endpoint", "public_url", "access_key_id", "secret_access_key", "cache_rule")
        return {f"{name}-{key}": getattr(bucket, key) for name, bucket in built.items() for key in keys}

    return build(program)


def test_two_buckets_side_by_side_have_these_urns() -> None:
    in_images = "rungway:index:R2Bucket$cloudflare:index"
    assert buckets().urns == [
        "rungway:index:R2Bucket::bucket-images",
        f"{in_images}/r2Bucket:R2Bucket::bucket-images",
        f"{in_images}/r2ManagedDomain:R2ManagedDomain::bucket-images-managed-domain",
        f"{in_images}/r2CustomDomain:R2CustomDomain::bucket-images-domain",
        f"{in_images}/r2BucketCors:R2BucketCors::bucket-images-cors",
        f"{in_images}/r2BucketLifecycle:R2BucketLifecycle::bucket-images-lifecycle",
        f"{in_images}/r2BucketLock:R2BucketLock::bucket-images-lock",
        f"{in_images}/accountToken:AccountToken::bucket-images-token",
        "rungway:index:R2Bucket::bucket-backups",
        f"{in_images}/r2Bucket:R2Bucket::bucket-backups",
        f"{in_images}/r2ManagedDomain:R2ManagedDomain::bucket-backups-managed-domain",
    ]


def test_only_the_buckets_are_protected() -> None:
    assert buckets().protected() == [("R2Bucket", "bucket-images"), ("R2Bucket", "bucket-backups")]


def test_absent_arguments_are_the_same_as_empty_ones() -> None:
    def program() -> None:
        R2Bucket("bucket-backups", {"account_id": "account", "bucket_name": "shop-backups"})

    assert build(program).resources == buckets().resources[8:]


def test_the_inputs_of_a_public_bucket() -> None:
    built = buckets()
    of_bucket = {"accountId": "account", "bucketName": "shop-images"}
    assert built.inputs("R2Bucket", "bucket-images") == {"accountId": "account", "name": "shop-images", "location": "weur"}
    assert built.inputs("R2ManagedDomain", "bucket-images-managed-domain") == {**of_bucket, "enabled": False}
    assert built.inputs("R2CustomDomain", "bucket-images-domain") == {
        **of_bucket,
        "domain": "images.example.com",
        "zoneId": "zone",
        "enabled": True,
        "minTls": "1.2",
    }
    assert built.inputs("R2BucketCors", "bucket-images-cors")["rules"] == [
        {
            "allowed": {"origins": ["https://www.example.com"], "methods": ["GET", "PUT"], "headers": ["content-type"]},
            "maxAgeSeconds": 600,
        }
    ]
    assert built.inputs("R2BucketLifecycle", "bucket-images-lifecycle")["rules"] == [
        {
            "id": "delete-objects",
            "enabled": True,
            "conditions": {"prefix": ""},
            "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 2_592_000}},
        },
        {
            "id": "abort-uploads",
            "enabled": True,
            "conditions": {"prefix": ""},
            "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 604_800}},
        },
    ]
    assert built.inputs("R2BucketLock", "bucket-images-lock")["rules"] == [
        {"id": "lock", "enabled": True, "prefix": "", "condition": {"type": "Age", "maxAgeSeconds": 172_800}}
    ]


@pytest.mark.parametrize(("given", "seconds"), [({}, 3600), ({"max_age_seconds": 0}, 0)])
def test_a_browser_asks_again_after_an_hour_unless_told_otherwise(given: dict[str, int], seconds: int) -> None:
    built = buckets(images={"cors": [{"origins": ["*"], "methods": ["GET"], **given}]})
    assert built.inputs("R2BucketCors", "bucket-images-cors")["rules"] == [
        {"allowed": {"origins": ["*"], "methods": ["GET"]}, "maxAgeSeconds": seconds}
    ]


@pytest.mark.parametrize(
    ("token", "groups"),
    [
        ("read", ["6a018a9f2fc74eb6b293b0c548f38b39"]),
        ("write", ["6a018a9f2fc74eb6b293b0c548f38b39", "2efd5506f9c8494dacb1fa10a3e7d5b6"]),
    ],
)
def test_a_token_reaches_its_own_bucket_alone(token: str, groups: list[str]) -> None:
    inputs = buckets(images={"token": token}).inputs("AccountToken", "bucket-images-token")

    assert inputs["name"] == f"shop-images-{token}"
    (policy,) = inputs["policies"]
    assert policy["effect"] == "allow"
    assert policy["permissionGroups"] == [{"id": group} for group in groups]
    assert json.loads(policy["resources"]) == {"com.cloudflare.edge.r2.bucket.account_default_shop-images": "*"}


def test_a_jurisdiction_is_part_of_every_address_of_the_bucket() -> None:
    built = buckets(images={"jurisdiction": "eu"})

    (policy,) = built.inputs("AccountToken", "bucket-images-token")["policies"]
    assert json.loads(policy["resources"]) == {"com.cloudflare.edge.r2.bucket.account_eu_shop-images": "*"}
    assert built.outputs["images-endpoint"] == "https://account.eu.r2.cloudflarestorage.com"
    children = [resource for resource in built.resources[1:7] if resource.type.startswith("cloudflare:index/r2")]
    assert [child.inputs["jurisdiction"] for child in children] == ["eu"] * 6


def test_outputs() -> None:
    outputs = buckets().outputs

    assert outputs["images-bucket_name"] == "shop-images"
    assert outputs["images-endpoint"] == "https://account.r2.cloudflarestorage.com"
    assert outputs["images-public_url"] == "https://images.example.com"
    assert outputs["images-access_key_id"] == UNKNOWN
    assert outputs["images-secret_access_key"] == SECRET
    assert outputs["images-cache_rule"] == {"hostname": "images.example.com", "seconds": 86_400, "description": "bucket shop-images"}
    assert outputs["backups-public_url"] == ""
    assert outputs["backups-access_key_id"] == ""
    assert outputs["backups-secret_access_key"] == ""


def test_the_secret_access_key_is_the_digest_of_the_token() -> None:
    def program() -> list[Any]:
        bucket = R2Bucket("bucket-images", PUBLIC)  # type: ignore[arg-type]
        keys: tuple[Any, Any] = (bucket.access_key_id, bucket.secret_access_key)
        return [*keys, *(key.is_secret() for key in keys)]

    outputs = deploy(program, {"AccountToken": {"value": "token value"}}).outputs
    assert outputs == [id_of("AccountToken", "bucket-images-token"), hashlib.sha256(b"token value").hexdigest(), False, True]


def test_the_zone_takes_the_bucket_s_cache_rule() -> None:
    def program() -> None:
        bucket = R2Bucket("bucket-images", PUBLIC)  # type: ignore[arg-type]
        EdgeZone("zone", {"zone_id": "zone", "cache_rules": [bucket.cache_rule]})  # type: ignore[list-item]

    (rule,) = build(program).inputs("Ruleset", "zone-cache")["rules"]
    assert rule["expression"] == '(http.host eq "images.example.com")'
    assert rule["actionParameters"]["edgeTtl"]["default"] == 86_400


def test_every_problem_is_named_at_once() -> None:
    wrong: dict[str, Any] = {
        "account_id": "account",
        "location": "moon",
        "jurisdiction": "us",
        "access": "private",
        "domain": "images.example.com",
        "cors": [{"origins": [], "methods": ["PATCH"], "max_age_seconds": 90_000}, "all"],
        "delete_after_days": -1,
        "lock_days": pulumi.Output.from_input(3),
        "token": "admin",
        "cache_seconds": 31_536_001,
        "public": True,
    }
    allowed = (
        "abort_uploads_after_days, access, account_id, bucket_name, cache_seconds, cors, delete_after_days, domain, jurisdiction, "
        "location, lock_days, token, zone_id"
    )
    assert problems(lambda: R2Bucket("bucket-images", wrong)) == [  # type: ignore[arg-type]
        f"bucket-images (R2Bucket): public: found an unknown argument; allowed: {allowed}",
        "bucket-images (R2Bucket): bucket_name: found nothing; it is required",
        "bucket-images (R2Bucket): location: found 'moon'; allowed: apac, eeur, enam, oc, weur, wnam",
        "bucket-images (R2Bucket): jurisdiction: found 'us'; allowed: default, eu, fedramp",
        "bucket-images (R2Bucket): token: found 'admin'; allowed: none, read, write",
        "bucket-images (R2Bucket): delete_after_days: found -1; allowed: 0 to 36500",
        "bucket-images (R2Bucket): lock_days: must be known before deployment; found an Output",
        "bucket-images (R2Bucket): cache_seconds: found 31536001; allowed: 0 to 31536000",
        "bucket-images (R2Bucket): cors[1]: found 'all'; allowed: a dictionary",
        "bucket-images (R2Bucket): cors[0].methods: found 'PATCH'; allowed: DELETE, GET, HEAD, POST, PUT",
        "bucket-images (R2Bucket): cors[0].max_age_seconds: found 90000; allowed: 0 to 86400",
        "bucket-images (R2Bucket): domain: found 'images.example.com'; allowed: nothing, as access is private",
    ]


def test_a_public_bucket_needs_a_host_name() -> None:
    assert problems(lambda: R2Bucket("b", {"account_id": "a", "bucket_name": "b", "access": "public"})) == [
        "b (R2Bucket): domain: found None; allowed: what a public bucket is served from",
        "b (R2Bucket): zone_id: found None; allowed: what a public bucket is served from",
    ]
