"""One peer, and a test that plays the other end byte for byte; time is virtual."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from tests.bgp.pair import CPE, entropy
from vcstack.bgp.events import Close, Connect, Send
from vcstack.bgp.fsm import State
from vcstack.bgp.iana import MessageType, Origin
from vcstack.bgp.peer import Peer
from vcstack.bgp.wire.as_path import sequence
from vcstack.bgp.wire.attribute import Context, PathAttributes
from vcstack.bgp.wire.capability import (
    IPV4_UNICAST,
    ROUTE_REFRESH,
    FourOctetAs,
)
from vcstack.bgp.wire.notification import Notification, parse_notification
from vcstack.bgp.wire.open import Open
from vcstack.bgp.wire.stream import build_message
from vcstack.bgp.wire.update import Update

if TYPE_CHECKING:
    from vcstack.bgp.config import SessionConfig

KEEPALIVE = build_message(MessageType.KEEPALIVE)
ROUTE = PathAttributes(Origin.IGP, sequence(64600), IPv4Address("100.64.1.1"))


class Script:
    """One peer, and a test that plays the other end byte for byte."""

    def __init__(self, config: SessionConfig = CPE) -> None:
        self.peer = Peer(config, entropy())
        self.now = 0.0
        self.events: list[object] = []
        self.sent: dict[int, list[bytes]] = {}
        self.closed: list[int] = []
        self.connects: list[int] = []

    def pump(self) -> None:
        for action in self.peer.actions():
            match action:
                case Connect(number):
                    self.connects.append(number)
                case Send(number, data):
                    self.sent.setdefault(number, []).append(data)
                case Close(number):
                    self.closed.append(number)
        while (event := self.peer.next_event()) is not None:
            self.events.append(event)

    def start(self) -> int:
        """Start, and let the first connection come up."""
        self.peer.start(self.now)
        self.pump()
        return self.open_outbound()

    def open_outbound(self) -> int:
        number = self.connects[-1]
        self.peer.connection_opened(number, self.now, outbound=True)
        self.pump()
        return number

    def open_inbound(self) -> int:
        number = self.peer.new_connection()
        self.peer.connection_opened(number, self.now, outbound=False)
        self.pump()
        return number

    def say(self, number: int, *messages: bytes) -> None:
        self.peer.data_received(number, b"".join(messages), self.now)
        self.pump()

    def close(self, number: int, error: str = "") -> None:
        self.peer.connection_closed(number, self.now, error)
        self.pump()

    def tick(self) -> None:
        """Jump to the next deadline."""
        deadline = self.peer.next_timeout()
        assert deadline is not None
        self.now = deadline.at
        self.peer.handle_timeout(self.now)
        self.pump()

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.peer.next_timeout()) is not None and deadline.at <= until:
            self.tick()
        self.now = until

    def wait_for_connect(self) -> None:
        before = len(self.connects)
        while len(self.connects) == before:
            self.tick()

    def kinds(self, number: int) -> list[MessageType]:
        return [MessageType(data[18]) for data in self.sent.get(number, [])]

    def notification(self, number: int) -> Notification:
        last = self.sent[number][-1]
        assert last[18] == MessageType.NOTIFICATION
        return parse_notification(last[19:])

    def establish(self) -> int:
        number = self.start()
        self.say(number, their_open().build(), KEEPALIVE)
        assert self.peer.state is State.ESTABLISHED
        return number


def their_open(**changes: object) -> Open:
    values: dict[str, object] = {
        "two_octet_as": 64600,
        "hold_time_s": 30,
        "router_id": IPv4Address("100.64.1.1"),
        "capabilities": (IPV4_UNICAST, ROUTE_REFRESH, FourOctetAs(64600)),
    }
    return Open(**(values | changes))  # type: ignore[arg-type]


def route(*prefixes: IPv4Network, attributes: PathAttributes = ROUTE) -> bytes:
    return Update(attributes=attributes, announced=prefixes).build(Context())
