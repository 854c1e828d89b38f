"""HMAC over SHA-2 (RFC 2104) and its truncations as IKEv2 integrity algorithms (RFC 4868)."""

import hmac
from dataclasses import dataclass


def compare(one: bytes, other: bytes) -> bool:
    """Whether two values are equal, in time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


@dataclass(frozen=True, slots=True)
class Integrity:
    """AUTH_HMAC_SHA2_*: key of the hash's size, output cut to half of it (RFC 4868 section 2.1)."""

    name: str
    hash_name: str
    key_length: int
    icv_length: int

    def __call__(self, key: bytes, data: bytes) -> bytes:
        """Integrity check value of `data`, `icv_length` bytes."""
        return hmac.digest(key, data, self.hash_name)[: self.icv_length]

    def verify(self, key: bytes, data: bytes, icv: bytes) -> bool:
        """Whether `icv` belongs to `data`, compared in constant time."""
        return compare(self(key, data), icv)


INTEGRITIES = {
    "sha256": Integrity("hmac-sha2-256-128", "sha256", key_length=32, icv_length=16),
    "sha384": Integrity("hmac-sha2-384-192", "sha384", key_length=48, icv_length=24),
    "sha512": Integrity("hmac-sha2-512-256", "sha512", key_length=64, icv_length=32),
}
