"""Diffie-Hellman in the MODP groups of RFC 3526: safe primes with generator 2."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.utils import CryptographyDeprecationWarning

from vcstack.crypto.errors import CryptoError

with warnings.catch_warnings():
    # The library announces that finite-field groups will go; peers of this service still offer group 14.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHPrivateNumbers,
        DHPublicNumbers,
    )

_GENERATOR = 2


@dataclass(frozen=True, slots=True)
class ModpGroup:
    """A group; `exponent_bits` is at least twice its strength (RFC 3526 section 8, upper estimate)."""

    prime: int
    exponent_bits: int

    @property
    def public_length(self) -> int:
        """Size of a public value and of a shared secret: that of the prime (RFC 7296 sections 2.14, 3.4)."""
        return self.prime.bit_length() // 8

    def generate(self, entropy: Callable[[int], bytes]) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Make a key: its public value, and the function from a peer's public value to the shared secret."""
        # The highest bit is always set: every exponent has the full length.
        top = 1 << (self.exponent_bits - 1)
        return self.key(int.from_bytes(entropy(self.exponent_bits // 8)) | top)

    def key(self, exponent: int) -> tuple[bytes, Callable[[bytes], bytes]]:
        """Return what `generate` does, for a given exponent."""
        # The exchange uses the exponent alone. With the generator as the peer's value it yields
        # our public value, by the library's constant-time exponentiation.
        numbers = DHParameterNumbers(self.prime, _GENERATOR, (self.prime - 1) // 2)
        key = DHPrivateNumbers(exponent, DHPublicNumbers(_GENERATOR, numbers)).private_key()

        def power(base: int) -> bytes:
            return key.exchange(DHPublicNumbers(base, numbers).public_key())

        return power(_GENERATOR), lambda peer_public: power(self._checked(peer_public))

    def _checked(self, peer_public: bytes) -> int:
        value = int.from_bytes(peer_public)
        if not 1 < value < self.prime - 1:
            # RFC 6989 2.1: the only test that a safe-prime group needs.
            raise CryptoError("Diffie-Hellman public value outside 2 to p-2")
        return value


def _prime(hexadecimal: str) -> int:
    return int("".join(hexadecimal.split()), 16)


# RFC 3526 sections 3, 4 and 5.
MODP_2048 = _prime(
    """
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74
    020BBEA6 3B139B22 514A0879 8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437
    4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05
    98DA4836 1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB
    9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718
    3995497C EA956AE5 15D22618 98FA0510 15728E5A 8AACAA68 FFFFFFFF FFFFFFFF
    """
)
MODP_3072 = _prime(
    """
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74
    020BBEA6 3B139B22 514A0879 8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437
    4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05
    98DA4836 1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB
    9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718
    3995497C EA956AE5 15D22618 98FA0510 15728E5A 8AAAC42D AD33170D 04507A33
    A85521AB DF1CBA64 ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
    ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B F12FFA06 D98A0864
    D8760273 3EC86A64 521F2B18 177B200C BBE11757 7A615D6C 770988C0 BAD946E2
    08E24FA0 74E5AB31 43DB5BFC E0FD108E 4B82D120 A93AD2CA FFFFFFFF FFFFFFFF
    """
)
MODP_4096 = _prime(
    """
    FFFFFFFF FFFFFFFF C90FDAA2 2168C234 C4C6628B 80DC1CD1 29024E08 8A67CC74
    020BBEA6 3B139B22 514A0879 8E3404DD EF9519B3 CD3A431B 302B0A6D F25F1437
    4FE1356D 6D51C245 E485B576 625E7EC6 F44C42E9 A637ED6B 0BFF5CB6 F406B7ED
    EE386BFB 5A899FA5 AE9F2411 7C4B1FE6 49286651 ECE45B3D C2007CB8 A163BF05
    98DA4836 1C55D39A 69163FA8 FD24CF5F 83655D23 DCA3AD96 1C62F356 208552BB
    9ED52907 7096966D 670C354E 4ABC9804 F1746C08 CA18217C 32905E46 2E36CE3B
    E39E772C 180E8603 9B2783A2 EC07A28F B5C55DF0 6F4C52C9 DE2BCBF6 95581718
    3995497C EA956AE5 15D22618 98FA0510 15728E5A 8AAAC42D AD33170D 04507A33
    A85521AB DF1CBA64 ECFB8504 58DBEF0A 8AEA7157 5D060C7D B3970F85 A6E1E4C7
    ABF5AE8C DB0933D7 1E8C94E0 4A25619D CEE3D226 1AD2EE6B F12FFA06 D98A0864
    D8760273 3EC86A64 521F2B18 177B200C BBE11757 7A615D6C 770988C0 BAD946E2
    08E24FA0 74E5AB31 43DB5BFC E0FD108E 4B82D120 A9210801 1A723C12 A787E6D7
    88719A10 BDBA5B26 99C32718 6AF4E23C 1A946834 B6150BDA 2583E9CA 2AD44CE8
    DBBBC2DB 04DE8EF9 2E8EFC14 1FBECAA6 287C5947 4E6BC05D 99B2964F A090C3A2
    233BA186 515BE7ED 1F612970 CEE2D7AF B81BDD76 2170481C D0069127 D5B05AA9
    93B4EA98 8D8FDDC1 86FFB7DC 90A6C08F 4DF435C9 34063199 FFFFFFFF FFFFFFFF
    """
)

GROUP_14 = ModpGroup(MODP_2048, exponent_bits=320)
GROUP_15 = ModpGroup(MODP_3072, exponent_bits=424)
GROUP_16 = ModpGroup(MODP_4096, exponent_bits=480)
