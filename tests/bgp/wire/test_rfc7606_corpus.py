"""The 88 malformed attributes of FRR's RFC 7606 suites (../shared/corpus/bgp, ISC licence)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from tests.support.shared import shared_json
from vcstack.bgp.errors import UpdateError
from vcstack.bgp.iana import AttributeCode
from vcstack.bgp.wire.attribute import WELL_KNOWN, Context, Flags, Outcome, RawAttribute
from vcstack.bgp.wire.update import parse_update

CORPUS = "corpus/bgp/frr/rfc7606_cases.json"
PREFIX = IPv4Network("10.0.0.0/24")
SORTS = {"ebgp": Context(internal=False), "ibgp": Context(internal=True)}


def message(case: dict[str, Any], context: Context) -> bytes:
    values = {
        AttributeCode.ORIGIN: b"\0",
        AttributeCode.AS_PATH: bytes.fromhex("02010000fde9"),
        AttributeCode.NEXT_HOP: IPv4Address(case["nexthop"] or "192.0.2.1").packed,
    }
    if context.internal:
        values[AttributeCode.LOCAL_PREF] = (100).to_bytes(4)
    raw = {code: RawAttribute(code, WELL_KNOWN, value) for code, value in values.items()}
    if case["attr_type"] is not None:
        code = AttributeCode(case["attr_type"])
        raw[code] = RawAttribute(code, Flags(case["flags"]), bytes.fromhex(case["data"]))
    packed = b"".join(raw[code].build() for code in sorted(raw))
    return b"\0\0" + len(packed).to_bytes(2) + packed + bytes.fromhex("180a0000")


def outcome(case: dict[str, Any], context: Context) -> tuple[str, list[int] | None]:
    try:
        update = parse_update(message(case, context), context)
    except UpdateError as error:
        return "session-reset", [error.code, error.subcode]
    if update.withdrawn:
        assert update.withdrawn == (PREFIX,)
        assert any(fault.outcome == Outcome.TREAT_AS_WITHDRAW for fault in update.faults)
        return "withdraw", None
    assert update.announced == (PREFIX,)
    return "discard", None


def test_all_cases() -> None:
    cases = shared_json(CORPUS)["cases"]
    assert len(cases) == 88
    wrong = []
    judged = 0
    for case in cases:
        for sort, context in SORTS.items():
            if sort in case["skip_sorts"]:
                continue
            judged += 1
            expected = (case["outcome"][sort], case.get("notification"))
            if outcome(case, context) != expected:
                wrong.append((case["suite"], case["name"], sort, expected, outcome(case, context)))
    assert wrong == []
    assert judged >= 2 * 88 - 10


@pytest.mark.parametrize("name", ["originator-id-len-3", "aggregator-len-5", "prefix-sid-tlv-overrun"])
def test_discarded_attributes_leave_a_fault(name: str) -> None:
    case = next(c for c in shared_json(CORPUS)["cases"] if c["name"] == name)
    update = parse_update(message(case, SORTS["ebgp"]), SORTS["ebgp"])
    assert [fault.outcome for fault in update.faults] == [Outcome.ATTRIBUTE_DISCARD]
