"""The certificate authorities of a rehearsal."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from hosts.secrets import origin_certificate_request
from rungway.rehearsal.outside import RehearsalAuthority


def test_a_signing_request_is_answered_for_its_key_and_its_names_by_this_authority_alone() -> None:
    cloudflare = RehearsalAuthority()
    request = origin_certificate_request("a secret", ["api.example.test"])

    certificate = x509.load_pem_x509_certificate(cloudflare.answer(request).encode())

    assert certificate.public_key() == x509.load_pem_x509_csr(request.encode()).public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.example.test"]
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(cloudflare.certificate))
    with pytest.raises(InvalidSignature):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(RehearsalAuthority().certificate))


def test_what_it_signs_is_accepted_by_who_checks_strictly(tmp_path: Path) -> None:
    authority = RehearsalAuthority()
    certificate, key = authority.issue(["api.example.test"])
    (tmp_path / "server.pem").write_bytes(certificate + key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "server.pem")
    client = ssl.create_default_context(cadata=authority.certificate.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="api.example.test"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
