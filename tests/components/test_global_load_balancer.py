"""One name for several regions."""

from typing import Any

import pulumi

from components.global_load_balancer import GlobalLoadBalancer
from rungway.model import UNKNOWN
from tests.support.built import Built, build, problems
from tests.support.deployed import deploy, id_of

EU: dict[str, Any] = {"name": "eu", "addresses": ["192.0.2.1", "192.0.2.2"], "latitude": 49.45, "longitude": 11.08}
US: dict[str, Any] = {"name": "us", "addresses": ["198.51.100.1"], "latitude": 39.04, "longitude": -77.49}


def args(**more: Any) -> Any:
    return {"account_id": "account", "zone_id": "zone", "hostname": "api.example.com", "pools": [EU, US], **more}


def balancers(**more: Any) -> Built:
    def program() -> dict[str, Any]:
        api = GlobalLoadBalancer("api", args(**more))
        GlobalLoadBalancer("chat", args(hostname="chat.example.com", pools=[{"name": "eu", "addresses": ["192.0.2.1"]}]))
        return {"hostname": api.hostname}

    return build(program)


def test_two_side_by_side_have_these_urns() -> None:
    inside = "rungway:index:GlobalLoadBalancer$cloudflare:index"
    built = balancers()
    assert built.urns == [
        "rungway:index:GlobalLoadBalancer::api",
        f"{inside}/loadBalancerMonitor:LoadBalancerMonitor::api-monitor",
        f"{inside}/loadBalancerPool:LoadBalancerPool::api-pool-eu",
        f"{inside}/loadBalancerPool:LoadBalancerPool::api-pool-us",
        f"{inside}/loadBalancer:LoadBalancer::api",
        "rungway:index:GlobalLoadBalancer::chat",
        f"{inside}/loadBalancerMonitor:LoadBalancerMonitor::chat-monitor",
        f"{inside}/loadBalancerPool:LoadBalancerPool::chat-pool-eu",
        f"{inside}/loadBalancer:LoadBalancer::chat",
    ]
    assert built.outputs == {"hostname": "api.example.com"}


def test_inputs() -> None:
    built = balancers(health_check_path="/ready", health_check_trusts_any_certificate=True, steering="dynamic_latency")

    assert built.inputs("LoadBalancerMonitor", "api-monitor") == {
        "accountId": "account",
        "type": "https",
        "method": "GET",
        "path": "/ready",
        "port": 443,
        "header": {"Host": ["api.example.com"]},
        "allowInsecure": True,
        "expectedCodes": "200",
        "interval": 60,
        "timeout": 5,
        "retries": 2,
        "description": "api.example.com",
    }
    assert built.inputs("LoadBalancerPool", "api-pool-eu") == {
        "accountId": "account",
        "name": "api-example-com-eu",
        "origins": [
            {"name": "eu-1", "address": "192.0.2.1", "enabled": True, "weight": 1},
            {"name": "eu-2", "address": "192.0.2.2", "enabled": True, "weight": 1},
        ],
        "minimumOrigins": 1,
        "monitor": UNKNOWN,
        "latitude": 49.45,
        "longitude": 11.08,
    }
    assert built.inputs("LoadBalancer", "api") == {
        "zoneId": "zone",
        "name": "api.example.com",
        "defaultPools": [UNKNOWN, UNKNOWN],
        "fallbackPool": UNKNOWN,
        "steeringPolicy": "dynamic_latency",
        "proxied": True,
    }
    assert built.waits_for("LoadBalancer", "api") == [
        "cloudflare:index/loadBalancerPool:LoadBalancerPool::api-pool-eu",
        "cloudflare:index/loadBalancerPool:LoadBalancerPool::api-pool-us",
    ]


def test_regions_keep_their_order_and_the_last_is_used_when_none_is_healthy() -> None:
    inputs = deploy(lambda: GlobalLoadBalancer("api", args()).hostname).inputs

    eu, us = (id_of("LoadBalancerPool", f"api-pool-{region}") for region in ("eu", "us"))
    assert inputs["LoadBalancer", "api"]["defaultPools"] == [eu, us]
    assert inputs["LoadBalancer", "api"]["fallbackPool"] == us
    assert inputs["LoadBalancerPool", "api-pool-us"]["monitor"] == id_of("LoadBalancerMonitor", "api-monitor")


def test_without_steering_the_first_healthy_region_serves() -> None:
    built = balancers()
    assert built.inputs("LoadBalancer", "api")["steeringPolicy"] == "off"
    assert built.inputs("LoadBalancerMonitor", "api-monitor")["path"] == "/health"


def test_every_problem_is_named_at_once() -> None:
    pools = [
        {"name": "eu", "addresses": []},
        {"name": "eu", "addresses": ["192.0.2.1"], "latitude": 1.0, "longitude": 2.0},
        {"name": pulumi.Output.from_input("us"), "addresses": "192.0.2.1", "latitude": 1.0},
        {"region": "ap", "addresses": ["192.0.2.1"], "latitude": 1.0, "longitude": 2.0},
    ]
    assert problems(lambda: GlobalLoadBalancer("api", args(pools=pools, steering="proximity"))) == [
        "api (GlobalLoadBalancer): pools[2].name: must be known before deployment; found an Output",
        "api (GlobalLoadBalancer): pools[2].addresses: found '192.0.2.1'; allowed: a list",
        "api (GlobalLoadBalancer): pools[3].region: found an unknown argument; allowed: addresses, latitude, longitude, name",
        "api (GlobalLoadBalancer): pools[3].name: found nothing; it is required",
        "api (GlobalLoadBalancer): pools[0].addresses: found []; allowed: at least one address",
        "api (GlobalLoadBalancer): pools[0].latitude: found None; allowed: where the region is, as steering is by proximity",
        "api (GlobalLoadBalancer): pools[0].longitude: found None; allowed: where the region is, as steering is by proximity",
        "api (GlobalLoadBalancer): pools[1].name: found 'eu'; allowed: a name that no other region has",
        "api (GlobalLoadBalancer): pools[2].longitude: found None; allowed: where the region is, as steering is by proximity",
    ]
    assert problems(lambda: GlobalLoadBalancer("api", args(pools=[], steering="geo"))) == [
        "api (GlobalLoadBalancer): steering: found 'geo'; allowed: dynamic_latency, off, proximity, random",
        "api (GlobalLoadBalancer): pools: found []; allowed: at least one region",
    ]
