"""The UPDATE message (RFC 4271 4.3), with the error handling of RFC 7606.

+-----------------------------------------------------+
|   Withdrawn Routes Length (2 octets)                |
+-----------------------------------------------------+
|   Withdrawn Routes (variable)                       |
+-----------------------------------------------------+
|   Total Path Attribute Length (2 octets)            |
+-----------------------------------------------------+
|   Path Attributes (variable)                        |
+-----------------------------------------------------+
|   Network Layer Reachability Information (variable) |
+-----------------------------------------------------+
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from vcstack.bgp.errors import UpdateError
from vcstack.bgp.iana import AttributeCode, MessageType, UpdateSubcode
from vcstack.bgp.wire.attribute import Context, Fault, MpReach, Outcome, PathAttributes
from vcstack.bgp.wire.attribute_list import AttributeList, assemble, build_attributes, parse_attributes
from vcstack.bgp.wire.attribute_value import Malformed, check_host
from vcstack.bgp.wire.nlri import build_prefixes, parse_prefixes
from vcstack.bgp.wire.stream import build_message
from vcstack.wire.reader import Reader, WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

Prefixes = tuple[IPv4Network, ...]
_END_OF_RIB = frozenset(map(bytes.fromhex, ("00000000", "00000006800f03000101", "00000007900f0003000101")))
"""RFC 4724 2: nothing at all, or an MP_UNREACH_NLRI that names IPv4 unicast and no prefix."""


@dataclass(frozen=True, slots=True)
class Update:
    """Routes taken back and routes given; `faults` says what was wrong with the received message.

    Prefixes that RFC 7606 treats as withdrawn stand in `withdrawn`, and `attributes` is then None.
    """

    withdrawn: Prefixes = ()
    attributes: PathAttributes | None = None
    announced: Prefixes = ()
    multiprotocol: MpReach | None = None
    faults: tuple[Fault, ...] = ()
    end_of_rib: bool = field(default=False, compare=False)
    """The sender has sent all its routes (RFC 4724 2)."""

    def reachable(self) -> Iterator[tuple[IPv4Network, IPv4Address | None]]:
        """Every announced prefix with its own next hop."""
        next_hop = self.attributes.next_hop if self.attributes else None
        yield from ((prefix, next_hop) for prefix in self.announced)
        if self.multiprotocol is not None:
            yield from ((prefix, self.multiprotocol.next_hop) for prefix in self.multiprotocol.prefixes)

    def build(self, context: Context) -> bytes:
        """Build the whole message; OverflowError when it does not fit one."""
        withdrawn = build_prefixes(self.withdrawn)
        attributes = build_attributes(self.attributes, context) if self.attributes else b""
        body = len(withdrawn).to_bytes(2) + withdrawn + len(attributes).to_bytes(2) + attributes
        return build_message(MessageType.UPDATE, body + build_prefixes(self.announced))


def parse_update(body: bytes, context: Context) -> Update:
    """Parse an UPDATE; UpdateError where even RFC 7606 resets the session."""
    if body in _END_OF_RIB:
        return Update(end_of_rib=True)
    withdrawn, attributes_reader, announced = _split(body)
    has_attributes = attributes_reader.remaining > 0
    found = parse_attributes(attributes_reader, context)
    reach: MpReach | None = found.values.get(AttributeCode.MP_REACH_NLRI)
    withdrawn += found.values.get(AttributeCode.MP_UNREACH_NLRI, ())
    if announced or reach is not None:
        _check_mandatory(found, context, bool(announced))
        _check_multiprotocol_next_hop(found, reach)
    _check_resets(found, reachable=bool(announced) or reach is not None)
    faults = tuple(found.faults)
    if any(fault.outcome == Outcome.TREAT_AS_WITHDRAW for fault in faults):
        return Update(withdrawn + announced + (reach.prefixes if reach else ()), faults=faults)
    if not has_attributes or not (announced or reach):
        return Update(withdrawn, faults=faults)
    return Update(withdrawn, assemble(found), announced, reach, faults)


def _split(body: bytes) -> tuple[Prefixes, Reader, Prefixes]:
    reader = Reader(body, "UPDATE")
    try:
        withdrawn = reader.sub(reader.u16(), "withdrawn routes")
        attributes = reader.sub(reader.u16(), "path attributes")
    except WireError as error:
        raise UpdateError(UpdateSubcode.MALFORMED_ATTRIBUTE_LIST, str(error)) from error
    try:
        return parse_prefixes(withdrawn), attributes, parse_prefixes(reader)
    except WireError as error:
        raise UpdateError(UpdateSubcode.INVALID_NETWORK_FIELD, str(error)) from error


def _check_mandatory(found: AttributeList, context: Context, plain_prefixes: bool) -> None:  # noqa: FBT001  private
    """RFC 7606 3 d; NEXT_HOP belongs to the NLRI field, LOCAL_PREF to internal sessions."""
    mandatory = [AttributeCode.ORIGIN, AttributeCode.AS_PATH]
    mandatory += [AttributeCode.NEXT_HOP] if plain_prefixes else []
    mandatory += [AttributeCode.LOCAL_PREF] if context.internal else []
    for code in mandatory:
        if code not in found.seen:
            subcode = UpdateSubcode.MISSING_WELLKNOWN_ATTRIBUTE
            fault = Fault(Outcome.TREAT_AS_WITHDRAW, subcode, f"{code.name} is missing", bytes((code,)))
            found.faults.append(fault)


def _check_multiprotocol_next_hop(found: AttributeList, reach: MpReach | None) -> None:
    if reach is None or reach.next_hop is None:
        return
    try:
        check_host(reach.next_hop)
    except Malformed as error:
        found.add_fault(Outcome.TREAT_AS_WITHDRAW, error.subcode, f"MP_REACH_NLRI: {error}")


def _check_resets(found: AttributeList, *, reachable: bool) -> None:
    """Raise for a session reset, and for RFC 7606 5.2: an error and no prefix to treat as withdrawn."""
    limit = Outcome.SESSION_RESET if reachable else Outcome.TREAT_AS_WITHDRAW
    for fault in sorted(found.faults, key=lambda fault: -fault.outcome):
        if fault.outcome >= limit:
            raise UpdateError(fault.subcode, fault.detail, fault.data)
