"""One ESP packet sealed or opened in place: `batch` for batches too small to pay for array operations.

An array operation costs 1 to 4 us however few rows there are, and a batch takes about thirty of them; what is
done here costs 4 us for a packet, and nothing for a batch. Bytes and counts are those of `batch`.
"""

import struct

from vcstack.crypto.batch import open_row
from vcstack.esp.layout import (
    HEADER_LENGTH,
    ICV_LENGTH,
    IV_LENGTH,
    PAYLOAD_OFFSET,
    TRAILER_LENGTH,
    padding_length,
)
from vcstack.esp.packet import PADDING, Drop
from vcstack.esp.replay import Verdict
from vcstack.esp.sa import InboundSa, OutboundSa
from vcstack.wire.ipv4 import IpProtocol

_IPIP = int(IpProtocol.IPIP)
_LOW = (1 << 32) - 1
_HEADER = struct.Struct(">IIQ")
_EXTENDED_AAD = struct.Struct(">III")
_TRAILERS = tuple(PADDING[:pad] + bytes((pad, _IPIP)) for pad in map(padding_length, range(4)))
_ACCEPTED = Verdict.ACCEPTED


def seal_in_place(sa: OutboundSa, sequence: int, data: memoryview, at: int, length: int) -> int:
    """Seal a payload of `length` bytes that begins 16 bytes behind `at`; returns the size of the ESP packet.

    `sequence` comes from `OutboundSa.reserve`; 21 bytes behind the payload belong to the packet.
    """
    trailer = _TRAILERS[length & 3]
    start = at + PAYLOAD_OFFSET
    end = start + length + len(trailer)
    data[start + length : end] = trailer
    # RFC 4106 section 3.1: the IV is the 64-bit sequence number, so it is unique under the key.
    _HEADER.pack_into(data, at, sa.spi, sequence & _LOW, sequence)
    aad = _associated_data(sa.spi, sequence) if sa.parameters.esn else data[at : at + HEADER_LENGTH]
    nonce = sa.cipher.salt + sequence.to_bytes(IV_LENGTH)
    sa.cipher.raw.encrypt_into(nonce, data[start:end], aad, data[start : end + ICV_LENGTH])
    return end + ICV_LENGTH - at


def open_in_place(sa: InboundSa, data: memoryview, at: int, length: int) -> int:
    """Open the packet at `at`; returns the size of what was encrypted, trailer included; 0: it is dropped.

    `length`, a multiple of 4, is at least that of the smallest packet. The SA counts what does not pass.
    """
    if sa.meter.expired:
        sa.drop(Drop.EXPIRED)
        return 0
    start, end = at + PAYLOAD_OFFSET, at + length
    sequence = int.from_bytes(data[at + 4 : at + HEADER_LENGTH])
    window = sa.window
    if sa.esn:
        sequence = window.extend(sequence)
    if window.check(sequence) is not _ACCEPTED:
        return 0
    aad = _associated_data(sa.spi, sequence) if sa.esn else data[at : at + HEADER_LENGTH]
    nonce = sa.cipher.salt + data[at + HEADER_LENGTH : start]
    if not open_row(sa.cipher, nonce, data[start:end], aad, data[start : end - ICV_LENGTH]):
        sa.drop(Drop.AUTHENTICATION_FAILED)
        return 0
    return length - PAYLOAD_OFFSET - ICV_LENGTH if window.commit(sequence) is _ACCEPTED else 0


def payload_length(data: memoryview, start: int, length: int) -> int:
    """Size of the tunnelled IPv4 packet in `length` decrypted bytes; -1 when the trailer is another one."""
    end = start + length - TRAILER_LENGTH
    pad = data[end]
    payload = end - pad
    if data[end + 1] != _IPIP or payload < start or data[payload:end] != PADDING[:pad]:
        return -1
    return payload - start


def _associated_data(spi: int, sequence: int) -> bytes:
    return _EXTENDED_AAD.pack(spi, sequence >> 32, sequence & _LOW)
