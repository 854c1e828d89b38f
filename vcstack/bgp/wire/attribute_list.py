"""The Path Attributes field as a whole: framing, duplicates and the judgement of RFC 7606 3 to 5."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vcstack.bgp.constants import AS_TRANS
from vcstack.bgp.iana import AttributeCode, UpdateSubcode
from vcstack.bgp.wire.as_path import merge_as4_path
from vcstack.bgp.wire.attribute import Context, Fault, Flags, Outcome, PathAttributes, RawAttribute
from vcstack.bgp.wire.attribute_table import ATTRIBUTES, Row
from vcstack.bgp.wire.attribute_value import Malformed
from vcstack.wire.reader import Reader, WireError

_MULTIPROTOCOL = frozenset({AttributeCode.MP_REACH_NLRI, AttributeCode.MP_UNREACH_NLRI})
_AS4 = frozenset({AttributeCode.AS4_PATH, AttributeCode.AS4_AGGREGATOR})


@dataclass(slots=True)
class AttributeList:
    """What was found: values by code, attributes nobody here knows, and the faults in order."""

    values: dict[AttributeCode, Any] = field(default_factory=dict)
    unknown: list[RawAttribute] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen: set[AttributeCode] = field(default_factory=set)

    def add_fault(
        self,
        outcome: Outcome,
        subcode: UpdateSubcode,
        detail: str,
        attribute: RawAttribute | None = None,
    ) -> None:
        """Record an error; `attribute` is what RFC 4271 6.3 wants in the NOTIFICATION's data."""
        name = f"{attribute.code.name}: " if attribute else ""
        self.faults.append(Fault(outcome, subcode, name + detail, attribute.build() if attribute else b""))


def parse_attributes(reader: Reader, context: Context) -> AttributeList:
    """Parse up to the end of `reader`; errors become faults, each with its outcome."""
    found = AttributeList()
    while reader.remaining:
        try:
            attribute = _parse_header(reader)
        except WireError as error:
            # RFC 7606 4: the prefixes behind the attributes are still found by the total length
            found.add_fault(Outcome.TREAT_AS_WITHDRAW, UpdateSubcode.MALFORMED_ATTRIBUTE_LIST, str(error))
            break
        _take(found, attribute, context)
    return found


def build_attributes(attributes: PathAttributes, context: Context) -> bytes:
    """Build all attributes that have a value, in the order of their codes."""
    raw = [
        RawAttribute(row.code, row.flags, value)
        for row in ATTRIBUTES.values()
        if row.build is not None and (value := row.build(attributes, context)) is not None
    ]
    raw += attributes.unknown
    return b"".join(attribute.build() for attribute in sorted(raw, key=lambda a: a.code))


def assemble(found: AttributeList) -> PathAttributes:
    """Make the value of what was found; call it when the mandatory attributes are there."""
    get = found.values.get
    as4_path, aggregator = get(AttributeCode.AS4_PATH), get(AttributeCode.AGGREGATOR)
    as_path = found.values[AttributeCode.AS_PATH]
    if aggregator is not None and aggregator.asn != AS_TRANS:
        as4_path = None  # RFC 6793 4.2.3: an old speaker aggregated behind the new ones
    elif aggregator is not None:
        aggregator = get(AttributeCode.AS4_AGGREGATOR, aggregator)
    return PathAttributes(
        origin=found.values[AttributeCode.ORIGIN],
        as_path=merge_as4_path(as_path, as4_path) if as4_path else as_path,
        next_hop=get(AttributeCode.NEXT_HOP),
        med=get(AttributeCode.MULTI_EXIT_DISC),
        local_pref=get(AttributeCode.LOCAL_PREF),
        atomic_aggregate=get(AttributeCode.ATOMIC_AGGREGATE, False),
        aggregator=aggregator,
        communities=get(AttributeCode.COMMUNITIES, ()),
        extended_communities=get(AttributeCode.EXTENDED_COMMUNITIES, ()),
        large_communities=get(AttributeCode.LARGE_COMMUNITIES, ()),
        only_to_customer=get(AttributeCode.ONLY_TO_CUSTOMER),
        unknown=tuple(found.unknown),
    )


def _parse_header(reader: Reader) -> RawAttribute:
    flags = Flags(reader.u8() & 0xF0)
    code = AttributeCode(reader.u8())
    length = reader.u16() if flags & Flags.EXTENDED_LENGTH else reader.u8()
    return RawAttribute(code, flags & ~Flags.EXTENDED_LENGTH, reader.take(length))


def _take(found: AttributeList, attribute: RawAttribute, context: Context) -> None:
    if attribute.code in found.seen:
        _take_duplicate(found, attribute)
        return
    found.seen.add(attribute.code)
    row = ATTRIBUTES.get(attribute.code)
    if row is None:
        _take_unknown(found, attribute)
    elif _flags_conflict(row, attribute.flags):
        detail = f"flags {attribute.flags:#04x}"
        found.add_fault(row.outcome, UpdateSubcode.ATTRIBUTE_FLAGS_ERROR, detail, attribute)
    elif row.internal_only and not context.internal:
        detail = "from an external peer"
        found.add_fault(Outcome.ATTRIBUTE_DISCARD, UpdateSubcode.OPTIONAL_ATTRIBUTE_ERROR, detail, attribute)
    else:
        _take_value(found, row, attribute, context)


def _take_duplicate(found: AttributeList, attribute: RawAttribute) -> None:
    """RFC 7606 3 g: the first one counts, but nobody can say which of two MP_REACH_NLRI does."""
    resets = attribute.code in _MULTIPROTOCOL
    outcome = Outcome.SESSION_RESET if resets else Outcome.ATTRIBUTE_DISCARD
    found.add_fault(outcome, UpdateSubcode.MALFORMED_ATTRIBUTE_LIST, "found twice", attribute)


def _take_unknown(found: AttributeList, attribute: RawAttribute) -> None:
    """RFC 4271 9: optional ones are no error, and only transitive ones are worth keeping."""
    if not attribute.flags & Flags.OPTIONAL:
        subcode = UpdateSubcode.UNRECOGNIZED_WELLKNOWN_ATTRIBUTE
        found.add_fault(Outcome.SESSION_RESET, subcode, "unknown and well-known", attribute)
    elif attribute.flags & Flags.TRANSITIVE:
        found.unknown.append(attribute)


def _flags_conflict(row: Row, flags: Flags) -> bool:
    may_be_partial = row.flags == Flags.OPTIONAL | Flags.TRANSITIVE
    kind = flags & (Flags.OPTIONAL | Flags.TRANSITIVE)
    return kind != row.flags or (bool(flags & Flags.PARTIAL) and not may_be_partial)


def _take_value(found: AttributeList, row: Row, attribute: RawAttribute, context: Context) -> None:
    try:
        value = row.parse(attribute.value, context)
    except Malformed as error:
        found.add_fault(row.outcome, error.subcode, str(error), attribute)
        return
    if attribute.code in _AS4 and context.four_octet_as:
        detail = "between speakers of four-octet AS numbers"  # RFC 6793 4.1
        subcode = UpdateSubcode.OPTIONAL_ATTRIBUTE_ERROR
        found.add_fault(Outcome.ATTRIBUTE_DISCARD, subcode, detail, attribute)
        return
    found.values[attribute.code] = value
