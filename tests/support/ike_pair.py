"""Two IKEv2 endpoints in memory: a virtual clock, a network that is as bad as a seed says, and a judge.

`Pair.run` moves the clock from event to event. `Pair.wire` holds datagrams on their way; a test may
look at them, hold them back, drop or repeat them. Each end has a `DataPath` that does what a forwarder
does with the machine's events, and complains about impossible ones.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from vcstack.ikev2.child_sa import ChildSa
from vcstack.ikev2.config import BackoffPolicy, PeerConfig
from vcstack.ikev2.endpoint import Datagram, Endpoint, Path
from vcstack.ikev2.events import ChildRetired, Event, InboundReady, OutboundReady
from vcstack.ikev2.iana import ExchangeType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.ikev2.wire.header import Header, parse_header
from vcstack.wire.deadline import Deadline
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

CPE = IPv4Address("198.51.100.1")
DATA_CENTRE = IPv4Address("198.51.100.10")
GRE = 47
IKE = "aes256gcm16-prfsha256-curve25519"
ESP_PFS = "aes256gcm16-curve25519"
ESP = "aes256gcm16"


def peer_config(name: str, local: IPv4Address, remote: IPv4Address, **changes: object) -> PeerConfig:
    """A sensible configuration with small Diffie-Hellman groups, and whatever a test changes of it."""
    config = PeerConfig(
        name=name,
        local_address=local,
        remote_address=remote,
        local_id=Identity.parse(str(local)),
        remote_id=Identity.parse(str(remote)),
        local_psk=Secret(b"a shared secret"),
        remote_psk=Secret(b"a shared secret"),
        ike_proposals=(IkeProposal.parse(IKE),),
        esp_proposals=(EspProposal.parse(ESP_PFS),),
        local_ts=(TrafficSelector.host(local, GRE),),
        remote_ts=(TrafficSelector.host(remote, GRE),),
        child_retry=BackoffPolicy(floor_s=2.0, ceiling_s=20.0),
    )
    return replace(config, **changes)  # type: ignore[arg-type]  # a test names fields and their values


def initiator_config(**changes: object) -> PeerConfig:
    """The branch."""
    return peer_config("dc", CPE, DATA_CENTRE, **changes)


def responder_config(**changes: object) -> PeerConfig:
    """The data centre, which only answers unless told otherwise."""
    return peer_config("branch", DATA_CENTRE, CPE, **{"initiate": False, **changes})


class DataPath:
    """What a forwarder knows of the child SAs of one end."""

    LINGER_S = 5.0

    def __init__(self) -> None:
        self.inbound: dict[int, ChildSa] = {}
        self.outbound: ChildSa | None = None
        self.lingering: dict[int, float] = {}
        self.used: set[int] = set()
        self.sent = 0
        self.refused: list[str] = []
        """Packets that arrived and could not be opened."""
        self.unsent: list[float] = []
        """When a packet could not be sent at all."""
        self.log: list[str] = []

    def apply(self, event: Event, now: float) -> None:
        """Do what the event says; AssertionError when it makes no sense."""
        if isinstance(event, InboundReady):
            assert event.child.spi_in not in self.inbound, "installed twice"
            self.inbound[event.child.spi_in] = event.child
        elif isinstance(event, OutboundReady):
            assert event.child.spi_in in self.inbound, "outbound before inbound"
            self.outbound = event.child
        elif isinstance(event, ChildRetired):
            assert event.spi_in in self.inbound, "retired without having been installed"
            del self.inbound[event.spi_in]
            self.lingering[event.spi_in] = now + self.LINGER_S
            if self.outbound is not None and self.outbound.spi_in == event.spi_in:
                self.outbound = None
        self.log.append(type(event).__name__)

    def can_receive(self, spi: int, now: float) -> bool:
        """Whether a packet with that SPI would be opened."""
        return spi in self.inbound or self.lingering.get(spi, -1.0) >= now


@dataclass
class Network:
    """How bad the way is: probabilities, and delays in seconds."""

    delay_s: float = 0.02
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0


@dataclass(order=True)
class Packet:
    """An ESP packet that arrives at `at`."""

    at: float
    number: int
    to: str = field(compare=False)
    spi: int = field(compare=False)


@dataclass(order=True)
class InFlight:
    """A datagram that arrives at `at`."""

    at: float
    number: int
    to: str = field(compare=False)
    data: bytes = field(compare=False)
    path: Path = field(compare=False)

    @property
    def header(self) -> Header:
        """Its IKE header."""
        return parse_header(self.data)

    def __str__(self) -> str:
        header = self.header
        kind = "response" if header.is_response else "request"
        return f"-> {self.to} {header.exchange} {kind} {header.message_id}"


class Node:
    """One end."""

    def __init__(self, name: str, config: PeerConfig, rng: random.Random, now: float) -> None:
        self.name = name
        self.endpoint = Endpoint(config, rng.randbytes, now)
        self.data = DataPath()
        self.events: list[Event] = []

    def saw(self, kind: type[Event]) -> int:
        """How many events of a class came."""
        return sum(isinstance(event, kind) for event in self.events)


class Pair:
    """`a` and `b`, and the wire between them."""

    def __init__(
        self,
        a: PeerConfig | None = None,
        b: PeerConfig | None = None,
        *,
        seed: int = 1,
        network: Network | None = None,
    ) -> None:
        self.now = 1000.0
        self._rng = random.Random(seed)
        self.network = network or Network()
        self.a = Node("a", a or initiator_config(), random.Random(self._rng.random()), self.now)
        self.b = Node("b", b or responder_config(), random.Random(self._rng.random()), self.now)
        self.wire: list[InFlight] = []
        self.history: list[str] = []
        self.filter: Callable[[InFlight], bool] = lambda _: True
        """Says of each datagram whether the network takes it at all."""
        self.translate: Callable[[Node, Path], Path] = lambda _, path: path
        """A NAT: the path as its sender has it, turned into what the outside sees."""
        self.check: Callable[[], None] = lambda: None
        """Called after every step."""
        self.packet_interval_s: float | None = None
        """Both ends send an ESP packet that often once they can."""
        self._next_packet_at = self.now
        self._packets: list[Packet] = []
        self._number = 0

    @property
    def nodes(self) -> tuple[Node, Node]:
        """Both ends."""
        return self.a, self.b

    def other(self, node: Node) -> Node:
        """The peer of an end."""
        return self.b if node is self.a else self.a

    def start(self) -> "Pair":
        """Let both begin, and bring the tunnel up."""
        for node in self.nodes:
            node.endpoint.start(self.now)
            self.flush(node)
        return self

    def establish(self) -> "Pair":
        """Start, and run until both can send."""
        self.start()
        self.run_until(lambda: all(node.data.outbound is not None for node in self.nodes), 30.0)
        self.run(2.0)
        return self

    def flush(self, node: Node) -> None:
        """Events first, then datagrams, as the machine's owner has to do it."""
        while (event := node.endpoint.next_event()) is not None:
            node.events.append(event)
            node.data.apply(event, self.now)
        for datagram in node.endpoint.datagrams_to_send():
            self._send(node, datagram)
        self.check()

    def act(self, node: Node, call: Callable[[Endpoint], None]) -> None:
        """Call something of an endpoint, and take what comes of it."""
        call(node.endpoint)
        self.flush(node)

    def record(self) -> list[InFlight]:
        """A list that every datagram sent from now on joins."""
        sent: list[InFlight] = []

        def note(item: InFlight) -> bool:
            sent.append(item)
            return True

        self.filter = note
        return sent

    def deliver(self, item: InFlight) -> None:
        """Let one datagram arrive now."""
        if item in self.wire:
            self.wire.remove(item)
        node = self.a if item.to == "a" else self.b
        node.endpoint.receive_datagram(item.data, item.path, self.now)
        self.flush(node)

    def take(self, to: str) -> InFlight:
        """The next datagram to that end, off the wire: the test decides what becomes of it."""
        item = min(item for item in self.wire if item.to == to)
        self.wire.remove(item)
        return item

    def pass_on(self, to: str, what: str) -> InFlight:
        """Let the next datagram to that end arrive, and check that it is what the test expects."""
        item = self.take(to)
        assert what in str(item), f"{item} instead of {what}"
        self.deliver(item)
        return item

    def drop(self, to: str, what: str) -> None:
        """Lose the next datagram to that end."""
        item = self.take(to)
        assert what in str(item), f"{item} instead of {what}"

    def rekey_child(self, node: Node) -> None:
        """Let the child that carries the traffic of an end reach its soft limit."""
        child = node.data.outbound
        assert child is not None
        self.act(node, lambda endpoint: endpoint.child_soft_expired(child.spi_in, "test", self.now))

    def rekey_ike(self, node: Node) -> None:
        """Let an end rekey the IKE SA."""
        self.act(node, lambda endpoint: endpoint.rekey_ike(self.now))

    def assert_one_tunnel(self) -> ChildSa:
        """Both ends have one IKE SA and one child, and send on that; returns the child of `a`."""
        ((child, twin),) = self.agree()
        assert self.a.data.outbound is child
        assert self.b.data.outbound is twin
        spis = [{sa.spi_i for sa in node.endpoint.ike_sas.values() if sa.is_up} for node in self.nodes]
        assert spis[0] == spis[1]
        assert len(spis[0]) == 1
        for node in self.nodes:
            states = [sa.state for sa in node.endpoint.snapshot(self.now).ike_sas]
            assert states == ["established"]
            assert not node.data.refused
        return child

    def run(self, duration_s: float) -> None:
        """Let that much time pass."""
        end = self.now + duration_s
        while self.step(end):
            pass
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Let time pass until something is so; AssertionError when it does not become so."""
        end = self.now + limit_s
        while not condition():
            assert self.step(end), f"not within {limit_s} s: {self.history[-10:]}"

    def step(self, end: float) -> bool:
        """Go to the next thing that happens before `end`; False when nothing does."""
        moments = [(item.at, 0) for item in self.wire] + [(packet.at, 2) for packet in self._packets]
        if self.packet_interval_s is not None:
            moments.append((self._next_packet_at, 3))
        timeouts = [(node, node.endpoint.next_timeout()) for node in self.nodes]
        moments += [(deadline.at, 1) for _, deadline in timeouts if deadline is not None]
        if not moments or min(moments)[0] > end:
            return False
        at, kind = min(moments)
        self.now = max(self.now, at)
        if kind == 0:
            self.deliver(min(self.wire))
        elif kind == 1:
            self._time_out(timeouts)
        elif kind == 2:
            self._receive_packet()
        else:
            self._send_packets()
        return True

    def _time_out(self, timeouts: list[tuple[Node, Deadline | None]]) -> None:
        for node, deadline in timeouts:
            if deadline is not None and deadline.at <= self.now:
                self.act(node, lambda endpoint: endpoint.handle_timeout(self.now))

    def _send_packets(self) -> None:
        assert self.packet_interval_s is not None
        self._next_packet_at = self.now + self.packet_interval_s
        for node in self.nodes:
            if node.data.outbound is None:
                node.data.unsent.append(self.now)
                continue
            node.data.sent += 1
            delay = self.network.delay_s + self._rng.random() * self.network.jitter_s
            if self._rng.random() >= self.network.loss:
                self._number += 1
                spi = node.data.outbound.spi_out
                self._packets.append(Packet(self.now + delay, self._number, self.other(node).name, spi))

    def _receive_packet(self) -> None:
        packet = min(self._packets)
        self._packets.remove(packet)
        node = self.a if packet.to == "a" else self.b
        if not node.data.can_receive(packet.spi, self.now):
            node.data.refused.append(f"{self.now:.3f} {packet.spi:08x}")
            return
        node.endpoint.traffic_seen(self.now)
        if packet.spi not in node.data.used:
            node.data.used.add(packet.spi)
            self.act(node, lambda endpoint: endpoint.inbound_used(packet.spi, self.now))

    def agree(self) -> Iterator[tuple[ChildSa, ChildSa]]:
        """The child SAs of both ends in pairs, with their keys compared; AssertionError when they differ."""
        theirs = {child.spi_in: child for child in self.b.data.inbound.values()}
        assert len(theirs) == len(self.a.data.inbound)
        for child in self.a.data.inbound.values():
            twin = theirs[child.spi_out]
            assert twin.spi_out == child.spi_in
            assert (child.key_in, child.key_out) == (twin.key_out, twin.key_in)
            assert (child.local_ts, child.remote_ts) == (twin.remote_ts, twin.local_ts)
            assert child.udp_encapsulation == twin.udp_encapsulation
            yield child, twin

    def _send(self, node: Node, datagram: Datagram) -> None:
        seen = self.translate(node, datagram.path)
        path = Path(seen.remote, seen.remote_port, seen.local, seen.local_port)
        copies = 1 + (self._rng.random() < self.network.duplication)
        for _ in range(copies):
            self._number += 1
            data = datagram.data
            if self._rng.random() < self.network.corruption:
                data = self._corrupt(data)
            delay = self.network.delay_s + self._rng.random() * self.network.jitter_s
            item = InFlight(self.now + delay, self._number, self.other(node).name, data, path)
            if self.filter(item) and self._rng.random() >= self.network.loss:
                self.history.append(f"{self.now:.2f} {item}" if data is datagram.data else "corrupted")
                self.wire.append(item)

    def _corrupt(self, data: bytes) -> bytes:
        at = self._rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._rng.randrange(8)]) + data[at + 1 :]


def exchange_of(item: InFlight) -> tuple[ExchangeType, bool]:
    """Which exchange a datagram belongs to, and whether it is the response."""
    return item.header.exchange, item.header.is_response
