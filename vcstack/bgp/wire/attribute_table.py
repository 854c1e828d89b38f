"""Every path attribute this speaker knows: one row with its flags, its codec and what an error in it does.

The outcome column is that of RFC 7606 7 and of the attributes' own documents, and holds for wrong flags
too (RFC 7606 3 c, f). An attribute with `internal_only` is dropped, whatever it says, when it comes from
an external peer (RFC 7606 7.5, 7.9, 7.10; RFC 7311 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vcstack.bgp.iana import AttributeCode as Code
from vcstack.bgp.wire import attribute_value as value
from vcstack.bgp.wire.attribute import (
    OPTIONAL_NON_TRANSITIVE,
    OPTIONAL_TRANSITIVE,
    WELL_KNOWN,
    Context,
    Flags,
    Outcome,
    PathAttributes,
)

Parse = Callable[[bytes, Context], Any]
Build = Callable[[PathAttributes, Context], bytes | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute; without `build` it is never sent."""

    code: Code
    flags: Flags
    outcome: Outcome
    parse: Parse
    build: Build | None = None
    internal_only: bool = False


def _number(number: int | None) -> bytes | None:
    return None if number is None else number.to_bytes(4)


_WITHDRAW = Outcome.TREAT_AS_WITHDRAW
_DISCARD = Outcome.ATTRIBUTE_DISCARD
_RESET = Outcome.SESSION_RESET

_ROWS = (
    Row(Code.ORIGIN, WELL_KNOWN, _WITHDRAW, value.parse_origin, lambda a, _: bytes((a.origin,))),
    Row(Code.AS_PATH, WELL_KNOWN, _WITHDRAW, value.parse_path, value.build_path),
    Row(
        Code.NEXT_HOP,
        WELL_KNOWN,
        _WITHDRAW,
        value.parse_next_hop,
        lambda a, _: a.next_hop.packed if a.next_hop else None,
    ),
    Row(
        Code.MULTI_EXIT_DISC,
        OPTIONAL_NON_TRANSITIVE,
        _WITHDRAW,
        value.parse_number,
        lambda a, _: _number(a.med),
    ),
    Row(
        Code.LOCAL_PREF,
        WELL_KNOWN,
        _WITHDRAW,
        value.parse_number,
        lambda a, _: _number(a.local_pref),
        internal_only=True,
    ),
    Row(
        Code.ATOMIC_AGGREGATE,
        WELL_KNOWN,
        _DISCARD,
        value.parse_nothing,
        lambda a, _: b"" if a.atomic_aggregate else None,
    ),
    Row(
        Code.AGGREGATOR,
        OPTIONAL_TRANSITIVE,
        _DISCARD,
        value.parse_aggregator,
        value.build_aggregator,
    ),
    Row(
        Code.COMMUNITIES,
        OPTIONAL_TRANSITIVE,
        _WITHDRAW,
        value.parse_communities,
        lambda a, _: b"".join(c.to_bytes(4) for c in a.communities) or None,
    ),
    Row(
        Code.ORIGINATOR_ID,
        OPTIONAL_NON_TRANSITIVE,
        _WITHDRAW,
        value.parse_address,
        internal_only=True,
    ),
    Row(
        Code.CLUSTER_LIST,
        OPTIONAL_NON_TRANSITIVE,
        _WITHDRAW,
        value.parse_cluster_list,
        internal_only=True,
    ),
    Row(Code.MP_REACH_NLRI, OPTIONAL_NON_TRANSITIVE, _RESET, value.parse_mp_reach),
    Row(Code.MP_UNREACH_NLRI, OPTIONAL_NON_TRANSITIVE, _RESET, value.parse_mp_unreach),
    Row(
        Code.EXTENDED_COMMUNITIES,
        OPTIONAL_TRANSITIVE,
        _WITHDRAW,
        value.parse_extended_communities,
        lambda a, _: b"".join(a.extended_communities) or None,
    ),
    # RFC 6793 6 lets a malformed AS4_PATH be discarded; the path is what loops are seen in, so the
    # stronger outcome is taken, as other speakers do.
    Row(Code.AS4_PATH, OPTIONAL_TRANSITIVE, _WITHDRAW, value.parse_as4_path, value.build_as4_path),
    Row(
        Code.AS4_AGGREGATOR,
        OPTIONAL_TRANSITIVE,
        _DISCARD,
        value.parse_as4_aggregator,
        value.build_as4_aggregator,
    ),
    Row(Code.PMSI_TUNNEL, OPTIONAL_TRANSITIVE, _WITHDRAW, value.check_pmsi_tunnel),
    Row(Code.TUNNEL_ENCAPSULATION, OPTIONAL_TRANSITIVE, _WITHDRAW, value.check_tunnel_encapsulation),
    Row(Code.IPV6_EXTENDED_COMMUNITIES, OPTIONAL_TRANSITIVE, _WITHDRAW, value.parse_ipv6_communities),
    Row(Code.AIGP, OPTIONAL_NON_TRANSITIVE, _DISCARD, value.check_aigp, internal_only=True),
    Row(Code.LINK_STATE, OPTIONAL_NON_TRANSITIVE, _DISCARD, value.check_link_state),
    Row(
        Code.LARGE_COMMUNITIES,
        OPTIONAL_TRANSITIVE,
        _WITHDRAW,
        value.parse_large_communities,
        value.build_large_communities,
    ),
    Row(
        Code.ONLY_TO_CUSTOMER,
        OPTIONAL_TRANSITIVE,
        _WITHDRAW,
        value.parse_only_to_customer,
        lambda a, _: _number(a.only_to_customer),
    ),
    Row(Code.PREFIX_SID, OPTIONAL_TRANSITIVE, _DISCARD, value.check_prefix_sid),
)

ATTRIBUTES: dict[Code, Row] = {row.code: row for row in _ROWS}
