"""The pseudo-random functions of IKEv2: PRF_HMAC_SHA2_* (RFC 4868) and prf+ (RFC 7296 section 2.13)."""

import hmac
from dataclasses import dataclass

_MAXIMUM_BLOCKS = 255


@dataclass(frozen=True, slots=True)
class Prf:
    """One function; `output_length` in bytes is also its preferred key size (RFC 4868 section 2.1.2)."""

    name: str
    hash_name: str
    output_length: int

    def __call__(self, key: bytes, data: bytes) -> bytes:
        """prf(key, data): `output_length` bytes; HMAC takes a key of any length."""
        return hmac.digest(key, data, self.hash_name)

    def plus(self, key: bytes, seed: bytes, length: int) -> bytes:
        """First `length` bytes of prf+(key, seed); ValueError beyond 255 blocks (RFC 7296 section 2.13)."""
        blocks = -(-length // self.output_length)
        if blocks > _MAXIMUM_BLOCKS:
            raise ValueError(f"prf+ of {length} bytes takes {blocks} blocks, at most {_MAXIMUM_BLOCKS} exist")
        stream, block = b"", b""
        for number in range(1, blocks + 1):
            block = self(key, block + seed + bytes([number]))
            stream += block
        return stream[:length]


PRFS = {
    "sha256": Prf("hmac-sha2-256", "sha256", 32),
    "sha384": Prf("hmac-sha2-384", "sha384", 48),
    "sha512": Prf("hmac-sha2-512", "sha512", 64),
}
