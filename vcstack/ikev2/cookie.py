"""Stateless cookies of a responder under load (RFC 7296 2.6).

    cookie = generation (4 octets) | HMAC-SHA2-256(secret, Ni | IPi | SPIi)

The responder keeps nothing per initiator. It replaces the secret now and then, and still takes cookies of
the one before, so that no initiator is caught between its two requests.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from vcstack.crypto.mac import compare
from vcstack.crypto.prf import PRFS
from vcstack.wire.secret import Secret

_GENERATION_LENGTH: Final = 4
_GENERATIONS: Final = 1 << 8 * _GENERATION_LENGTH


@dataclass(frozen=True, slots=True)
class CookieSecrets:
    """The secret in use, 32 random octets, its number, and the one before it."""

    current: Secret
    generation: int = 0
    previous: Secret | None = None

    def rotated(self, fresh: Secret) -> "CookieSecrets":
        """The secrets after `fresh` came into use."""
        return CookieSecrets(fresh, (self.generation + 1) % _GENERATIONS, self.current)

    def of_generation(self, generation: int) -> Secret | None:
        """The secret with that number, None when it is out of use."""
        if generation == self.generation:
            return self.current
        return self.previous if generation == (self.generation - 1) % _GENERATIONS else None


def make_cookie(secrets: CookieSecrets, nonce: bytes, source: IPv4Address, initiator_spi: bytes) -> bytes:
    """Data of the COOKIE notification for an initiator, 36 octets."""
    return _cookie(secrets.current, secrets.generation, nonce, source, initiator_spi)


def is_valid_cookie(
    secrets: CookieSecrets, cookie: bytes, nonce: bytes, source: IPv4Address, initiator_spi: bytes
) -> bool:
    """Whether we made this cookie for that initiator not long ago, compared in constant time."""
    generation = int.from_bytes(cookie[:_GENERATION_LENGTH])
    secret = secrets.of_generation(generation)
    return secret is not None and compare(_cookie(secret, generation, nonce, source, initiator_spi), cookie)


def _cookie(
    secret: Secret, generation: int, nonce: bytes, source: IPv4Address, initiator_spi: bytes
) -> bytes:
    mac = PRFS["sha256"](secret.reveal(), nonce + source.packed + initiator_spi)
    return generation.to_bytes(_GENERATION_LENGTH) + mac
