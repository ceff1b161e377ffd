"""What fills in a rendered configuration: found wherever it stands, complete or refused, and the same every time."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from hosts.configuration import Directory, HostConfiguration, HostFile, Service, Task, secret
from hosts.secrets import (
    AUTHORITY_SECRET,
    ORIGIN_CERTIFICATE,
    MissingValueError,
    fill_in,
    needed_secrets,
    origin_certificate_request,
    server_certificate,
)

ANYWHERE = HostConfiguration(
    name="database-eu-1",
    private_address="10.0.2.10",
    services=(
        Service(
            name="one",
            directories=(Directory(path="/srv"),),
            files=(HostFile(path="/a", content=f"x {secret('first')} y"), HostFile(path="/key", content="${tls:key}")),
            checks=(f"check {secret('second')}",),
            before=(Task(name="t", unless=f"test {secret('third')}", script="true"),),
            probe="ping ${address:app-eu-1}",
            after=(Task(name="t", unless="false", script=f"do {secret('fourth')}"),),
        ),
    ),
)
NAMES = ("first", "second", "third", "fourth")
SECRETS = {name: f"value-of-{name}" for name in (*NAMES, AUTHORITY_SECRET)}


def test_secrets_are_found_wherever_they_stand() -> None:
    assert needed_secrets(ANYWHERE) == {*NAMES, AUTHORITY_SECRET}


def test_a_configuration_without_certificates_needs_no_authority() -> None:
    plain = HostConfiguration(name="a", private_address=None, services=(Service(name="one", probe=secret("first")),))

    assert needed_secrets(plain) == {"first"}


def test_everything_is_filled_in() -> None:
    (service,) = fill_in(ANYWHERE, secrets=SECRETS, addresses={"app-eu-1": "10.0.1.10"}).services

    assert service.files[0].content == "x value-of-first y"
    assert service.checks == ("check value-of-second",)
    assert service.before[0].unless == "test value-of-third"
    assert service.probe == "ping 10.0.1.10"
    assert service.after[0].script == "do value-of-fourth"
    assert service.files[1].content.startswith("-----BEGIN PRIVATE KEY-----\n")
    assert service.directories == (Directory(path="/srv"),)


def test_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(MissingValueError) as caught:
        fill_in(ANYWHERE, secrets={"second": "s"}, addresses={})

    assert str(caught.value) == "database-eu-1: not given: address app-eu-1, secret first, secret fourth, secret third, tls key"


def test_a_file_with_a_secret_or_the_key_is_secret_and_one_with_a_certificate_is_not() -> None:
    texts = {
        secret("a"): True,
        "${tls:key}": True,
        "${tls:origin-key}": True,
        "${tls:origin-certificate}": False,
        "${tls:certificate}": False,
        "${tls:authority}": False,
        "${address:a}": False,
        "": False,
    }

    assert {text: HostFile(path="/f", content=text).is_secret for text in texts} == texts


def test_the_same_secret_gives_the_same_files_and_another_one_others() -> None:
    assert server_certificate("one", "a", "10.0.0.1") == server_certificate("one", "a", "10.0.0.1")
    assert server_certificate("one", "a", "10.0.0.1")["key"] != server_certificate("two", "a", "10.0.0.1")["key"]
    assert server_certificate("one", "a", None)["key"] != server_certificate("one", "b", None)["key"]
    assert server_certificate("one", "a", None)["authority"] == server_certificate("one", "b", None)["authority"]


def test_openssl_trusts_a_server_of_the_stack_and_no_other(tmp_path: Path) -> None:
    ours, theirs = server_certificate("one", "database-eu-1", "10.0.2.10"), server_certificate("two", "database-eu-1", "10.0.2.10")
    for name, text in {"authority": ours["authority"], "ours": ours["certificate"], "theirs": theirs["certificate"]}.items():
        (tmp_path / name).write_text(text)

    def verify(name: str, *options: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(tmp_path / "authority"), *options]
        return subprocess.run([*command, str(tmp_path / name)], capture_output=True, check=False).returncode == 0

    for names in (("-verify_hostname", "database-eu-1"), ("-verify_ip", "10.0.2.10"), ("-verify_ip", "127.0.0.1")):
        assert verify("ours", *names)
        assert not verify("theirs", *names)
    assert not verify("ours", "-verify_hostname", "database-eu-2")


def test_clients_verify_the_chain_as_browsers_do() -> None:
    """The strictest reading of RFC 5280 that the library has."""
    texts = server_certificate("one", "database-eu-1", "10.0.2.10")
    authority, certificate = (x509.load_pem_x509_certificate(texts[name].encode()) for name in ("authority", "certificate"))
    builder = PolicyBuilder().store(Store([authority]))

    assert builder.build_server_verifier(x509.DNSName("database-eu-1")).verify(certificate, [])
    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("another")).verify(certificate, [])


def test_keys_are_on_the_curve_that_libpq_can_bind_a_password_to() -> None:
    certificate = x509.load_pem_x509_certificate(server_certificate("one", "a", None)["certificate"].encode())

    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"


def test_the_request_for_the_public_names_is_the_same_every_time_and_signed_by_a_key_of_its_own() -> None:
    written = origin_certificate_request("one", ["api.example.com", "www.example.com"])
    request = x509.load_pem_x509_csr(written.encode())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert written == origin_certificate_request("one", ["api.example.com", "www.example.com"])
    assert written != origin_certificate_request("two", ["api.example.com", "www.example.com"])
    assert names.get_values_for_type(x509.DNSName) == ["api.example.com", "www.example.com"]
    assert request.is_signature_valid
    keys = {_public(server_certificate("one", "a", None)["key"]), _public(_with_origin_certificate("one")["/key"])}
    assert len(keys) == 2
    assert _pem_of(request) in keys


def test_the_certificate_that_cloudflare_signed_is_given_and_not_made() -> None:
    assert needed_secrets(_WITH_ORIGIN) == {AUTHORITY_SECRET, ORIGIN_CERTIFICATE}
    assert _with_origin_certificate("one")["/certificate"] == "PEM\n"
    with pytest.raises(MissingValueError, match=r"tls origin-certificate$"):
        fill_in(_WITH_ORIGIN, secrets={AUTHORITY_SECRET: "one"}, addresses={})


_WITH_ORIGIN = HostConfiguration(
    name="a",
    private_address=None,
    services=(
        Service(
            name="one",
            files=(
                HostFile(path="/certificate", content="${tls:origin-certificate}"),
                HostFile(path="/key", content="${tls:origin-key}"),
            ),
        ),
    ),
)


def _with_origin_certificate(authority_secret: str) -> dict[str, str]:
    given = {AUTHORITY_SECRET: authority_secret, ORIGIN_CERTIFICATE: "PEM"}
    return {file.path: file.content for file in fill_in(_WITH_ORIGIN, secrets=given, addresses={}).files}


def _public(private: str) -> bytes:
    key = serialization.load_pem_private_key(private.encode(), None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem_of(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
