"""RFC 4271 4.3 and 6.3, RFC 4760, RFC 6793, RFC 7606, RFC 7607."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bgp.strategies import attributes, prefix_tuples, quick, updates
from vcstack.bgp.constants import AS_TRANS
from vcstack.bgp.errors import UpdateError
from vcstack.bgp.iana import AttributeCode, Origin, SegmentType, UpdateSubcode
from vcstack.bgp.wire.as_path import AsPath, Segment, merge_as4_path, sequence
from vcstack.bgp.wire.attribute import (
    OPTIONAL_NON_TRANSITIVE,
    OPTIONAL_TRANSITIVE,
    WELL_KNOWN,
    Aggregator,
    Context,
    Flags,
    Outcome,
    PathAttributes,
    RawAttribute,
)
from vcstack.bgp.wire.attribute_table import ATTRIBUTES
from vcstack.bgp.wire.update import Update, parse_update

NEW = Context(four_octet_as=True)
OLD = Context(four_octet_as=False)
PREFIX = IPv4Network("10.0.0.0/24")
NLRI = bytes.fromhex("180a0000")
ORIGIN = RawAttribute(AttributeCode.ORIGIN, WELL_KNOWN, b"\0")
PATH = RawAttribute(AttributeCode.AS_PATH, WELL_KNOWN, bytes.fromhex("02010000fde9"))
NEXT_HOP = RawAttribute(AttributeCode.NEXT_HOP, WELL_KNOWN, bytes((192, 0, 2, 1)))
BASE = (ORIGIN, PATH, NEXT_HOP)


def body(raw: tuple[RawAttribute, ...] | bytes = BASE, nlri: bytes = NLRI, withdrawn: bytes = b"") -> bytes:
    packed = raw if isinstance(raw, bytes) else b"".join(attribute.build() for attribute in raw)
    return len(withdrawn).to_bytes(2) + withdrawn + len(packed).to_bytes(2) + packed + nlri


def attribute(code: int, flags: Flags, value: str = "") -> RawAttribute:
    return RawAttribute(AttributeCode(code), flags, bytes.fromhex(value))


@quick
@given(updates)
def test_round_trip(value: Update) -> None:
    assert parse_update(value.build(NEW)[19:], NEW) == value


@quick
@given(attributes)
def test_round_trip_with_an_old_speaker(value: PathAttributes) -> None:
    """Two-octet sessions lose nothing: AS4_PATH and AS4_AGGREGATOR carry what AS_TRANS hides."""
    update = Update(attributes=value, announced=(PREFIX,))
    parsed = parse_update(update.build(OLD)[19:], OLD)
    assert parsed.attributes is not None
    aggregated_by_an_old_speaker = value.aggregator is not None and value.aggregator.asn <= 0xFFFF
    if not aggregated_by_an_old_speaker:  # RFC 6793 4.2.3: then AS4_PATH does not count
        assert parsed.attributes == value
    assert parsed.attributes.as_path.length == value.as_path.length


@quick
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes(data: bytes, four: bool, internal: bool) -> None:
    context = Context(four_octet_as=four, internal=internal)
    try:
        update = parse_update(data, context)
    except UpdateError:
        return
    assert update.end_of_rib in {True, False}


@quick
@given(st.binary(max_size=300), st.booleans())
def test_any_attributes_with_a_prefix(data: bytes, four: bool) -> None:
    """With a prefix behind them, attributes end in a value or in a reset, and the prefix is never lost."""
    try:
        update = parse_update(body(data), Context(four_octet_as=four))
    except UpdateError:
        return
    assert PREFIX in update.withdrawn + update.announced


@quick
@given(st.sampled_from(sorted(ATTRIBUTES)), st.integers(0, 15), st.binary(max_size=40))
def test_any_value_of_each_attribute(code: AttributeCode, flags: int, data: bytes) -> None:
    raw = RawAttribute(code, Flags(flags << 4 & 0xE0), data)
    others = tuple(a for a in BASE if a.code != code)
    try:
        update = parse_update(body((*others, raw)), NEW)
    except UpdateError:
        assert ATTRIBUTES[code].outcome == Outcome.SESSION_RESET
    else:
        treated = any(f.outcome == Outcome.TREAT_AS_WITHDRAW for f in update.faults)
        assert (PREFIX in update.withdrawn) == treated


def test_golden() -> None:
    """What we announce: ORIGIN IGP, AS_PATH 64512, NEXT_HOP 100.64.1.2, 0.0.0.0/0."""
    value = PathAttributes(Origin.IGP, sequence(64512), IPv4Address("100.64.1.2"))
    built = Update(attributes=value, announced=(IPv4Network("0.0.0.0/0"),)).build(NEW)
    assert (
        built[19:].hex() == "0000" + "0014" + "40010100" + "400206" + "02010000fc00" + "40030464400102" + "00"
    )


@quick
@given(prefix_tuples)
def test_prefixes_with_stray_bits_are_masked(prefixes: tuple[IPv4Network, ...]) -> None:
    raw = b"".join(
        bytes((p.prefixlen,))
        + (int(p.network_address) | int(p.hostmask)).to_bytes(4)[: (p.prefixlen + 7) // 8]
        for p in prefixes
    )
    assert parse_update(body(b"", b"", raw), NEW).withdrawn == prefixes


def test_end_of_rib() -> None:
    assert parse_update(body(b"", b""), NEW).end_of_rib
    assert not parse_update(body(), NEW).end_of_rib
    unreach = attribute(15, OPTIONAL_NON_TRANSITIVE, "000101")
    assert parse_update(body((unreach,), b""), NEW).end_of_rib
    of_ipv6 = attribute(15, OPTIONAL_NON_TRANSITIVE, "000201")
    assert not parse_update(body((of_ipv6,), b""), NEW).end_of_rib


@pytest.mark.parametrize("data", ["", "00", "0000", "000500000000", "00000005", "0001180000"])
def test_lengths_that_do_not_fit(data: str) -> None:
    with pytest.raises(UpdateError) as caught:
        parse_update(bytes.fromhex(data), NEW)
    assert caught.value.subcode in {
        UpdateSubcode.MALFORMED_ATTRIBUTE_LIST,
        UpdateSubcode.INVALID_NETWORK_FIELD,
    }


@pytest.mark.parametrize("field", ["nlri", "withdrawn"])
@pytest.mark.parametrize("raw", ["21 0a000000 00", "18 0a00", "20 0a0000"])
def test_impossible_prefixes_reset(field: str, raw: str) -> None:
    """RFC 7606 3 i, j: without its prefixes the UPDATE cannot be treated as a withdrawal."""
    with pytest.raises(UpdateError) as caught:
        parse_update(body(**{field: bytes.fromhex(raw)}), NEW)
    assert caught.value.subcode == UpdateSubcode.INVALID_NETWORK_FIELD


@pytest.mark.parametrize("missing", BASE, ids=lambda a: a.code.name)
def test_missing_mandatory_attribute(missing: RawAttribute) -> None:
    """RFC 7606 3 d."""
    update = parse_update(body(tuple(a for a in BASE if a is not missing)), NEW)
    assert (update.withdrawn, update.announced) == ((PREFIX,), ())
    assert update.faults[0].detail == f"{missing.code.name} is missing"


def test_local_pref_is_mandatory_only_inside_an_as() -> None:
    assert parse_update(body(), Context(internal=True)).withdrawn == (PREFIX,)
    local_pref = attribute(5, WELL_KNOWN, "00000064")
    inside = parse_update(body((*BASE, local_pref)), Context(internal=True))
    assert inside.attributes is not None
    assert inside.attributes.local_pref == 100
    outside = parse_update(body((*BASE, local_pref)), NEW)
    assert outside.attributes is not None
    assert outside.attributes.local_pref is None
    assert outside.faults[0].outcome == Outcome.ATTRIBUTE_DISCARD


def test_malformed_attribute_without_prefixes_resets() -> None:
    """RFC 7606 5.2: nobody knows which prefixes were meant (FRR issue 22563)."""
    bad = (RawAttribute(AttributeCode.ORIGIN, WELL_KNOWN, b"\x07"), PATH, NEXT_HOP)
    with pytest.raises(UpdateError) as caught:
        parse_update(body(bad, b""), NEW)
    assert caught.value.subcode == UpdateSubcode.INVALID_ORIGIN_ATTRIBUTE
    assert caught.value.data == bad[0].build()
    with pytest.raises(UpdateError):
        parse_update(body(bad, b"", NLRI), NEW)


def test_a_discarded_attribute_without_prefixes_does_not_reset() -> None:
    update = parse_update(body((*BASE, attribute(6, WELL_KNOWN, "01")), b""), NEW)
    assert [fault.outcome for fault in update.faults] == [Outcome.ATTRIBUTE_DISCARD]


def test_attributes_without_prefixes_are_no_error() -> None:
    assert parse_update(body(BASE, b""), NEW) == Update()


def test_strongest_outcome_wins() -> None:
    """RFC 7606 3 h."""
    faults = (attribute(6, WELL_KNOWN, "01"), attribute(4, OPTIONAL_NON_TRANSITIVE, "00"))
    update = parse_update(body((*BASE, *faults)), NEW)
    assert [f.outcome for f in update.faults] == [Outcome.ATTRIBUTE_DISCARD, Outcome.TREAT_AS_WITHDRAW]
    assert update.withdrawn == (PREFIX,)
    with pytest.raises(UpdateError):
        parse_update(body((*BASE, *faults, attribute(14, OPTIONAL_NON_TRANSITIVE, "00"))), NEW)


def test_first_of_duplicates_counts() -> None:
    """RFC 7606 3 g."""
    second = RawAttribute(AttributeCode.ORIGIN, WELL_KNOWN, b"\x02")
    update = parse_update(body((*BASE, second)), NEW)
    assert update.attributes is not None
    assert update.attributes.origin == Origin.IGP
    reach = attribute(15, OPTIONAL_NON_TRANSITIVE, "000101")
    with pytest.raises(UpdateError) as caught:
        parse_update(body((*BASE, reach, reach)), NEW)
    assert caught.value.subcode == UpdateSubcode.MALFORMED_ATTRIBUTE_LIST


@pytest.mark.parametrize("tail", ["40", "4001", "400102", "50010001", "c0ff05aa"])
def test_overrun_inside_the_attributes(tail: str) -> None:
    """RFC 7606 4: the total length still finds the prefixes."""
    update = parse_update(body(b"".join(a.build() for a in BASE) + bytes.fromhex(tail)), NEW)
    assert update.withdrawn == (PREFIX,)


def test_unknown_attributes() -> None:
    """RFC 4271 5: only optional ones may be unknown, and transitive ones are kept."""
    kept = attribute(200, OPTIONAL_TRANSITIVE, "aa")
    update = parse_update(body((*BASE, kept, attribute(201, OPTIONAL_NON_TRANSITIVE, "bb"))), NEW)
    assert update.attributes is not None
    assert update.attributes.unknown == (kept,)
    with pytest.raises(UpdateError) as caught:
        parse_update(body((*BASE, attribute(202, WELL_KNOWN, "cc"))), NEW)
    assert caught.value.subcode == UpdateSubcode.UNRECOGNIZED_WELLKNOWN_ATTRIBUTE
    assert caught.value.data == bytes.fromhex("40ca01cc")


def test_multiprotocol_ipv4() -> None:
    """RFC 4760: IPv4 unicast may come in MP_REACH_NLRI, with a next hop of its own."""
    reach = attribute(14, OPTIONAL_NON_TRANSITIVE, "000101 04 c0000202 00 180a0001")
    update = parse_update(body((ORIGIN, PATH, reach), b""), NEW)
    assert list(update.reachable()) == [(IPv4Network("10.0.1.0/24"), IPv4Address("192.0.2.2"))]
    both = parse_update(body((*BASE, reach)), NEW)
    assert dict(both.reachable())[PREFIX] == IPv4Address("192.0.2.1")
    unreach = attribute(15, OPTIONAL_NON_TRANSITIVE, "000101 180a0001")
    assert parse_update(body((unreach,), b""), NEW).withdrawn == (IPv4Network("10.0.1.0/24"),)
    no_host = attribute(14, OPTIONAL_NON_TRANSITIVE, "000101 04 00000000 00 180a0001")
    withdrawn = parse_update(body((ORIGIN, PATH, no_host), b""), NEW).withdrawn
    assert withdrawn == (IPv4Network("10.0.1.0/24"),)


def test_another_family_is_checked_and_forgotten() -> None:
    reach = attribute(14, OPTIONAL_NON_TRANSITIVE, "000201 10" + "20" * 16 + "00 40" + "20" * 8)
    update = parse_update(body((ORIGIN, PATH, reach), b""), NEW)
    assert (list(update.reachable()), update.withdrawn) == ([], ())
    labelled = attribute(15, OPTIONAL_NON_TRANSITIVE, "000180 ff")
    assert parse_update(body((labelled,), b""), NEW) == Update()


def test_as4_attributes_between_new_speakers_are_discarded() -> None:
    """RFC 6793 4.1."""
    as4 = attribute(17, OPTIONAL_TRANSITIVE, "020100010000")
    update = parse_update(body((*BASE, as4)), NEW)
    assert update.attributes is not None
    assert update.attributes.as_path == sequence(0xFDE9)
    assert update.faults[0].outcome == Outcome.ATTRIBUTE_DISCARD


def test_as4_path_is_ignored_behind_an_old_aggregator() -> None:
    """RFC 6793 4.2.3."""
    raw = (
        ORIGIN,
        attribute(2, WELL_KNOWN, "0202fde95ba0"),
        NEXT_HOP,
        attribute(7, OPTIONAL_TRANSITIVE, "fde9 0a000001"),
        attribute(17, OPTIONAL_TRANSITIVE, "020100010000"),
    )
    update = parse_update(body(raw), OLD)
    assert update.attributes is not None
    assert update.attributes.as_path == sequence(0xFDE9, AS_TRANS)
    assert update.attributes.aggregator == Aggregator(0xFDE9, IPv4Address("10.0.0.1"))


def test_merged_path() -> None:
    path = AsPath((Segment(SegmentType.AS_SET, (1, 2)), Segment(SegmentType.AS_SEQUENCE, (3, AS_TRANS))))
    assert str(merge_as4_path(path, sequence(70000))) == "{1,2} 3 70000"
    assert merge_as4_path(sequence(1), sequence(2, 3)) == sequence(1)
    assert merge_as4_path(sequence(1, 2), sequence(8, 9)) == sequence(8, 9)


def test_confederation_segments_from_outside() -> None:
    """RFC 5065 5: they never leave a confederation."""
    confederation = attribute(2, WELL_KNOWN, "0301 0000fde9")
    update = parse_update(body((ORIGIN, confederation, NEXT_HOP)), NEW)
    assert update.withdrawn == (PREFIX,)
    kept = parse_update(
        body((ORIGIN, confederation, NEXT_HOP, attribute(5, WELL_KNOWN, "00000064"))), Context(internal=True)
    )
    assert kept.attributes is not None
    assert (kept.attributes.as_path.length, kept.attributes.as_path.first) == (0, None)


def test_a_message_that_is_too_long_cannot_be_built() -> None:
    many = tuple(IPv4Network((n << 8, 24)) for n in range(1024))
    with pytest.raises(OverflowError):
        Update(withdrawn=many).build(NEW)
