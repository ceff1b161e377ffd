"""Host names and their addresses."""

from typing import Any

import pulumi

from components.dns_name import DnsName
from tests.support.built import Built, build, problems


def names(**args: Any) -> Built:
    def program() -> dict[str, Any]:
        given: Any = {
            "zone_id": "zone",
            "hostname": "api.example.com",
            "ipv4_addresses": ["192.0.2.1", pulumi.Output.from_input("192.0.2.2")],
            "ipv6_addresses": ["2001:db8::1"],
            **args,
        }
        api = DnsName("api", given)
        DnsName("grafana", {"zone_id": "zone", "hostname": "grafana.example.com", "ipv4_addresses": [], "ipv6_addresses": ["2001:db8::2"]})
        return {"hostname": api.hostname}

    return build(program)


def test_two_names_side_by_side_have_these_urns() -> None:
    in_name = "rungway:index:DnsName$cloudflare:index/dnsRecord:DnsRecord"
    built = names()
    assert built.urns == [
        "rungway:index:DnsName::api",
        f"{in_name}::api-a-1",
        f"{in_name}::api-a-2",
        f"{in_name}::api-aaaa-1",
        "rungway:index:DnsName::grafana",
        f"{in_name}::grafana-aaaa-1",
    ]
    assert built.outputs == {"hostname": "api.example.com"}


def test_a_proxied_name() -> None:
    record = {"zoneId": "zone", "name": "api.example.com", "proxied": True, "ttl": 1}
    built = names(ttl_seconds=0, comment="")
    assert built.inputs("DnsRecord", "api-a-1") == {**record, "type": "A", "content": "192.0.2.1"}
    assert built.inputs("DnsRecord", "api-a-2") == {**record, "type": "A", "content": "192.0.2.2"}
    assert built.inputs("DnsRecord", "api-aaaa-1") == {**record, "type": "AAAA", "content": "2001:db8::1"}


def test_a_name_of_its_own() -> None:
    inputs = names(proxied=False, ttl_seconds=120, comment="no proxy").inputs("DnsRecord", "api-a-1")
    assert (inputs["proxied"], inputs["ttl"], inputs["comment"]) == (False, 120, "no proxy")


def test_every_problem_is_named_at_once() -> None:
    args: Any = {
        "zone_id": "zone",
        "hostname": "api.example.com",
        "ipv4_addresses": ["192.0.2.1", "2001:db8::1", "192.0.2.1", "here"],
        "ipv6_addresses": ["192.0.2.2"],
        "ttl_seconds": 120,
        "ttl": 1,
    }
    assert problems(lambda: DnsName("api", args)) == [
        "api (DnsName): ttl: found an unknown argument; allowed: comment, hostname, ipv4_addresses, ipv6_addresses, proxied, ttl_seconds, "
        "zone_id",
        "api (DnsName): ttl_seconds: found 120; allowed: nothing, as a proxied name is always automatic",
        "api (DnsName): ipv4_addresses[1]: found '2001:db8::1'; allowed: an IPv4 address",
        "api (DnsName): ipv4_addresses[2]: found '192.0.2.1'; allowed: each address only once",
        "api (DnsName): ipv4_addresses[3]: found 'here'; allowed: an IPv4 address",
        "api (DnsName): ipv6_addresses[0]: found '192.0.2.2'; allowed: an IPv6 address",
    ]


def test_bounds_and_structure() -> None:
    args: Any = {"zone_id": "zone", "hostname": "api.example.com", "ipv4_addresses": [], "proxied": False, "ttl_seconds": 59}
    assert problems(lambda: DnsName("api", args)) == [
        "api (DnsName): ipv4_addresses: found []; allowed: at least one address, here or in ipv6_addresses",
        "api (DnsName): ttl_seconds: found 59; allowed: 60 to 86400",
    ]
    late: Any = {**args, "ipv4_addresses": pulumi.Output.from_input(["192.0.2.1"]), "ttl_seconds": 60}
    assert problems(lambda: DnsName("api", late)) == ["api (DnsName): ipv4_addresses: must be known before deployment; found an Output"]
