"""SSH keys: named for the key itself, so that a list can grow, shrink and be reordered."""

import hashlib
from typing import Any

import pytest

from components.ssh_keys import SshKeys
from tests.support.built import Built, build, problems
from tests.support.deployed import deploy, id_of

ADA, BOB = "ssh-ed25519 AAAAada ada@example.com", "ssh-ed25519 AAAAbob"
LABELS = {"app": "shop"}


def digest(key: str) -> str:
    return hashlib.sha256(key.split()[1].encode()).hexdigest()[:8]


def keys(name: str, provider: str, public_keys: list[str]) -> SshKeys:
    return SshKeys(name, {"provider": provider, "public_keys": public_keys, "labels": LABELS})  # type: ignore[typeddict-item]


def program(public_keys: list[str]) -> dict[str, Any]:
    return {provider: keys(f"ssh-keys-{provider}", provider, public_keys).ids for provider in ("hetzner", "digitalocean")}


def both(public_keys: list[str]) -> Built:
    return build(lambda: program(public_keys))


def test_keys_at_two_providers_have_these_urns() -> None:
    assert both([ADA, BOB]).urns == [
        "rungway:index:SshKeys::ssh-keys-hetzner",
        f"rungway:index:SshKeys$hcloud:index/sshKey:SshKey::ssh-keys-hetzner-{digest(ADA)}",
        f"rungway:index:SshKeys$hcloud:index/sshKey:SshKey::ssh-keys-hetzner-{digest(BOB)}",
        "rungway:index:SshKeys::ssh-keys-digitalocean",
        f"rungway:index:SshKeys$digitalocean:index/sshKey:SshKey::ssh-keys-digitalocean-{digest(ADA)}",
        f"rungway:index:SshKeys$digitalocean:index/sshKey:SshKey::ssh-keys-digitalocean-{digest(BOB)}",
    ]


def test_the_engine_is_told_this() -> None:
    built = both([ADA])
    hetzner, digitalocean = f"ssh-keys-hetzner-{digest(ADA)}", f"ssh-keys-digitalocean-{digest(ADA)}"

    assert built["SshKey", hetzner].inputs.items() >= {"publicKey": ADA, "labels": LABELS}.items()
    assert built["SshKey", digitalocean].inputs["publicKey"] == ADA
    # A provider registers a key once: with a new comment the old one must go first.
    assert built["SshKey", hetzner].delete_before_replace
    assert built["SshKey", digitalocean].delete_before_replace


def test_every_key_has_an_id() -> None:
    assert deploy(lambda: program([ADA, BOB])).outputs == {
        provider: [id_of("SshKey", f"ssh-keys-{provider}-{digest(key)}") for key in (ADA, BOB)] for provider in ("hetzner", "digitalocean")
    }
    assert deploy(lambda: program([])).outputs == {"hetzner": [], "digitalocean": []}


def test_order_and_comments_change_no_name() -> None:
    assert sorted(both([ADA, BOB]).urns) == sorted(both([f"{BOB} a comment", ADA]).urns)


@pytest.mark.parametrize(
    ("public_keys", "wrong"),
    [
        ([ADA, f"{ADA} again"], f"public_keys[1]: found '{ADA} again'; allowed: each key only once"),
        ([BOB, "AAAA"], "public_keys[1]: found 'AAAA'; allowed: a public key in OpenSSH form, for example 'ssh-ed25519 AAAA… name'"),
        ([7], "public_keys[0]: found 7; allowed: a public key in OpenSSH form, for example 'ssh-ed25519 AAAA… name'"),
    ],
)
def test_wrong_keys_are_named(public_keys: Any, wrong: str) -> None:
    assert problems(lambda: keys("ssh-keys-hetzner", "hetzner", public_keys)) == [f"ssh-keys-hetzner (SshKeys): {wrong}"]
