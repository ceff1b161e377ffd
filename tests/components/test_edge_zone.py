"""A zone's settings and its cache."""

from collections.abc import Callable
from typing import Any

import pulumi

from components.edge_zone import EdgeZone
from tests.support.built import Built, build, problems

SETTINGS = (
    "ssl",
    "min-tls-version",
    "tls-1-3",
    "always-use-https",
    "automatic-https-rewrites",
    "security-header",
    "http3",
    "websockets",
)


def zones(rules: Callable[[], Any] | None = None, **args: Any) -> Built:
    """`rules` is called inside the program: an Output belongs to the loop on which it was made."""

    def program() -> dict[str, Any]:
        zone = EdgeZone("zone", {"zone_id": "one", **args, **({"cache_rules": rules()} if rules else {})})  # type: ignore[typeddict-item]
        EdgeZone("other", {"zone_id": "two"})
        return {"zone_id": zone.zone_id}

    return build(program)


def test_two_zones_side_by_side_have_these_urns() -> None:
    in_zone = "rungway:index:EdgeZone$cloudflare:index"
    built = zones(cdn=True, cache_rules=[{"hostname": "images.example.com", "seconds": 7200}])
    assert built.urns == [
        "rungway:index:EdgeZone::zone",
        *(f"{in_zone}/zoneSetting:ZoneSetting::zone-{setting}" for setting in SETTINGS),
        f"{in_zone}/argoTieredCaching:ArgoTieredCaching::zone-tiered-caching",
        f"{in_zone}/tieredCache:TieredCache::zone-tiered-cache",
        f"{in_zone}/ruleset:Ruleset::zone-cache",
        "rungway:index:EdgeZone::other",
        *(f"{in_zone}/zoneSetting:ZoneSetting::other-{setting}" for setting in SETTINGS),
    ]
    assert built.waits_for("TieredCache", "zone-tiered-cache") == [
        "cloudflare:index/argoTieredCaching:ArgoTieredCaching::zone-tiered-caching"
    ]
    assert built.outputs == {"zone_id": "one"}


def test_a_zone_is_strict_unless_told_otherwise() -> None:
    values = {
        resource.inputs["settingId"]: resource.inputs["value"] for resource in zones().resources if resource.inputs.get("zoneId") == "two"
    }
    assert values == {
        "ssl": "strict",
        "min_tls_version": "1.2",
        "tls_1_3": "on",
        "always_use_https": "on",
        "automatic_https_rewrites": "on",
        "security_header": {
            "strict_transport_security": {
                "enabled": False,
                "max_age": 0,
                "include_subdomains": False,
                "preload": False,
                "nosniff": True,
            }
        },
        "http3": "on",
        "websockets": "on",
    }


def test_what_it_was_told() -> None:
    built = zones(tls_mode="full", minimum_tls_version="1.3", hsts_max_age_seconds=31_536_000, hsts_include_subdomains=True)

    assert built.inputs("ZoneSetting", "zone-ssl")["value"] == "full"
    assert built.inputs("ZoneSetting", "zone-min-tls-version")["value"] == "1.3"
    assert built.inputs("ZoneSetting", "zone-security-header")["value"] == {
        "strict_transport_security": {
            "enabled": True,
            "max_age": 31_536_000,
            "include_subdomains": True,
            "preload": False,
            "nosniff": True,
        }
    }


def test_hsts_that_is_off_holds_for_no_subdomain() -> None:
    header = zones(hsts_include_subdomains=True).inputs("ZoneSetting", "zone-security-header")["value"]["strict_transport_security"]
    assert (header["enabled"], header["include_subdomains"]) == (False, False)


def test_a_zone_without_cache_rules_has_no_set_of_them() -> None:
    assert zones(cache_rules=[]).urns == zones().urns
    assert not [resource for resource in zones().resources if resource.type.endswith(":Ruleset")]


def test_cache_rules_keep_objects_and_not_errors() -> None:
    def rules() -> Any:
        return [
            {"hostname": "images.example.com", "seconds": 86_400, "description": "bucket images"},
            {"hostname": pulumi.Output.from_input("files.example.com"), "seconds": 0},
        ]

    assert zones(rules).inputs("Ruleset", "zone-cache") == {
        "zoneId": "one",
        "kind": "zone",
        "phase": "http_request_cache_settings",
        "name": "Cache rules",
        "description": "What the CDN keeps, by host name",
        "rules": [
            {
                "ref": "cache_images_example_com",
                "description": "bucket images",
                "enabled": True,
                "expression": '(http.host eq "images.example.com")',
                "action": "set_cache_settings",
                "actionParameters": {
                    "cache": True,
                    "edgeTtl": {
                        "mode": "override_origin",
                        "default": 86_400,
                        "statusCodeTtls": [{"statusCodeRange": {"from": 400, "to": 599}, "value": 0}],
                    },
                    "browserTtl": {"mode": "override_origin", "default": 86_400},
                },
            },
            {
                "ref": "cache_files_example_com",
                "description": "",
                "enabled": True,
                "expression": '(http.host eq "files.example.com")',
                "action": "set_cache_settings",
                "actionParameters": {"cache": False},
            },
        ],
    }


def test_rules_that_come_late_still_make_the_one_set() -> None:
    def rules() -> Any:
        return pulumi.Output.from_input([{"hostname": "images.example.com", "seconds": 60}])

    assert zones(rules).inputs("Ruleset", "zone-cache")["rules"][0]["ref"] == "cache_images_example_com"


def test_every_problem_is_named_at_once() -> None:
    args: Any = {
        "tls_mode": "flexible",
        "minimum_tls_version": "1.0",
        "hsts_max_age_seconds": 63_072_001,
        "hsts_include_subdomains": "yes",
        "cdn": pulumi.Output.from_input(True),
        "cache_rules": [{"hostname": "images.example.com", "second": 60}, "all"],
    }
    assert problems(lambda: EdgeZone("zone", args)) == [
        "zone (EdgeZone): zone_id: found nothing; it is required",
        "zone (EdgeZone): hsts_max_age_seconds: found 63072001; allowed: 0 to 63072000",
        "zone (EdgeZone): tls_mode: found 'flexible'; allowed: full, strict",
        "zone (EdgeZone): minimum_tls_version: found '1.0'; allowed: 1.2, 1.3",
        "zone (EdgeZone): hsts_include_subdomains: found 'yes'; allowed: true or false",
        "zone (EdgeZone): cdn: must be known before deployment; found an Output",
        "zone (EdgeZone): cache_rules[0].second: found an unknown argument; allowed: description, hostname, seconds; "
        "did you mean 'seconds'?",
        "zone (EdgeZone): cache_rules[0].seconds: found nothing; it is required",
        "zone (EdgeZone): cache_rules[1]: found 'all'; allowed: a dictionary",
    ]
