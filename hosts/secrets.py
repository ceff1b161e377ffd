"""Fills in what a rendered configuration leaves open: passwords, addresses, keys, and the certificates of the stack's own authority.

A stack has one authority for the connections between its own servers. Its key, and the key of each server, are derived from one
secret of the stack, so that nothing but this secret has to be kept, and the same secret gives the same files every time: a second
convergence finds nothing to change. Another secret is another authority.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hosts.configuration import PLACEHOLDER, HostConfiguration
from hosts.wireguard_keys import WIREGUARD_SECRET, private_key, public_key, shared_key

AUTHORITY_SECRET = "certificate-authority"  # noqa: S105 (a name)
"""The secret that the authority and all server keys are derived from."""

ORIGIN_CERTIFICATE = "origin-certificate"
"""What is given like a secret, though it is none: Cloudflare's answer to `origin_certificate_request`, in PEM."""

_VALID_FROM = datetime(2026, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(2046, 1, 1, tzinfo=UTC)
"""Fixed, so that the same secret gives the same certificate. Only the stack trusts its authority, which ends with its secret."""

T = TypeVar("T")


class MissingValueError(ValueError):
    """Placeholders that nothing fills in; the text names them all."""


def needed_secrets(configuration: HostConfiguration) -> frozenset[str]:
    """The names of the secrets that must be given to `fill_in`."""
    placeholders = _placeholders(configuration)
    found = {name for kind, name in placeholders if kind == "secret"}
    if any(kind == "tls" for kind, _ in placeholders):
        found.add(AUTHORITY_SECRET)
    if any(kind.startswith("wireguard") for kind, _ in placeholders):
        found.add(WIREGUARD_SECRET)
    if ("tls", "origin-certificate") in placeholders:
        found.add(ORIGIN_CERTIFICATE)
    return frozenset(found)


def fill_in(
    configuration: HostConfiguration,
    *,
    secrets: Mapping[str, str],
    addresses: Mapping[str, str],
    public_addresses: Mapping[str, str] = MappingProxyType({}),
) -> HostConfiguration:
    """The configuration with every placeholder replaced.

    `secrets` are by name; `addresses` are private addresses by server, needed for those that the provider assigns; `public_addresses` are
    IPv6 addresses by server, needed for those of other regions.

    Raises:
        MissingValueError: a secret or an address is not given.
    """
    values: dict[tuple[str, str], str] = {("secret", name): value for name, value in secrets.items()}
    values |= {("address", name): value for name, value in addresses.items()}
    values |= {("public", name): value for name, value in public_addresses.items()}
    if WIREGUARD_SECRET in secrets:
        values |= _wireguard_keys(configuration, secrets[WIREGUARD_SECRET])
    if any(kind == "tls" for kind, _ in _placeholders(configuration)) and AUTHORITY_SECRET in secrets:
        address = configuration.private_address or addresses.get(configuration.name)
        texts = server_certificate(secrets[AUTHORITY_SECRET], configuration.name, address)
        values |= {("tls", name): text for name, text in texts.items()}
        values["tls", "origin-key"] = _private(_origin_key(secrets[AUTHORITY_SECRET]))
    if ORIGIN_CERTIFICATE in secrets:
        values["tls", "origin-certificate"] = secrets[ORIGIN_CERTIFICATE].strip() + "\n"
    missing = sorted({f"{kind} {name}" for kind, name in _placeholders(configuration)} - {f"{kind} {name}" for kind, name in values})
    if missing:
        raise MissingValueError(f"{configuration.name}: not given: {', '.join(missing)}")
    return _replaced(configuration, values)


def _wireguard_keys(configuration: HostConfiguration, stack_secret: str) -> dict[tuple[str, str], str]:
    """The keys that the configuration names, and no others."""
    own = configuration.name
    known: dict[str, Callable[[str], str]] = {
        "wireguard": lambda _: private_key(stack_secret, own),
        "wireguard-public": lambda name: public_key(stack_secret, name),
        "wireguard-shared": lambda name: shared_key(stack_secret, own, name),
    }
    return {(kind, name): known[kind](name) for kind, name in _placeholders(configuration) if kind in known}


def server_certificate(authority_secret: str, server: str, address: str | None) -> dict[str, str]:
    """PEM texts of one server: 'authority', 'certificate' and 'key'. The certificate names the server, its address and localhost."""
    authority_key = _derived_key(authority_secret, "authority")
    key = _derived_key(authority_secret, f"server {server}")
    addresses = [ipaddress.ip_address("127.0.0.1"), *([ipaddress.ip_address(address)] if address else [])]
    names = [x509.DNSName(server), x509.DNSName("localhost"), *(x509.IPAddress(known) for known in addresses)]
    issuer = _name("Rungway stack authority")
    authority = (
        _builder(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    certificate = (
        _builder(_name(server), issuer, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return {"authority": _pem(authority), "certificate": _pem(certificate), "key": _private(key)}


def origin_certificate_request(authority_secret: str, hostnames: Sequence[str]) -> str:
    """A certificate signing request (PKCS #10, PEM) for public names, which all application servers answer with the same key.

    The same every time: a request that differed would be answered with another certificate in each run.
    """
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in hostnames])
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(hostnames[0])).add_extension(names, critical=False)
    signed = builder.sign(_origin_key(authority_secret), hashes.SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _origin_key(authority_secret: str) -> ec.EllipticCurvePrivateKey:
    return _derived_key(authority_secret, "origin")


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _derived_key(secret: str, purpose: str) -> ec.EllipticCurvePrivateKey:
    """HKDF (RFC 5869): keys for different purposes tell nothing about one another or about the secret.

    P-256, and signatures without chance (RFC 6979). PostgreSQL's clients bind the password's exchange to the certificate by the hash
    of its signature (RFC 5929), which Ed25519 has none of: libpq 17 refuses it.
    """
    derived = HKDF(algorithm=hashes.SHA256(), length=48, salt=None, info=f"rungway {purpose}".encode()).derive(secret.encode())
    # 48 bytes for a number below 2**256: every key is as likely as any other (FIPS 186-5, A.2.1).
    return ec.derive_private_key(int.from_bytes(derived, "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())


_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group of P-256 (FIPS 186-5; SP 800-186, 3.2.1.3)."""


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(identifier.digest[:16], "big"))
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .add_extension(identifier, critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority signs certificates and revocation lists, others prove who they are (RFC 5280, 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _placeholders(value: Any) -> set[tuple[str, str]]:
    """Those in all texts inside `value`."""
    if isinstance(value, str):
        return {(kind, name) for kind, name in PLACEHOLDER.findall(value)}
    if isinstance(value, tuple):
        return set().union(*(_placeholders(item) for item in value))
    if dataclasses.is_dataclass(value):
        return set().union(*(_placeholders(getattr(value, field.name)) for field in dataclasses.fields(value)))
    return set()


def _replaced(value: T, values: Mapping[tuple[str, str], str]) -> T:
    """`value` with the placeholders in all its texts replaced."""

    def text_of(match: re.Match[str]) -> str:
        return values[match[1], match[2]]

    replaced: Any = value
    if isinstance(value, str):
        replaced = PLACEHOLDER.sub(text_of, value)
    elif isinstance(value, tuple):
        replaced = tuple(_replaced(item, values) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: _replaced(getattr(value, field.name), values) for field in dataclasses.fields(value)}
        replaced = dataclasses.replace(value, **changes)
    return replaced  # type: ignore[no-any-return]
