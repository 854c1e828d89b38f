"""Diffie-Hellman key exchange in the groups of the IKEv2 registry.

A private key comes from the caller's entropy and serves one exchange, so none of
the tests that RFC 6989 section 2 asks for reused keys is left out by leaving it there.
"""

from collections.abc import Callable
from typing import Protocol

from vcstack.crypto.ecp import GROUP_19, GROUP_20, GROUP_21, GROUP_31
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.modp import GROUP_14, GROUP_15, GROUP_16
from vcstack.wire.secret import Secret

Entropy = Callable[[int], bytes]


class Group(Protocol):
    """What the kinds of groups have in common."""

    @property
    def public_length(self) -> int:
        """Size of a public value on the wire, in bytes."""

    def generate(self, entropy: Entropy) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Make a key: its public value, and the function from a peer's public value to the shared secret."""


# Transform Type 4 numbers (IANA ikev2-parameters).
GROUPS: dict[int, Group] = {
    14: GROUP_14,
    15: GROUP_15,
    16: GROUP_16,
    19: GROUP_19,
    20: GROUP_20,
    21: GROUP_21,
    31: GROUP_31,
}


class PrivateKey:
    """Our half of one exchange; `public` is what the KE payload carries (RFC 7296 section 3.4)."""

    __slots__ = ("_exchange", "_length", "group", "public")

    def __init__(self, group: int, entropy: Entropy) -> None:
        self.group = group
        self._length = GROUPS[group].public_length
        self.public, self._exchange = GROUPS[group].generate(entropy)

    def shared_secret(self, peer_public: bytes) -> Secret:
        """Return g^ir; CryptoError when the peer's value has the wrong length or fails RFC 6989's tests."""
        if len(peer_public) != self._length:
            sizes = f"{len(peer_public)} bytes, group {self.group} has {self._length}"
            raise CryptoError(f"Diffie-Hellman public value of {sizes}")
        return Secret(self._exchange(peer_public))


def is_supported(group: int) -> bool:
    """Whether `generate` knows the group of that number."""
    return group in GROUPS


def generate(group: int, entropy: Entropy) -> PrivateKey:
    """Make a fresh key in a group; KeyError when it is not supported."""
    return PrivateKey(group, entropy)
