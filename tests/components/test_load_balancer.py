"""The provider's load balancer."""

from typing import Any

import pytest

from components.load_balancer import LoadBalancer
from rungway.model import SECRET, UNKNOWN
from tests.support.built import Built, build, problems

HETZNER: dict[str, Any] = {"provider": "hetzner", "location": "nbg1", "type": "lb11", "target_label": "role=app,region=eu"}
DIGITALOCEAN: dict[str, Any] = {"provider": "digitalocean", "location": "fra1", "type": "2", "target_tag": "app"}
PRIVATE = {"subnet_id": "10-10.0.0.0/16", "private_address": "10.0.0.250"}
CERTIFICATE = {"certificate_pem": "certificate", "private_key_pem": "private key"}
CHECK = {"protocol": "http", "port": 80, "interval": 10, "timeout": 5, "retries": 3, "http": {"path": "/health", "statusCodes": ["200"]}}


def balancers(first: dict[str, Any], second: dict[str, Any]) -> Built:
    def program() -> dict[str, Any]:
        eu: Any = first
        us: Any = second
        one = LoadBalancer("load-balancer-eu", eu)
        LoadBalancer("load-balancer-us", us)
        return {"public_ipv4": one.public_ipv4, "public_ipv6": one.public_ipv6}

    return build(program)


def test_two_side_by_side_at_hetzner_have_these_urns() -> None:
    inside = "rungway:index:LoadBalancer$hcloud:index"
    built = balancers({**HETZNER, **PRIVATE}, {**HETZNER, **CERTIFICATE})
    assert built.urns == [
        "rungway:index:LoadBalancer::load-balancer-eu",
        f"{inside}/loadBalancer:LoadBalancer::load-balancer-eu",
        f"{inside}/loadBalancerNetwork:LoadBalancerNetwork::load-balancer-eu-private",
        f"{inside}/loadBalancerTarget:LoadBalancerTarget::load-balancer-eu-target",
        f"{inside}/loadBalancerService:LoadBalancerService::load-balancer-eu-http",
        f"{inside}/loadBalancerService:LoadBalancerService::load-balancer-eu-https",
        "rungway:index:LoadBalancer::load-balancer-us",
        f"{inside}/loadBalancer:LoadBalancer::load-balancer-us",
        f"{inside}/loadBalancerTarget:LoadBalancerTarget::load-balancer-us-target",
        f"{inside}/uploadedCertificate:UploadedCertificate::load-balancer-us-certificate",
        f"{inside}/loadBalancerService:LoadBalancerService::load-balancer-us-https",
    ]
    assert built.outputs == {"public_ipv4": UNKNOWN, "public_ipv6": UNKNOWN}


def test_two_side_by_side_at_digitalocean_have_these_urns() -> None:
    inside = "rungway:index:LoadBalancer$digitalocean:index"
    assert balancers(DIGITALOCEAN, {**DIGITALOCEAN, **CERTIFICATE}).urns == [
        "rungway:index:LoadBalancer::load-balancer-eu",
        f"{inside}/loadBalancer:LoadBalancer::load-balancer-eu",
        "rungway:index:LoadBalancer::load-balancer-us",
        f"{inside}/certificate:Certificate::load-balancer-us-certificate",
        f"{inside}/loadBalancer:LoadBalancer::load-balancer-us",
    ]


def test_tls_passes_through_at_hetzner_with_the_client_s_address() -> None:
    built = balancers({**HETZNER, **PRIVATE, "labels": {"app": "shop"}}, HETZNER)
    assert built.inputs("LoadBalancer", "load-balancer-eu") == {
        "name": "load-balancer-eu",
        "loadBalancerType": "lb11",
        "location": "nbg1",
        "algorithm": {"type": "round_robin"},
        "labels": {"app": "shop"},
    }
    assert built.inputs("LoadBalancerNetwork", "load-balancer-eu-private") == {
        "loadBalancerId": UNKNOWN,
        "subnetId": "10-10.0.0.0/16",
        "ip": "10.0.0.250",
    }
    assert built.inputs("LoadBalancerTarget", "load-balancer-eu-target") == {
        "type": "label_selector",
        "loadBalancerId": UNKNOWN,
        "labelSelector": "role=app,region=eu",
        "usePrivateIp": True,
    }
    assert "hcloud:index/loadBalancerNetwork:LoadBalancerNetwork::load-balancer-eu-private" in built.waits_for(
        "LoadBalancerTarget", "load-balancer-eu-target"
    )
    assert built.inputs("LoadBalancerTarget", "load-balancer-us-target")["usePrivateIp"] is False
    for service, port in (("http", 80), ("https", 443)):
        assert built.inputs("LoadBalancerService", f"load-balancer-eu-{service}") == {
            "loadBalancerId": UNKNOWN,
            "protocol": "tcp",
            "listenPort": port,
            "destinationPort": port,
            "proxyprotocol": True,
            "healthCheck": CHECK,
        }


