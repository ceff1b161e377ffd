"""One host name for several regions: Cloudflare sends each visitor to a healthy one."""

from typing import Any, NotRequired, TypedDict

import pulumi

from components.arguments import Arguments

_STEERING = ("dynamic_latency", "off", "proximity", "random")
_CHECK_INTERVAL_SECONDS, _CHECK_TIMEOUT_SECONDS, _CHECK_RETRIES = 60, 5, 2
"""A minute is the shortest interval of Cloudflare's basic load balancing plan; timeout and retries are its defaults."""


class PoolArgs(TypedDict):
    """The entries of one region."""

    name: pulumi.Input[str]
    """Name of the region, letters, digits, '-' and '_'."""
    addresses: pulumi.Input[list[pulumi.Input[str]]]
    """Public addresses of the region's servers or load balancer."""
    latitude: NotRequired[pulumi.Input[float]]
    """Where the region is, in degrees north; for steering by proximity."""
    longitude: NotRequired[pulumi.Input[float]]
    """Where the region is, in degrees east; for steering by proximity."""


class GlobalLoadBalancerArgs(TypedDict):
    """A host name, the regions behind it, and how a region is chosen."""

    account_id: pulumi.Input[str]
    """Cloudflare account."""
    zone_id: pulumi.Input[str]
    """Zone of the host name."""
    hostname: pulumi.Input[str]
    """Host name of the application."""
    health_check_path: NotRequired[pulumi.Input[str]]
    """Path that answers 200 over HTTPS when a region can serve; '/health' when absent."""
    health_check_trusts_any_certificate: NotRequired[pulumi.Input[bool]]
    """Whether a region counts as healthy whoever signed its certificate; false when absent: a public authority must have. It is about
    health alone: what visitors' traffic accepts is the zone's TLS mode."""
    pools: pulumi.Input[list[pulumi.Input[PoolArgs]]]
    """The regions in order of preference; the last is used when none is healthy."""
    steering: NotRequired[pulumi.Input[str]]
    """off (when absent): the first healthy region. dynamic_latency: the quickest. proximity: the nearest. random: any."""


class GlobalLoadBalancer(pulumi.ComponentResource):
    """A monitor, a pool for each region, and the load balancer over them.

    Steering by dynamic_latency or proximity needs Cloudflare's traffic steering, which is paid for. Steering by country or continent is not
    offered: it needs Cloudflare's lists of regions.
    """

    hostname: pulumi.Output[str]
    """Host name of the application."""

    def __init__(self, name: str, args: GlobalLoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:GlobalLoadBalancer", name, {}, opts)
        arguments = Arguments("GlobalLoadBalancer", name, args, GlobalLoadBalancerArgs)
        steering = arguments.choice("steering", _STEERING, "off")
        pools = arguments.items("pools", PoolArgs, {"name": str, "addresses": list})
        _check_pools(arguments, args, pools, steering)
        arguments.check()
        from pulumi_cloudflare.load_balancer import LoadBalancer
        from pulumi_cloudflare.load_balancer_monitor import LoadBalancerMonitor
        from pulumi_cloudflare.load_balancer_pool import LoadBalancerPool

        child = pulumi.ResourceOptions(parent=self)
        hostname = pulumi.Output.from_input(args["hostname"])
        monitor = LoadBalancerMonitor(
            f"{name}-monitor",
            account_id=args["account_id"],
            type="https",
            method="GET",
            path=args.get("health_check_path") or "/health",
            port=443,
            # The servers pick the certificate and the application by this name; the pools hold addresses.
            header={"Host": [hostname]},
            allow_insecure=args.get("health_check_trusts_any_certificate"),
            expected_codes="200",
            interval=_CHECK_INTERVAL_SECONDS,
            timeout=_CHECK_TIMEOUT_SECONDS,
            retries=_CHECK_RETRIES,
            description=hostname,
            opts=child,
        )
        made = [
            LoadBalancerPool(
                f"{name}-pool-{pool['name']}",
                account_id=args["account_id"],
                # Unique in the account, which other stacks may share.
                name=_pool_name(hostname, pool["name"]),
                origins=[_origin(pool["name"], index, address) for index, address in enumerate(pool["addresses"], 1)],
                minimum_origins=1,
                monitor=monitor.id,
                latitude=pool.get("latitude"),
                longitude=pool.get("longitude"),
                opts=child,
            )
            for pool in pools
        ]
        LoadBalancer(
            name,
            zone_id=args["zone_id"],
            name=hostname,
            default_pools=[pool.id for pool in made],
            fallback_pool=made[-1].id,
            steering_policy=steering,
            proxied=True,
            opts=child,
        )
        self.hostname = hostname
        self.register_outputs({"hostname": self.hostname})


def _check_pools(arguments: Arguments, args: Any, pools: list[Any], steering: str) -> None:
    if args.get("pools") == []:
        arguments.problem("pools", [], "at least one region")
    seen: set[str] = set()
    for index, pool in enumerate(pools):
        path = f"pools[{index}]"
        if pool.get("addresses") == []:
            arguments.problem(f"{path}.addresses", [], "at least one address")
        if pool.get("name") in seen:
            arguments.problem(f"{path}.name", pool["name"], "a name that no other region has")
        seen.add(pool.get("name", ""))
        if steering == "proximity":
            for key in ("latitude", "longitude"):
                if pool.get(key) is None:
                    arguments.problem(f"{path}.{key}", None, "where the region is, as steering is by proximity")


def _pool_name(hostname: pulumi.Output[str], pool: str) -> pulumi.Output[str]:
    return hostname.apply(lambda known: f"{known.replace('.', '-')}-{pool}")


def _origin(pool: str, index: int, address: pulumi.Input[str]) -> Any:
    return {"name": f"{pool}-{index}", "address": address, "enabled": True, "weight": 1}
