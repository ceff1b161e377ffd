"""Keys of the links between regions, all derived from one secret of the stack, as its certificates are.

Whoever fills in a configuration knows the secret and so every key; a server gets its own private key, its peers' public keys and the keys
that it shares with each of them, from which nothing else follows.
"""

import base64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

WIREGUARD_SECRET = "wireguard"  # noqa: S105 (a name)
"""The secret that all keys of the links are derived from."""

_KEY_BYTES = 32
"""Of a private, a public and a shared key (RFC 7748, 6.1; WireGuard's protocol, 5.2 and 5.4)."""


def private_key(stack_secret: str, server: str) -> str:
    """A server's private key in base64, as `wg genkey` writes one: with the bits set and cleared that RFC 7748 (5) names."""
    derived = bytearray(_derived(stack_secret, f"wireguard key of {server}"))
    derived[0] &= 248
    derived[31] = derived[31] & 127 | 64
    return _text(bytes(derived))


def public_key(stack_secret: str, server: str) -> str:
    """A server's public key in base64, as `wg pubkey` writes it."""
    key = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key(stack_secret, server)))
    return _text(key.public_key().public_bytes_raw())


def shared_key(stack_secret: str, one: str, other: str) -> str:
    """The key that two servers share beside their own (`PresharedKey`), in base64, the same in either order.

    Whoever records the traffic and has a quantum computer one day breaks the curve, but not this.
    """
    first, second = sorted((one, other))
    return _text(_derived(stack_secret, f"wireguard key shared by {first} and {second}"))


def _derived(secret: str, purpose: str) -> bytes:
    """HKDF (RFC 5869): keys for different purposes tell nothing about one another or about the secret."""
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=f"rungway {purpose}".encode()).derive(secret.encode())


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
