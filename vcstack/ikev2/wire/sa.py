"""Security Association payload: proposals, transforms, attributes (RFC 7296 3.3).

```
                     1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Last 0 or 2   |   RESERVED    |         Proposal Length       |  proposal
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                        SPI (variable)                         ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Last 0 or 3   |   RESERVED    |        Transform Length       |  transform
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|Transform Type |   RESERVED    |          Transform ID         |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|A|       Attribute Type        |    AF=0  Attribute Length     |  attribute
|F|                             |    AF=1  Attribute Value      |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeVar

from vcstack.ikev2.constants import ESP_SPI_LENGTH, IKE_SPI_LENGTH
from vcstack.ikev2.iana import AttributeType, PayloadType, ProtocolId, TransformType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer

_T = TypeVar("_T")

MAX_PROPOSALS: Final = 64
"""Implementations that expand every combination send some dozens."""
MAX_TRANSFORMS: Final = 512
"""In all proposals together: what an initiator may make a responder compare before it has proved anything."""

_LAST: Final = 0
_MORE_PROPOSALS: Final = 2
_MORE_TRANSFORMS: Final = 3
_PROPOSAL_HEADER_LENGTH: Final = 8
_TRANSFORM_HEADER_LENGTH: Final = 8
_FORMAT_TV: Final = 0x8000
_SPI_LENGTHS: Final = {
    ProtocolId.IKE: (0, IKE_SPI_LENGTH),
    ProtocolId.AH: (ESP_SPI_LENGTH,),
    ProtocolId.ESP: (ESP_SPI_LENGTH,),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute other than a well-formed key length; a transform that has one is never chosen (3.3.6)."""

    type: AttributeType
    value: bytes
    is_tv: bool


@dataclass(frozen=True, slots=True)
class Transform:
    """One algorithm. `id` is a number of the registry that `type` selects, `key_length` is in bits."""

    type: TransformType
    id: int
    key_length: int | None = None
    other_attributes: tuple[Attribute, ...] = ()

    @classmethod
    def read(cls, reader: Reader) -> tuple[Self, bool]:
        """Take one transform off `reader`, with whether it says that another follows."""
        more, body = _substructure(reader, _TRANSFORM_HEADER_LENGTH, _MORE_TRANSFORMS, "transform")
        kind = body.u8()
        body.u8()
        number = body.u16()
        key_length, others = _read_attributes(body)
        return cls(TransformType(kind), number, key_length, others), more

    def build(self, *, more: bool) -> bytes:
        """The octets of the transform; `more` tells that another one follows it."""
        attributes = Writer()
        if self.key_length is not None:
            attributes.u16(_FORMAT_TV | AttributeType.KEY_LENGTH).u16(self.key_length)
        for attribute in self.other_attributes:
            _write_attribute(attributes, attribute)
        body = attributes.getvalue()
        writer = Writer().u8(_MORE_TRANSFORMS if more else _LAST).u8(0)
        writer.u16(_TRANSFORM_HEADER_LENGTH + len(body)).u8(self.type).u8(0).u16(self.id)
        return writer.raw(body).getvalue()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One suite of transforms for one protocol. The SPI is empty in IKE_SA_INIT, else 8 (IKE) or 4 octets."""

    number: int
    protocol: ProtocolId
    spi: bytes
    transforms: tuple[Transform, ...]

    @classmethod
    def read(cls, reader: Reader) -> tuple[Self, bool]:
        """Take one proposal off `reader`, with whether it says that another follows."""
        more, body = _substructure(reader, _PROPOSAL_HEADER_LENGTH, _MORE_PROPOSALS, "proposal")
        number, protocol, spi_length, count = body.u8(), ProtocolId(body.u8()), body.u8(), body.u8()
        if spi_length not in _SPI_LENGTHS.get(protocol, range(256)):
            raise WireError(f"proposal {number}: {spi_length} octets of SPI for {protocol}")
        spi = body.take(spi_length)
        transforms = _read_transforms(body, number, count)
        return cls(number, protocol, spi, transforms), more

    def build(self, *, more: bool) -> bytes:
        """The octets of the proposal; `more` tells that another one follows it."""
        writer = Writer().u8(_MORE_PROPOSALS if more else _LAST).u8(0).u16(0)
        writer.u8(self.number).u8(self.protocol).u8(len(self.spi)).u8(len(self.transforms)).raw(self.spi)
        for transform, follows in _with_more(self.transforms):
            writer.raw(transform.build(more=follows))
        return writer.patch_u16(2, writer.position).getvalue()


@dataclass(frozen=True, slots=True)
class Sa:
    """Proposals in the order of preference of an initiator, or the one that a responder chose."""

    payload_type: ClassVar[PayloadType] = PayloadType.SA

    proposals: tuple[Proposal, ...]

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when malformed or without a proposal."""
        proposals: list[Proposal] = []
        more = True
        while more:
            if len(proposals) == MAX_PROPOSALS:
                raise WireError(f"more than {MAX_PROPOSALS} proposals")
            proposal, more = Proposal.read(body)
            proposals.append(proposal)
            if sum(len(read.transforms) for read in proposals) > MAX_TRANSFORMS:
                raise WireError(f"more than {MAX_TRANSFORMS} transforms")
        body.check_end()
        return cls(tuple(proposals))

    def build(self) -> bytes:
        """The payload without its generic header."""
        return b"".join(proposal.build(more=follows) for proposal, follows in _with_more(self.proposals))


def _substructure(reader: Reader, minimum: int, more_mark: int, what: str) -> tuple[bool, Reader]:
    mark = reader.u8()
    reader.u8()
    length = reader.u16()
    if mark not in (_LAST, more_mark):
        raise WireError(f"{what}: {mark} where 0 (last) or {more_mark} (more) belongs")
    if length < minimum:
        raise WireError(f"{what}: length {length}, at least {minimum} expected")
    return mark == more_mark, reader.sub(length - 4, what)


def _read_transforms(body: Reader, number: int, count: int) -> tuple[Transform, ...]:
    transforms: list[Transform] = []
    more = count > 0
    while more:
        transform, more = Transform.read(body)
        transforms.append(transform)
    body.check_end()
    if len(transforms) != count:
        raise WireError(f"proposal {number}: {count} transforms announced, {len(transforms)} came")
    return tuple(transforms)


def _read_attributes(body: Reader) -> tuple[int | None, tuple[Attribute, ...]]:
    key_length: int | None = None
    others: list[Attribute] = []
    while body.remaining:
        head, value_or_length = body.u16(), body.u16()
        kind, is_tv = AttributeType(head & ~_FORMAT_TV), bool(head & _FORMAT_TV)
        if kind == AttributeType.KEY_LENGTH and is_tv and key_length is None:
            key_length = value_or_length
        else:
            value = value_or_length.to_bytes(2) if is_tv else body.take(value_or_length)
            others.append(Attribute(kind, value, is_tv))
    return key_length, tuple(others)


def _write_attribute(writer: Writer, attribute: Attribute) -> None:
    if attribute.is_tv:
        writer.u16(_FORMAT_TV | attribute.type).raw(attribute.value)
    else:
        writer.u16(attribute.type).u16(len(attribute.value)).raw(attribute.value)


def _with_more(items: Sequence[_T]) -> list[tuple[_T, bool]]:
    return [(item, index < len(items)) for index, item in enumerate(items, start=1)]
