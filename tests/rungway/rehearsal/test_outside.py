"""The certificate authorities of a rehearsal."""

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
