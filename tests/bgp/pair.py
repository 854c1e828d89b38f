"""Two peers in one process: a virtual clock and connections that cost nothing but their delay."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from vcstack.bgp.config import Announcement, SessionConfig
from vcstack.bgp.events import Close, Connect, Event, Send
from vcstack.bgp.fsm import State
from vcstack.bgp.peer import Peer
from vcstack.bgp.policy import DEFAULT_ROUTE, customer_edge, headend

if TYPE_CHECKING:
    from collections.abc import Callable

REGION = IPv4Network("10.77.0.0/24")
HALF = IPv4Network("10.77.0.0/25")
OTHER_HALF = IPv4Network("10.77.0.128/25")

_CPE_IN, _CPE_OUT = customer_edge(REGION)
_DC_IN, _DC_OUT = headend(REGION, HALF)

CPE = SessionConfig(
    local_as=64512,
    remote_as=64600,
    router_id=IPv4Address("100.64.1.2"),
    local_address=IPv4Address("100.64.1.2"),
    remote_address=IPv4Address("100.64.1.1"),
    policy_in=_CPE_IN,
    policy_out=_CPE_OUT,
    announce=(Announcement(DEFAULT_ROUTE),),
    hold_time_s=30,
)
DC = replace(
    CPE,
    local_as=64600,
    remote_as=64512,
    router_id=IPv4Address("100.64.1.1"),
    local_address=IPv4Address("100.64.1.1"),
    remote_address=IPv4Address("100.64.1.2"),
    policy_in=_DC_IN,
    policy_out=_DC_OUT,
    announce=(Announcement(HALF), Announcement(REGION)),
)


def entropy(seed: int = 1) -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    return random.Random(seed).randbytes


@dataclass
class End:
    """One peer with what it has told."""

    name: str
    peer: Peer
    events: list[Event]
    listens: bool = True

    @property
    def state(self) -> State:
        return self.peer.state


@dataclass
class Wire:
    """One TCP connection: the number that each end knows it by."""

    numbers: dict[str, int]
    opened_by: str
    up: bool = True


class Pair:
    """A CPE and a data centre, joined by a network with a delay, a switch and a way to change bytes."""

    def __init__(self, cpe: SessionConfig = CPE, dc: SessionConfig = DC, delay_s: float = 0.01) -> None:
        self.now = 0.0
        self.delay_s = delay_s
        self.reachable = True
        self.segment_bytes = 65536
        self.cpe = End("cpe", Peer(cpe, entropy(1)), [])
        self.dc = End("dc", Peer(dc, entropy(2)), [])
        self.wires: list[Wire] = []
        self.sent: list[tuple[float, str, bytes]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def replace_cpe(self, config: SessionConfig) -> None:
        """Start another process in place of the CPE's; its connections are gone."""
        for wire in self.wires:
            wire.up = False
        self.cpe.peer = Peer(config, entropy(3))
        self.cpe.peer.start(self.now)

    def other(self, end: End) -> End:
        return self.dc if end is self.cpe else self.cpe

    def start(self) -> None:
        for end in (self.cpe, self.dc):
            end.peer.start(self.now)
        self.settle()

    def settle(self) -> None:
        """Carry out what both peers ask for at this moment."""
        for end in (self.cpe, self.dc):
            while actions := end.peer.actions():
                for action in actions:
                    self._do(end, action)
            while (event := end.peer.next_event()) is not None:
                end.events.append(event)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self.settle()
        while (at := self._next()) is not None and at <= until:
            self.now = max(at, self.now)
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
                self.settle()
            for end in (self.cpe, self.dc):
                end.peer.handle_timeout(self.now)
            self.settle()
        self.now = until

    def run_until(self, condition: Callable[[], bool], limit_s: float = 120.0) -> float:
        """Let time pass until the condition holds; returns how long it took."""
        start = self.now
        while not condition():
            assert self.now - start < limit_s, f"not within {limit_s} s: {self.cpe.state}, {self.dc.state}"
            self.run(0.05)
        return self.now - start

    @property
    def established(self) -> bool:
        return self.cpe.state is State.ESTABLISHED and self.dc.state is State.ESTABLISHED

    def _next(self) -> float | None:
        times = [self._queue[0][0]] if self._queue else []
        times += [d.at for end in (self.cpe, self.dc) if (d := end.peer.next_timeout()) is not None]
        return min(times, default=None)

    def _after_delay(self, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + self.delay_s, next(self._order), call))

    def _do(self, end: End, action: Connect | Send | Close) -> None:
        if isinstance(action, Connect):
            self._after_delay(lambda: self._connect(end, action.connection))
            return
        wire = next((w for w in self.wires if w.numbers.get(end.name) == action.connection), None)
        if wire is None:
            return
        if isinstance(action, Send):
            self.sent.append((self.now, end.name, action.data))
            for at in range(0, len(action.data), self.segment_bytes):
                piece = action.data[at : at + self.segment_bytes]
                self._after_delay(lambda piece=piece: self._deliver(end, wire, piece))  # type: ignore[misc]
        else:
            self._after_delay(lambda: self._close(end, wire))

    def _connect(self, end: End, number: int) -> None:
        other = self.other(end)
        if not self.reachable:
            return
        if not other.listens or other.peer.snapshot().reason.startswith(("stopped", "not started")):
            end.peer.connection_failed(number, "connection refused", self.now)
            return
        theirs = other.peer.new_connection()
        wire = Wire({end.name: number, other.name: theirs}, end.name)
        self.wires.append(wire)
        end.peer.connection_opened(number, self.now, outbound=True)
        other.peer.connection_opened(theirs, self.now, outbound=False)

    def _deliver(self, end: End, wire: Wire, data: bytes) -> None:
        other = self.other(end)
        if wire.up and self.reachable:
            other.peer.data_received(wire.numbers[other.name], data, self.now)

    def _close(self, end: End, wire: Wire) -> None:
        other = self.other(end)
        if wire.up and self.reachable:
            other.peer.connection_closed(wire.numbers[other.name], self.now)
        wire.up = False
