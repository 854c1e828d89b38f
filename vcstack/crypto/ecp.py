"""Diffie-Hellman on the NIST curves (RFC 5903) and on Curve25519 (RFC 8031)."""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vcstack.crypto.errors import CryptoError

_UNCOMPRESSED = b"\x04"
_EXTRA_ENTROPY = 8


@dataclass(frozen=True, slots=True)
class EcpGroup:
    """A curve over a prime field. A public value is x | y, a shared secret x (RFC 5903 section 7)."""

    curve: ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    coordinate_length: int

    @property
    def public_length(self) -> int:
        """Size of a public value: two coordinates."""
        return 2 * self.coordinate_length

    def generate(self, entropy: Callable[[int], bytes]) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Make a key: its public value, and the function from a peer's public value to the shared secret."""
        # FIPS 186-5 A.2.1: with 64 bits more than the order has, the remainder shows no bias.
        scalar = int.from_bytes(entropy(self.coordinate_length + _EXTRA_ENTROPY))
        return self.key(scalar % (self.curve.group_order - 1) + 1)

    def key(self, scalar: int) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Return what `generate` does, for a given scalar between 1 and the order of the curve."""
        key = ec.derive_private_key(scalar, self.curve)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

        def exchange(peer_public: bytes) -> bytes:
            return key.exchange(ec.ECDH(), self._checked(peer_public))

        return point[1:], exchange

    def _checked(self, peer_public: bytes) -> ec.EllipticCurvePublicKey:
        try:
            # RFC 6989 2.3: the library refuses coordinates beyond the prime and points off the curve.
            return ec.EllipticCurvePublicKey.from_encoded_point(self.curve, _UNCOMPRESSED + peer_public)
        except ValueError:
            raise CryptoError(f"Diffie-Hellman public value is not a point of {self.curve.name}") from None


class Curve25519Group:
    """X25519: 32 bytes of everything (RFC 8031 section 3)."""

    public_length = 32

    def generate(self, entropy: Callable[[int], bytes]) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Make a key: its public value, and the function from a peer's public value to the shared secret."""
        key = X25519PrivateKey.from_private_bytes(entropy(self.public_length))

        def exchange(peer_public: bytes) -> bytes:
            try:
                return key.exchange(X25519PublicKey.from_public_bytes(peer_public))
            except ValueError:
                # RFC 8031 section 3.2, RFC 7748 section 6.1: a point of small order gives all zeros.
                raise CryptoError("Diffie-Hellman shared secret is all zero") from None

        return key.public_key().public_bytes_raw(), exchange


GROUP_19 = EcpGroup(ec.SECP256R1(), coordinate_length=32)
GROUP_20 = EcpGroup(ec.SECP384R1(), coordinate_length=48)
GROUP_21 = EcpGroup(ec.SECP521R1(), coordinate_length=66)
GROUP_31 = Curve25519Group()
