"""The IKE header (RFC 7296 3.1).

```
                     1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                       IKE SA Initiator's SPI                  |
|                                                               |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                       IKE SA Responder's SPI                  |
|                                                               |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|  Next Payload | MjVer | MnVer | Exchange Type | X X R V I X X X
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                          Message ID                           |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                            Length                             |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass, field
from typing import Final

from vcstack.ikev2.constants import HEADER_LENGTH, IKE_SPI_LENGTH, MAJOR_VERSION, MINOR_VERSION, NO_SPI
from vcstack.ikev2.errors import InvalidHeader, InvalidMajorVersion
from vcstack.ikev2.iana import ExchangeType, PayloadType
from vcstack.wire.reader import Reader
from vcstack.wire.writer import Writer

MAX_MESSAGE_BYTES: Final = 16384
"""A gateway's largest message, with a long list of proposals, stays below 2000 octets."""

_FLAG_RESPONSE: Final = 0x20
_FLAG_INITIATOR: Final = 0x08


@dataclass(frozen=True, slots=True)
class Header:
    """What every message starts with.

    `is_initiator` tells that the sender initiated the IKE SA, `is_response` that the message answers one
    with the same `message_id`. `next_payload` and `length` (octets) are what was received; building
    derives them from the payloads.
    """

    initiator_spi: bytes
    responder_spi: bytes
    exchange: ExchangeType
    is_initiator: bool
    is_response: bool
    message_id: int
    major: int = MAJOR_VERSION
    minor: int = MINOR_VERSION
    next_payload: PayloadType = field(default=PayloadType.NONE, compare=False)
    length: int = field(default=0, compare=False)

    def build(self, next_payload: PayloadType, length: int) -> bytes:
        """The 28 octets of the header of a message of `length` octets."""
        flags = _FLAG_RESPONSE * self.is_response | _FLAG_INITIATOR * self.is_initiator
        writer = Writer().raw(self.initiator_spi).raw(self.responder_spi)
        writer.u8(next_payload).u8(self.major << 4 | self.minor).u8(self.exchange).u8(flags)
        return writer.u32(self.message_id).u32(length).getvalue()


def parse_header(data: bytes) -> Header:
    """The header of a whole datagram, checked: InvalidHeader or InvalidMajorVersion (RFC 7296 2.5)."""
    header = read_header(data)
    if header.major < MAJOR_VERSION:
        raise InvalidHeader(f"major version {header.major}: not IKEv2")
    # Before the version: garbage that looks like a later one deserves no answer.
    if header.length != len(data):
        raise InvalidHeader(f"the header says {header.length} octets, {len(data)} came")
    if header.major > MAJOR_VERSION:
        raise InvalidMajorVersion(f"major version {header.major}, ours is {MAJOR_VERSION}")
    if header.length > MAX_MESSAGE_BYTES:
        raise InvalidHeader(f"{header.length} octets, at most {MAX_MESSAGE_BYTES} are taken")
    if header.initiator_spi == NO_SPI:
        raise InvalidHeader("the initiator's SPI is zero")
    return header


def read_header(data: bytes) -> Header:
    """The header as it stands, of any version, to answer one not ours; InvalidHeader when too short."""
    if len(data) < HEADER_LENGTH:
        raise InvalidHeader(f"{len(data)} octets, the header alone has {HEADER_LENGTH}")
    reader = Reader(data, "IKE header")
    initiator_spi, responder_spi = reader.take(IKE_SPI_LENGTH), reader.take(IKE_SPI_LENGTH)
    next_payload, version, exchange, flags = reader.u8(), reader.u8(), reader.u8(), reader.u8()
    return Header(
        initiator_spi=initiator_spi,
        responder_spi=responder_spi,
        exchange=ExchangeType(exchange),
        is_initiator=bool(flags & _FLAG_INITIATOR),
        is_response=bool(flags & _FLAG_RESPONSE),
        message_id=reader.u32(),
        major=version >> 4,
        minor=version & 0x0F,
        next_payload=PayloadType(next_payload),
        length=reader.u32(),
    )
