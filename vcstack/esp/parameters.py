"""What a negotiated SA is made from (RFC 4301 section 4.4.2.1), apart from the code that uses it.

Whoever only hands parameters on imports no cipher batches and no arrays.
"""

from dataclasses import dataclass, field

from vcstack.crypto.aead import SALT_LENGTH
from vcstack.esp.lifetime import Lifetime
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

DEFAULT_REPLAY_WINDOW = 4096
"""At 111,000 packets/s (250 Mbit/s of voice) this forgives 37 ms of reordering; 64 would forgive 0.6 ms."""
_SHORTEST_SPI = 256  # RFC 4303 section 2.1: 0 is for local use, 1 to 255 are reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class SaParameters:
    """One direction of a negotiated SA.

    `key` is the AES key of `key_bits` bits followed by the 4-byte salt. Selectors are from our
    point of view whatever the direction; empty ones admit nothing. ValueError for a reserved SPI or a
    key of the wrong size.
    """

    spi: int
    key: Secret
    key_bits: int
    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    esn: bool = False
    replay_window: int = DEFAULT_REPLAY_WINDOW
    udp_encapsulation: bool = False
    lifetime: Lifetime = field(default_factory=Lifetime)

    def __post_init__(self) -> None:
        if not _SHORTEST_SPI <= self.spi < 1 << 32:
            raise ValueError(f"SPI {self.spi:#x}; 0x100 to 0xffffffff is expected")
        if self.key_bits not in {128, 192, 256} or len(self.key) != self.key_bits // 8 + SALT_LENGTH:
            raise ValueError(f"AES-GCM-{self.key_bits} with {len(self.key)} bytes of key and salt")
