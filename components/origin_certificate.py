"""The certificate that Cloudflare gives a stack's servers, so that its strict mode trusts them."""

from typing import TypedDict

import pulumi

from components.arguments import Arguments

VALID_DAYS = 5475
"""The longest that Cloudflare offers, 15 years (developers.cloudflare.com/ssl/origin-configuration/origin-ca, seen 2026-11-21)."""


class OriginCertificateArgs(TypedDict):
    """Which names the certificate is for, and what its key comes from."""

    hostnames: pulumi.Input[list[pulumi.Input[str]]]
    """Host names in zones of the account. Frozen like all of this: a change makes a new certificate, and then revokes the old one."""
    authority_secret: pulumi.Input[str]
    """The stack's secret that every key is derived from, this one's too. Secret."""


class OriginCertificate(pulumi.ComponentResource):
    """A certificate by Cloudflare's Origin CA, for a key that only the servers and who has the stack's secret can make.

    Cloudflare sees a signing request and the state holds no private key. Only Cloudflare trusts the certificate: the names must be
    proxied. The API token needs SSL and Certificates: Edit for the zone.
    """

    certificate: pulumi.Output[str]
    """The certificate, in PEM."""

    def __init__(self, name: str, args: OriginCertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:OriginCertificate", name, {}, opts)
        arguments = Arguments("OriginCertificate", name, args, OriginCertificateArgs)
        if args.get("hostnames") == []:
            arguments.problem("hostnames", [], "at least one host name")
        arguments.check()
        from pulumi_cloudflare.origin_ca_certificate import OriginCaCertificate

        from hosts.secrets import origin_certificate_request

        hostnames = pulumi.Output.from_input(args["hostnames"])
        request = pulumi.Output.all(hostnames, pulumi.Output.secret(args["authority_secret"])).apply(
            lambda known: origin_certificate_request(known[1], known[0])
        )
        made = OriginCaCertificate(
            name,
            # It is made with the secret and tells nothing of it.
            csr=pulumi.Output.unsecret(request),
            hostnames=hostnames,
            request_type="origin-ecc",
            requested_validity=VALID_DAYS,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.certificate = made.certificate
        self.register_outputs({"certificate": self.certificate})
