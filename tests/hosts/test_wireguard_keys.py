"""Keys of the links: the same from the same secret, as WireGuard makes them, and each pair's own."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from hosts.wireguard_keys import private_key, public_key, shared_key
from tests.support.debian_root import DebianRoot

SERVERS = ("app-eu-1", "app-eu-2", "app-us-1")


def test_the_same_secret_gives_each_server_the_same_key_of_its_own() -> None:
    assert [private_key("one", server) for server in SERVERS] == [private_key("one", server) for server in SERVERS]
    assert len({private_key(secret, server) for secret in ("one", "two") for server in SERVERS}) == 6


@pytest.mark.parametrize("server", SERVERS)
def test_private_keys_have_the_bits_that_the_curve_asks_for(server: str) -> None:
    """RFC 7748, 5: a multiple of eight between 2**254 and 2**255."""
    number = int.from_bytes(base64.b64decode(private_key("one", server)), "little")

    assert number % 8 == 0
    assert 2**254 <= number < 2**255


def test_two_servers_come_to_the_same_secret() -> None:
    def agreed(own: str, other: str) -> bytes:
        public = X25519PublicKey.from_public_bytes(base64.b64decode(public_key("one", other)))
        return X25519PrivateKey.from_private_bytes(base64.b64decode(private_key("one", own))).exchange(public)

    assert agreed("app-eu-1", "app-us-1") == agreed("app-us-1", "app-eu-1")


def test_a_key_is_shared_by_two_servers_alone() -> None:
    assert shared_key("one", "app-eu-1", "app-us-1") == shared_key("one", "app-us-1", "app-eu-1")
    keys = [shared_key(secret, "app-us-1", other) for secret in ("one", "two") for other in ("app-eu-1", "app-eu-2")]
    assert len({*keys, private_key("one", "app-us-1")}) == 5
    assert len(base64.b64decode(keys[0])) == 32


def test_wireguard_derives_the_same_public_key(debian_root: DebianRoot) -> None:
    answer = debian_root.try_script([], "; ".join(f"echo {private_key('one', server)} | wg pubkey" for server in SERVERS))

    assert answer.said.split() == [public_key("one", server) for server in SERVERS]