def test_tls_ends_at_hetzner_with_a_certificate() -> None:
    built = balancers({**HETZNER, **CERTIFICATE, "http_port": 8080, "health_check_path": "/ready"}, HETZNER)
    certificate = built.inputs("UploadedCertificate", "load-balancer-eu-certificate")
    assert (certificate["certificate"], certificate["privateKey"]) == ("certificate", SECRET)
    assert built.inputs("LoadBalancerService", "load-balancer-eu-https") == {
        "loadBalancerId": UNKNOWN,
        "protocol": "https",
        "listenPort": 443,
        "destinationPort": 8080,
        "http": {"certificates": [UNKNOWN], "redirectHttp": True},
        "healthCheck": {**CHECK, "port": 8080, "http": {"path": "/ready", "statusCodes": ["200"]}},
    }


def test_tls_passes_through_at_digitalocean_with_the_client_s_address() -> None:
    inputs = balancers({**DIGITALOCEAN, "subnet_id": "vpc", "algorithm": "least_connections"}, DIGITALOCEAN).inputs(
        "LoadBalancer", "load-balancer-eu"
    )
    for key, value in {
        "name": "load-balancer-eu",
        "region": "fra1",
        "sizeUnit": 2,
        "algorithm": "least_connections",
        "vpcUuid": "vpc",
        "dropletTag": "app",
        "redirectHttpToHttps": False,
        "enableProxyProtocol": True,
        "forwardingRules": [
            {"entryPort": 80, "entryProtocol": "http", "targetPort": 80, "targetProtocol": "http"},
            {"entryPort": 443, "entryProtocol": "https", "targetPort": 443, "targetProtocol": "https", "tlsPassthrough": True},
        ],
        "healthcheck": {
            "protocol": "http",
            "port": 80,
            "path": "/health",
            "checkIntervalSeconds": 10,
            "responseTimeoutSeconds": 5,
            "unhealthyThreshold": 3,
            "healthyThreshold": 3,
        },
    }.items():
        assert inputs[key] == value, key


def test_tls_ends_at_digitalocean_with_a_certificate() -> None:
    built = balancers({**DIGITALOCEAN, **CERTIFICATE}, DIGITALOCEAN)
    certificate = built.inputs("Certificate", "load-balancer-eu-certificate")
    assert (certificate["type"], certificate["leafCertificate"], certificate["privateKey"]) == ("custom", "certificate", SECRET)
    inputs = built.inputs("LoadBalancer", "load-balancer-eu")
    assert (inputs["redirectHttpToHttps"], inputs["enableProxyProtocol"]) == (True, False)
    rule = inputs["forwardingRules"][1]
    assert (rule["entryPort"], rule["entryProtocol"], rule["targetPort"], rule["targetProtocol"]) == (443, "https", 80, "http")


@pytest.mark.parametrize("args", [HETZNER, DIGITALOCEAN])
def test_it_is_not_protected(args: dict[str, Any]) -> None:
    assert balancers(args, args).protected() == []


def test_every_problem_is_named_at_once() -> None:
    args: Any = {"provider": "hetzner", "location": "nbg1", "algorithm": "random", "private_key_pem": "key", "target_tag": "app"}
    label = "balancer (LoadBalancer)"
    assert problems(lambda: LoadBalancer("balancer", args)) == [
        f"{label}: type: found nothing; it is required",
        f"{label}: algorithm: found 'random'; allowed: least_connections, round_robin",
        f"{label}: certificate_pem: found None; allowed: both certificate_pem and private_key_pem, or neither",
        f"{label}: target_label: found None; allowed: what the servers behind it carry",
    ]
    other: Any = {**DIGITALOCEAN, "target_tag": "", "certificate_pem": "certificate"}
    assert problems(lambda: LoadBalancer("balancer", other)) == [
        f"{label}: private_key_pem: found None; allowed: both certificate_pem and private_key_pem, or neither",
        f"{label}: target_tag: found ''; allowed: what the servers behind it carry",
    ]


def test_an_unknown_provider_is_the_only_problem() -> None:
    args: Any = {"provider": "aws", "location": "eu", "type": "1"}
    assert problems(lambda: LoadBalancer("balancer", args)) == [
        "balancer (LoadBalancer): provider: found 'aws'; allowed: digitalocean, hetzner"
    ]
