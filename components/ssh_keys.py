"""The administrators' SSH keys at a provider."""

import hashlib
from typing import NotRequired, TypedDict

import pulumi

from components.arguments import Arguments


class SshKeysArgs(TypedDict):
    """Whose keys new servers know."""

    provider: pulumi.Input[str]
    """hetzner or digitalocean."""
    public_keys: pulumi.Input[list[pulumi.Input[str]]]
    """Public keys in OpenSSH form: '<type> <body> [comment]'."""
    labels: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """Labels of the keys (Hetzner)."""


class SshKeys(pulumi.ComponentResource):
    """Registers public keys, so that a new server accepts its administrators and the provider mails no root password.

    Each key's resource is named for the key itself: adding, removing or reordering keys leaves the others alone. Servers ignore later
    changes of their keys, which reach them like any other host configuration.
    """

    ids: pulumi.Output[list[str]]
    """Ids of the keys at the provider."""

    def __init__(self, name: str, args: SshKeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rungway:index:SshKeys", name, {}, opts)
        arguments = Arguments("SshKeys", name, args, SshKeysArgs)
        provider = arguments.provider()
        digests: dict[str, str] = {}
        for index, key in enumerate(arguments.plain("public_keys", list, [])):
            words = key.split() if isinstance(key, str) else []
            if len(words) < 2:
                arguments.problem(f"public_keys[{index}]", key, "a public key in OpenSSH form, for example 'ssh-ed25519 AAAA… name'")
                continue
            digest = hashlib.sha256(words[1].encode()).hexdigest()[:8]
            if digest in digests:
                arguments.problem(f"public_keys[{index}]", key, "each key only once")
            digests[digest] = key
        arguments.check()
        # A new comment replaces the key, and a key is registered once in an account: the old one goes first.
        child = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        ids: list[pulumi.Output[str]] = []
        for digest, key in digests.items():
            if provider == "hetzner":
                from pulumi_hcloud.ssh_key import SshKey as HetznerKey

                ids.append(
                    HetznerKey(f"{name}-{digest}", name=f"{name}-{digest}", public_key=key, labels=args.get("labels"), opts=child).id
                )
            else:
                from pulumi_digitalocean.ssh_key import SshKey as DigitalOceanKey

                ids.append(DigitalOceanKey(f"{name}-{digest}", name=f"{name}-{digest}", public_key=key, opts=child).id)
        self.ids = pulumi.Output.all(*ids)
        self.register_outputs({"ids": self.ids})
