"""What a rendered configuration leaves open is filled in everywhere, and the stack's certificates hold what they promise."""

import ipaddress
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hosts.configuration import Account, Directory, HostConfiguration, HostFile, Service, Task, secret
from hosts.secrets import AUTHORITY_SECRET, MissingValueError, fill_in, needed_secrets, server_certificate

OPEN = secret("redis")
FILLED = "k3y"
SECRET = "secret-of-the-stack"
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def configuration(*services: Service) -> HostConfiguration:
    return HostConfiguration(name="redis-eu-1", private_address="10.0.3.10", services=services)


@pytest.mark.parametrize(
    ("open_", "filled"),
    [
        ({"packages": (f"a-{OPEN}",)}, {"packages": (f"a-{FILLED}",)}),
        ({"accounts": (Account(name="a", home=f"/{OPEN}"),)}, {"accounts": (Account(name="a", home=f"/{FILLED}"),)}),
        ({"accounts": (Account(name="a", groups=("b", OPEN)),)}, {"accounts": (Account(name="a", groups=("b", FILLED)),)}),
        ({"directories": (Directory(path=f"/{OPEN}"),)}, {"directories": (Directory(path=f"/{FILLED}"),)}),
        ({"files": (HostFile(path="/f", content=f"a {OPEN} {OPEN}"),)}, {"files": (HostFile(path="/f", content=f"a {FILLED} {FILLED}"),)}),
        ({"files": (HostFile(path=f"/{OPEN}", content=""),)}, {"files": (HostFile(path=f"/{FILLED}", content=""),)}),
        ({"absent": (f"/{OPEN}",)}, {"absent": (f"/{FILLED}",)}),
        ({"checks": (f"test {OPEN}",)}, {"checks": (f"test {FILLED}",)}),
        ({"before": (Task(name="t", unless=OPEN, script="b"),)}, {"before": (Task(name="t", unless=FILLED, script="b"),)}),
        ({"after": (Task(name="t", unless="a", script=OPEN),)}, {"after": (Task(name="t", unless="a", script=FILLED),)}),
        ({"units": (f"{OPEN}.service",)}, {"units": (f"{FILLED}.service",)}),
        ({"masked": (f"{OPEN}.service",)}, {"masked": (f"{FILLED}.service",)}),
        ({"probe": f"ping {OPEN}"}, {"probe": f"ping {FILLED}"}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_placeholders_are_found_and_filled_in_wherever_they_are(open_: dict[str, Any], filled: dict[str, Any]) -> None:
    rendered = configuration(Service(name="redis", **open_))

    assert needed_secrets(rendered) == {"redis"}
    assert fill_in(rendered, secrets={"redis": FILLED}, addresses={}) == configuration(Service(name="redis", **filled))


def test_everything_that_is_missing_is_said_at_once() -> None:
    files = (HostFile(path="/a", content=f"{secret('one')} ${{address:app-eu-1}}"), HostFile(path="/b", content="${tls:key}"))
    rendered = configuration(Service(name="a", files=files), Service(name="b", probe=secret("two")))

    with pytest.raises(MissingValueError, match=r"^redis-eu-1: not given: address app-eu-1, secret two, tls key$"):
        fill_in(rendered, secrets={"one": "1"}, addresses={})


def test_a_value_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    rendered = configuration(Service(name="a", probe=secret("one")))

    assert fill_in(rendered, secrets={"one": secret("two")}, addresses={}).services[0].probe == secret("two")


def test_certificates_need_the_secret_of_the_authority() -> None:
    rendered = configuration(Service(name="tls", files=(HostFile(path="/a", content="${tls:authority}"),)))

    assert needed_secrets(rendered) == {AUTHORITY_SECRET}
    filled = fill_in(rendered, secrets={AUTHORITY_SECRET: SECRET}, addresses={})
    assert filled.files[0].content == server_certificate(SECRET, "redis-eu-1", "10.0.3.10")["authority"]


def test_a_certificate_names_the_address_that_the_provider_assigned() -> None:
    rendered = HostConfiguration(
        name="redis-eu-1",
        private_address=None,
        services=(Service(name="tls", files=(HostFile(path="/a", content="${tls:certificate}"),)),),
    )

    filled = fill_in(rendered, secrets={AUTHORITY_SECRET: SECRET}, addresses={"redis-eu-1": "10.0.3.77"})
    certificate = x509.load_pem_x509_certificate(filled.files[0].content.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("10.0.3.77") in names.get_values_for_type(x509.IPAddress)


def test_the_same_secret_gives_the_same_files_and_another_one_other_files() -> None:
    first = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")

    assert server_certificate(SECRET, "redis-eu-1", "10.0.3.10") == first
    other = server_certificate("another secret", "redis-eu-1", "10.0.3.10")
    assert all(other[name] != first[name] for name in first)
    neighbour = server_certificate(SECRET, "redis-eu-2", "10.0.3.11")
    assert neighbour["authority"] == first["authority"]
    assert neighbour["key"] != first["key"]


def _verify(certificate: str, authority: str, name: str) -> None:
    """As a client would that expects `name`: a host name or an address.

    Raises:
        VerificationError: a client would refuse it.
    """
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    store = Store([x509.load_pem_x509_certificate(authority.encode())])
    assert isinstance(subject, x509.DNSName | x509.IPAddress)
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(subject)
    verifier.verify(x509.load_pem_x509_certificate(certificate.encode()), [])


@pytest.mark.parametrize("name", ["redis-eu-1", "localhost", "127.0.0.1", "10.0.3.10"])
def test_a_client_accepts_every_name_of_the_server(name: str) -> None:
    texts = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")

    _verify(texts["certificate"], texts["authority"], name)


@pytest.mark.parametrize("name", ["redis-eu-2", "10.0.3.11"])
def test_a_client_refuses_another_server(name: str) -> None:
    texts = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")

    with pytest.raises(VerificationError):
        _verify(texts["certificate"], texts["authority"], name)


def test_a_client_refuses_another_stack() -> None:
    texts = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")

    with pytest.raises(VerificationError):
        _verify(texts["certificate"], server_certificate("another secret", "redis-eu-1", "10.0.3.10")["authority"], "redis-eu-1")


def test_a_server_cannot_issue_certificates() -> None:
    texts = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")
    certificate = x509.load_pem_x509_certificate(texts["certificate"].encode())

    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_the_key_belongs_to_the_certificate_which_serves_both_sides_of_a_connection() -> None:
    texts = server_certificate(SECRET, "redis-eu-1", "10.0.3.10")
    certificate = x509.load_pem_x509_certificate(texts["certificate"].encode())
    key = serialization.load_pem_private_key(texts["key"].encode(), password=None)

    assert key.public_key() == certificate.public_key()
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
