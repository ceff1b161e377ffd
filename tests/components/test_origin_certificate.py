"""Cloudflare's certificate for the servers: asked for without the key, and the same request every time."""

from typing import Any

from cryptography import x509

from components.origin_certificate import OriginCertificate
from hosts.secrets import origin_certificate_request
from rungway.facts import forces_replacement, holds_data
from rungway.model import SECRET, UNKNOWN
from tests.support.built import build, problems
from tests.support.deployed import deploy

TYPE = "cloudflare:index/originCaCertificate:OriginCaCertificate"
SECRET_TEXT = "a secret of the stack"


def _made() -> dict[str, Any]:
    return {
        "certificate": OriginCertificate(
            "origin-certificate", {"hostnames": ["api.example.com"], "authority_secret": SECRET_TEXT}
        ).certificate
    }


def test_the_request_names_the_hosts_and_the_longest_time() -> None:
    built = build(_made)
    inputs = built.inputs("OriginCaCertificate", "origin-certificate")

    assert {key: value for key, value in inputs.items() if key != "csr"} == {
        "hostnames": ["api.example.com"],
        "requestType": "origin-ecc",
        "requestedValidity": 5475,
    }
    assert inputs["csr"] not in (SECRET, UNKNOWN)
    assert x509.load_pem_x509_csr(inputs["csr"].encode()).is_signature_valid
    assert SECRET_TEXT not in repr(built.resources)
    assert "PRIVATE KEY" not in repr(built.resources)


def test_the_request_is_the_one_that_the_servers_key_answers() -> None:
    deployed = deploy(_made, {"OriginCaCertificate": {"certificate": "PEM"}})

    asked = deployed.inputs["OriginCaCertificate", "origin-certificate"]["csr"]
    assert asked == origin_certificate_request(SECRET_TEXT, ["api.example.com"])
    assert deployed.outputs == {"certificate": "PEM"}


def test_another_name_is_another_certificate_and_no_loss_of_data() -> None:
    for key in ("csr", "hostnames", "requestType", "requestedValidity"):
        assert forces_replacement(TYPE, key)
    assert not holds_data(TYPE)


def test_a_certificate_without_a_name_is_refused() -> None:
    (problem,) = problems(lambda: OriginCertificate("origin-certificate", {"hostnames": [], "authority_secret": SECRET_TEXT}))

    assert problem == "origin-certificate (OriginCertificate): hostnames: found []; allowed: at least one host name"
