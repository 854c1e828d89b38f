"""One ESP packet sealed or opened in the plainest way: the reference for the batches (RFC 4303, RFC 4106).

The packet's diagram stands in `layout`. The nonce is the SA's salt and the packet's 8-byte
IV (RFC 4106 section 4); the additional authenticated data is

```
SPI (4), Sequence Number (4)                                      RFC 4106 section 5, figure 3
SPI (4), Sequence Number upper half (4), lower half (4)           with ESN, figure 4
```
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vcstack.esp.layout import (
    ALIGNMENT,
    HEADER_LENGTH,
    IV_LENGTH,
    MAXIMUM_PADDING,
    MINIMUM_LENGTH,
    PAYLOAD_OFFSET,
    TRAILER_LENGTH,
    padding_length,
)
from vcstack.wire.ipv4 import MINIMUM_HEADER, IpProtocol

PADDING = bytes(range(1, MAXIMUM_PADDING + 1))
"""Padding is the beginning of 1, 2, 3, ... (RFC 4303 section 2.4)."""


class Drop(StrEnum):
    """Why an inbound packet is not passed on."""

    UNKNOWN_SPI = "unknown SPI"
    TOO_SHORT = "too short"
    MISALIGNED = "length not a multiple of 4"
    REPLAYED = "replayed"
    TOO_OLD = "too old for the replay window"
    AUTHENTICATION_FAILED = "authentication failed"
    BAD_PADDING = "bad padding"
    DUMMY = "dummy packet"
    NOT_TUNNELLED_IPV4 = "next header is not IPv4"
    MALFORMED_INNER = "malformed inner packet"
    SELECTOR_MISMATCH = "outside the traffic selectors"
    EXPIRED = "SA lifetime over"


class PacketError(ValueError):
    """A packet that cannot be opened, with the reason to count it under."""

    def __init__(self, reason: Drop, detail: str) -> None:
        super().__init__(f"ESP: {reason}: {detail}")
        self.reason = reason


class Aead(Protocol):
    """What this module needs of a cipher; `vcstack.crypto.aead.Gcm` is one."""

    def seal(self, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and ICV."""

    def open(self, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Plaintext; raises AuthenticationFailed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An authenticated packet; `sequence` is the low 32 bits, `payload` may end in TFC padding."""

    spi: int
    sequence: int
    next_header: int
    payload: bytes

    @property
    def is_dummy(self) -> bool:
        """Whether the packet only hides how much traffic there is (RFC 4303 section 2.6)."""
        return self.next_header == IpProtocol.NO_NEXT_HEADER


def seal(
    sa_key: Aead,
    spi: int,
    sequence: int,
    iv: bytes,
    payload: bytes,
    next_header: int = IpProtocol.IPIP,
    *,
    esn_high: int | None = None,
    pad_to: int = ALIGNMENT,
) -> bytes:
    """ESP packet, SPI to ICV, around `payload`.

    `sequence` is the low 32 bits, `esn_high` the upper ones of an SA with ESN. The IV must
    never have been used with this key. `pad_to`, a multiple of 4 up to 256, rounds the size
    of the encrypted part. ValueError for a value out of range.
    """
    if pad_to % ALIGNMENT or not ALIGNMENT <= pad_to <= MAXIMUM_PADDING + 1:
        raise ValueError(f"ESP padding to {pad_to} bytes; a multiple of 4 up to 256 is expected")
    if not 0 < spi < 1 << 32 or not 0 <= sequence < 1 << 32:
        raise ValueError(f"ESP SPI {spi:#x}, sequence number {sequence}")
    pad = padding_length(len(payload), pad_to)
    plaintext = payload + PADDING[:pad] + bytes((pad, next_header))
    header = spi.to_bytes(4) + sequence.to_bytes(4)
    return header + iv + sa_key.seal(iv, _associated_data(header, esn_high), plaintext)


def open(sa_key: Aead, data: bytes, *, esn_high: int | None = None) -> Opened:  # noqa: A001  # pair of `seal`
    """Authenticate, decrypt and unpad one ESP packet.

    AuthenticationFailed when the ICV does not fit, PacketError (TOO_SHORT, MISALIGNED,
    BAD_PADDING) otherwise. Replay and selectors are the SA's business.
    """
    plaintext = decrypt(sa_key, data, esn_high=esn_high)
    payload, next_header = unpad(plaintext)
    return Opened(int.from_bytes(data[:4]), int.from_bytes(data[4:8]), next_header, payload)


def check_length(data: bytes) -> None:
    """PacketError when `data` cannot be an ESP packet with this cipher."""
    if len(data) < MINIMUM_LENGTH:
        raise PacketError(Drop.TOO_SHORT, f"{len(data)} bytes, at least {MINIMUM_LENGTH} expected")
    if len(data) % ALIGNMENT:
        raise PacketError(Drop.MISALIGNED, f"{len(data)} bytes")


def decrypt(sa_key: Aead, data: bytes, *, esn_high: int | None = None) -> bytes:
    """Authenticated plaintext with padding and trailer; AuthenticationFailed or PacketError."""
    check_length(data)
    header, iv = bytes(data[:HEADER_LENGTH]), bytes(data[HEADER_LENGTH : HEADER_LENGTH + IV_LENGTH])
    return sa_key.open(iv, _associated_data(header, esn_high), bytes(data[PAYLOAD_OFFSET:]))


def unpad(plaintext: bytes) -> tuple[bytes, int]:
    """Payload and next header; PacketError(BAD_PADDING) when the padding is not 1, 2, 3, ..."""
    pad, next_header = plaintext[-2], plaintext[-1]
    end = len(plaintext) - TRAILER_LENGTH - pad
    if end < 0 or plaintext[end:-TRAILER_LENGTH] != PADDING[:pad]:
        raise PacketError(Drop.BAD_PADDING, f"{pad} bytes in a plaintext of {len(plaintext)}")
    return plaintext[:end], next_header


def trim_tfc(payload: bytes) -> bytes:
    """Inner IPv4 packet without TFC padding (RFC 4303 section 2.7); PacketError(MALFORMED_INNER)."""
    if len(payload) < MINIMUM_HEADER or payload[0] >> 4 != 4:
        raise PacketError(Drop.MALFORMED_INNER, f"no IPv4 header in {len(payload)} bytes")
    header_length, total_length = (payload[0] & 0x0F) * 4, int.from_bytes(payload[2:4])
    if not MINIMUM_HEADER <= header_length <= total_length <= len(payload):
        raise PacketError(
            Drop.MALFORMED_INNER, f"header {header_length}, total {total_length} in {len(payload)} bytes"
        )
    return payload[:total_length]


def _associated_data(header: bytes, esn_high: int | None) -> bytes:
    if esn_high is None:
        return header
    return header[:4] + esn_high.to_bytes(4) + header[4:]
