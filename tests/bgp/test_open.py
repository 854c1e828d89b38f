"""RFC 4271 4.2 and 6.2, RFC 6286, RFC 6793, RFC 7607, RFC 9072: OPENs and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.bgp.pair import CPE
from tests.bgp.script import KEEPALIVE, Script
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import MessageType
from vcstack.bgp.wire.stream import build_message

if TYPE_CHECKING:
    from vcstack.bgp.config import SessionConfig

IBGP = replace(CPE, remote_as=CPE.local_as)
BIG = replace(CPE, remote_as=4_200_000_000)
AS_64600 = "4104 0000fc58"
IPV4 = "0104 00010001"


@dataclass(frozen=True)
class Row:
    """One OPEN in hexadecimal: version, AS, hold time, router ID, parameters; then code, subcode and data."""

    name: str
    version: str = "04"
    asn: str = "fc58"
    hold: str = "001e"
    router_id: str = "64400101"
    parameters: str = "00"
    refused: tuple[int, int, str] | None = None
    config: SessionConfig = CPE
    hold_time_s: int = 30

    @property
    def message(self) -> bytes:
        fields = (self.version, self.asn, self.hold, self.router_id, self.parameters)
        return build_message(MessageType.OPEN, bytes.fromhex("".join(fields)))


def capabilities(*values: str) -> str:
    """All in one parameter."""
    inside = b"".join(bytes.fromhex(value) for value in values)
    return (bytes((len(inside) + 2, 2, len(inside))) + inside).hex()


ROWS = (
    Row("without capabilities"),
    Row("with ours", parameters=capabilities(IPV4, "0200", AS_64600)),
    Row("hold 0", hold="0000", hold_time_s=0),
    Row("hold 1", hold="0001", refused=(2, 6, "")),
    Row("hold 2", hold="0002", refused=(2, 6, "")),
    Row("hold 3", hold="0003", hold_time_s=3),
    Row("hold 65535", hold="ffff"),
    Row("version 3", version="03", refused=(2, 1, "0004")),
    Row("version 5", version="05", refused=(2, 1, "0004")),
    Row("version 0", version="00", refused=(2, 1, "0004")),
    Row("router ID 0", router_id="00000000", refused=(2, 3, "")),
    Row("router ID 0 inside an AS", asn="fc00", router_id="00000000", config=IBGP, refused=(2, 3, "")),
    Row("router ID of multicast", router_id="e0000001"),  # RFC 6286 2.1: any number but zero
    Row("router ID of all ones", router_id="ffffffff"),
    Row("router ID equal", router_id="64400102"),
    Row("router ID equal inside an AS", asn="fc00", router_id="64400102", config=IBGP, refused=(2, 3, "")),
    Row("router ID different inside an AS", asn="fc00", config=IBGP),
    Row("AS 0", asn="0000", refused=(2, 2, "")),
    Row("AS 0 in four octets", parameters=capabilities("4104 00000000"), refused=(2, 2, "")),
    Row("AS 0 in two octets and ours in four", asn="0000", parameters=capabilities(AS_64600)),
    Row("another AS", asn="fc59", refused=(2, 2, "")),
    Row("another AS in four octets", parameters=capabilities("4104 0000fc59"), refused=(2, 2, "")),
    Row("AS_TRANS", asn="5ba0", refused=(2, 2, "")),
    Row("AS_TRANS for a large one", asn="5ba0", parameters=capabilities("4104 fa56ea00"), config=BIG),
    Row("AS_TRANS in four octets", asn="5ba0", parameters=capabilities("4104 00005ba0"), refused=(2, 2, "")),
    Row("four octets of an AS number twice", parameters=capabilities(AS_64600, AS_64600)),
    Row("two octets of an AS number", parameters=capabilities("4102 fc58"), refused=(2, 0, "")),
    Row("IPv6 alone", parameters=capabilities("0104 00020001"), refused=(2, 7, "010400010001")),
    Row("IPv6 and IPv4", parameters=capabilities("0104 00020001", IPV4)),
    Row("IPv4 multicast alone", parameters=capabilities("0104 00010002"), refused=(2, 7, "010400010001")),
    Row("an unknown capability", parameters=capabilities("de03 010203")),
    Row("a capability of no length", parameters=capabilities("de00")),
    Row("a capability that runs over the end", parameters="04 0202 4104", refused=(2, 0, "")),
    Row("an empty capabilities parameter", parameters="02 0200"),
    Row("the authentication parameter", parameters="03 010100", refused=(2, 4, "")),
    Row("an unknown parameter", parameters="03 630100", refused=(2, 4, "")),
    Row("parameters longer than the message", parameters="05 0200", refused=(2, 0, "")),
    Row("parameters shorter than the message", parameters="00 0200", refused=(2, 0, "")),
    Row("half a parameter", parameters="01 02", refused=(2, 0, "")),
    Row("extended parameters", parameters="ff ff 0009 02 0006" + AS_64600),
    Row("extended parameters, plain length 1", parameters="01 ff 0009 02 0006" + AS_64600),
    Row("extended parameters, none inside", parameters="ff ff 0000"),
    Row(
        "extended parameters, plain length 0", parameters="00 ff 0009 02 0006" + AS_64600, refused=(2, 0, "")
    ),
    Row("extended parameters, too short", parameters="ff ff 0008 02 0006" + AS_64600, refused=(2, 0, "")),
    Row("extended parameters, too long", parameters="ff ff 000a 02 0006" + AS_64600, refused=(2, 0, "")),
    Row("255 bytes that are not extended", parameters="ff 02fd de fb" + "00" * 251),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_open(row: Row) -> None:
    script = Script(row.config)
    number = script.start()
    script.say(number, row.message, KEEPALIVE)
    if row.refused is None:
        assert script.peer.state is State.ESTABLISHED
        assert script.peer.snapshot().hold_time_s == row.hold_time_s
        return
    said = script.notification(number)
    assert (said.code, said.subcode, said.data.hex()) == row.refused
    assert script.closed == [number]
    assert script.peer.state is not State.ESTABLISHED


@pytest.mark.parametrize("row", [ROWS[1], ROWS[7], ROWS[10]], ids=lambda row: row.name)
@pytest.mark.parametrize("pause", [False, True])
def test_an_open_in_two_pieces(row: Row, pause: bool) -> None:
    for at in range(1, len(row.message)):
        script = Script(row.config)
        number = script.start()
        script.say(number, row.message[:at])
        assert script.kinds(number) == [MessageType.OPEN]
        if pause:
            script.wait(5)
        script.say(number, row.message[at:])
        expected = MessageType.KEEPALIVE if row.refused is None else MessageType.NOTIFICATION
        assert script.kinds(number) == [MessageType.OPEN, expected]
