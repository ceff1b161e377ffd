"""Cloudflare's part of a stack: buckets, the front end, DNS for the application, and the zone's settings."""

from typing import Any

import pulumi

from components.dns_name import DnsName
from components.edge_zone import EdgeZone
from components.global_load_balancer import GlobalLoadBalancer
from components.r2_bucket import R2Bucket
from components.static_site import StaticSite
from infra.catalog import locations
from infra.regions import BuiltRegion
from infra.settings import BucketSettings, Settings


def build_edge(settings: Settings, regions: list[BuiltRegion]) -> dict[str, Any]:
    """Register everything at Cloudflare; return what the stack exports of its buckets."""
    edge = settings.edge
    buckets = {bucket.name: _bucket(settings, bucket) for bucket in edge.buckets}
    if edge.static_site.enabled:
        StaticSite(
            "site",
            {
                "account_id": settings.cloudflare_account_id,
                "zone_id": settings.cloudflare_zone_id,
                "project_name": settings.name,
                "hostname": site_hostname(settings),
                "production_branch": edge.static_site.production_branch,
            },
        )
    _api_name(settings, regions)
    EdgeZone(
        "zone",
        {
            "zone_id": settings.cloudflare_zone_id,
            "tls_mode": edge.zone.tls_mode,
            "minimum_tls_version": edge.zone.minimum_tls_version,
            "hsts_max_age_seconds": edge.zone.hsts_max_age_seconds,
            "hsts_include_subdomains": edge.zone.hsts_include_subdomains,
            "cdn": edge.cdn,
            "cache_rules": [
                {
                    "hostname": f"{bucket.subdomain}.{settings.domain}",
                    "seconds": bucket.cache_seconds,
                    "description": f"bucket {bucket.name}",
                }
                for bucket in edge.buckets
                if edge.cdn and bucket.access == "public" and bucket.cache_seconds
            ],
        },
    )
    return {name: _described(bucket) for name, bucket in buckets.items()}


def site_hostname(settings: Settings) -> str:
    """Host name of the front end."""
    subdomain = settings.edge.static_site.subdomain
    return settings.domain if subdomain == "@" else f"{subdomain}.{settings.domain}"


def _bucket(settings: Settings, bucket: BucketSettings) -> R2Bucket:
    site = f"https://{site_hostname(settings)}"
    args: Any = {
        "account_id": settings.cloudflare_account_id,
        "bucket_name": f"{settings.name}-{bucket.name}",
        "access": bucket.access,
        "cors": [
            {
                "origins": [origin.replace("{site}", site) for origin in rule.origins],
                "methods": list(rule.methods),
                "headers": list(rule.headers),
                "max_age_seconds": rule.max_age_seconds,
            }
            for rule in bucket.cors
        ],
        "delete_after_days": bucket.delete_after_days,
        "abort_uploads_after_days": bucket.abort_uploads_after_days,
        "lock_days": bucket.lock_days,
        "token": bucket.token,
    }
    if bucket.location:
        args["location"] = bucket.location
    if bucket.access == "public":
        args |= {
            "zone_id": settings.cloudflare_zone_id,
            "domain": f"{bucket.subdomain}.{settings.domain}",
            "cache_seconds": bucket.cache_seconds,
        }
    return R2Bucket(f"bucket-{bucket.name}", args)


def _described(bucket: R2Bucket) -> dict[str, Any]:
    return {
        "name": bucket.bucket_name,
        "endpoint": bucket.endpoint,
        "access_key_id": bucket.access_key_id,
        "secret_access_key": bucket.secret_access_key,
    }


def _api_name(settings: Settings, regions: list[BuiltRegion]) -> None:
    """The application's host name: one name for all regions' entries, or the global load balancer's."""
    edge = settings.edge
    entries = [region for region in regions if region.entry_ipv4]
    hostname = f"{edge.api_subdomain}.{settings.domain}"
    if not entries:
        return
    if edge.global_load_balancing:
        GlobalLoadBalancer(
            "api",
            {
                "account_id": settings.cloudflare_account_id,
                "zone_id": settings.cloudflare_zone_id,
                "hostname": hostname,
                "health_check_path": settings.regions[0].app.health_check_path,
                # Monitors know public authorities alone (Cloudflare, "Common error codes": "TLS untrusted certificate").
                "health_check_trusts_any_certificate": edge.zone.origin_certificate == "cloudflare",
                "pools": [_pool(entry) for entry in entries],
                "steering": edge.steering,
            },
        )
        return
    ipv4: list[pulumi.Input[str]] = [address for entry in entries for address in entry.entry_ipv4]
    ipv6: list[pulumi.Input[str]] = [address for entry in entries for address in entry.entry_ipv6]
    DnsName(
        "api",
        {"zone_id": settings.cloudflare_zone_id, "hostname": hostname, "ipv4_addresses": ipv4, "ipv6_addresses": ipv6, "proxied": True},
    )


def _pool(entry: BuiltRegion) -> Any:
    place = locations(entry.region.provider)[entry.region.location]
    return {"name": entry.region.name, "addresses": entry.entry_ipv4, "latitude": place.latitude, "longitude": place.longitude}
