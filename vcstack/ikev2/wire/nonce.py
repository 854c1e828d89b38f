"""Nonce payload (RFC 7296 3.9): 16 to 256 random octets and nothing else."""

from dataclasses import dataclass
from typing import ClassVar, Self

from vcstack.ikev2.constants import NONCE_MAX_LENGTH, NONCE_MIN_LENGTH
from vcstack.ikev2.iana import PayloadType
from vcstack.wire.reader import Reader, WireError


@dataclass(frozen=True, slots=True)
class Nonce:
    """One side's nonce of an exchange."""

    payload_type: ClassVar[PayloadType] = PayloadType.NONCE

    data: bytes

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when too short or too long."""
        if not NONCE_MIN_LENGTH <= body.remaining <= NONCE_MAX_LENGTH:
            raise WireError(f"{body.remaining} octets, {NONCE_MIN_LENGTH} to {NONCE_MAX_LENGTH} expected")
        return cls(body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return self.data
