"""The control process and a forwarder speak over one SOCK_SEQPACKET socket pair.

Every message is one packet: a MessagePack map with a `type` tag. Commands go down, reports come up.
Key material crosses this socket and nothing else: it is never in a file, an argument or an environment.
Nothing here is pickled, so neither end can make the other run code.

    control                                          forwarder
       | --- Configure, SetPath, InstallInbound -------> |
       | --- InstallOutbound, Retire, SlowPathEsp -----> |
       | <-- IkeDatagram, LineState, SoftExpired ------- |
       | <-- InboundUsed, PeerMoved, Offloads ---------- |
       | (end of file: the forwarder leaves)             |
"""

import socket
from collections import deque
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any

import msgspec

from vcstack.esp.parameters import SaParameters
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

MAX_MESSAGE_BYTES = 70_000
"""An IKE datagram of 65,507 bytes with its envelope."""

SOCKET_BUFFER_BYTES = 1 << 20
"""Room for a burst of SA installations and IKE fragments while the other end is busy."""


class ForwarderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a forwarder must know of its tunnel, apart from the path and the security associations."""

    name: str
    gre_local: IPv4Address
    gre_remote: IPv4Address
    gre_key: int | None = None
    keepalive: bool = True
    """Originate keepalives; the peer's are reflected in any case."""
    keepalive_interval_s: float = 10.0
    keepalive_retries: int = 3
    keepalive_damping: bool = False
    """Hold a line that failed down until it has proved itself."""
    mss: int = 1350
    """Ceiling of the MSS option in SYN segments, both directions; 0 leaves them alone."""
    tunnel_mtu: int = 1414
    """Largest inner packet, in bytes."""
    path_mtu_discovery: bool = True
    """Copy the inner DF bit to the GRE delivery header, and set DF on what carries ESP."""
    interface_local: IPv4Address | None = None
    """The tunnel interface's own address."""
    interface_remote: IPv4Address | None = None
    """The peer's address on the tunnel; with ours it tells keepalives that carry interface addresses.

    ICMP errors to the LAN come from it (default: the peer's GRE address), as if from the next hop: a
    packet from one of the host's own addresses would be refused as a martian.
    """
    copy_dscp: bool = True
    """Show the inner DSCP on the packets that carry ESP."""
    udp_segment: bool = True
    udp_gro: bool = True
    sendmmsg: bool = True
    """Each offload can be switched off; a missing one is detected at start."""


# ------------------------------------------------------------------------------- control -> forwarder


class Configure(msgspec.Struct, frozen=True, tag=True):
    """Set or replace the tunnel's configuration; security associations stay."""

    config: ForwarderConfig


class SetPath(msgspec.Struct, frozen=True, tag=True):
    """Where ESP goes from now on. Ports count with UDP encapsulation only."""

    local: IPv4Address
    local_port: int
    remote: IPv4Address
    remote_port: int
    udp_encapsulation: bool


class InstallInbound(msgspec.Struct, frozen=True, tag=True):
    """Receive with this SA, beside those already there."""

    sa: SaParameters


class InstallOutbound(msgspec.Struct, frozen=True, tag=True):
    """Send with this SA from now on, instead of the one before."""

    sa: SaParameters


class Retire(msgspec.Struct, frozen=True, tag=True):
    """Forget an SA after `linger_s` seconds (an inbound SA still takes late packets until then)."""

    spi: int
    linger_s: float
    inbound: bool


class SlowPathEsp(msgspec.Struct, frozen=True, tag=True):
    """ESP that arrived on control's unconnected socket, from an address that is not the path's."""

    data: bytes
    source: IPv4Address
    port: int


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Answer with `Pong`: control wants to know that the process still turns."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Leave."""


# ------------------------------------------------------------------------------- forwarder -> control


class IkeDatagram(msgspec.Struct, frozen=True, tag=True):
    """An IKE message (non-ESP marker removed) that arrived on the tunnel's UDP socket."""

    data: bytes
    source: IPv4Address
    port: int


class LineState(msgspec.Struct, frozen=True, tag=True):
    """The GRE line changed; `reason` is a sentence for the operator."""

    up: bool
    reason: str


class SoftExpired(msgspec.Struct, frozen=True, tag=True):
    """An SA reached its soft limit: rekey it."""

    spi: int
    reason: str


class HardExpired(msgspec.Struct, frozen=True, tag=True):
    """An SA reached its hard limit and is no longer used."""

    spi: int
    reason: str


class InboundUsed(msgspec.Struct, frozen=True, tag=True):
    """The first authenticated packet arrived on this inbound SA."""

    spi: int


class PeerMoved(msgspec.Struct, frozen=True, tag=True):
    """Authenticated ESP newer than any before it came from a new address (RFC 7296 2.23)."""

    address: IPv4Address
    port: int


class KeepaliveInfo(msgspec.Struct, frozen=True, tag=True):
    """How keepalives stand, sent when that changes (at most once per probe or reflected probe)."""

    sent: int
    received: int
    reflected: int
    missed: int
    up: bool
    verdict: str
    """Which end asks and which one answers, as a sentence."""
    on_hold_for: int
    """Answers that a line on hold still needs."""
    went_down: int
    round_trip_ms: float | None
    dialect: str | None
    """Whose keepalives the peer's look like; None before the first."""
    requests: dict[str, int]
    """The peer's keepalives by dialect."""
    refused: dict[str, int]
    """Those that were not answered, by reason."""


class PathMtu(msgspec.Struct, frozen=True, tag=True):
    """The kernel learned a smaller path MTU towards the peer; `tunnel_mtu` is what the forwarder now uses."""

    path_mtu: int
    tunnel_mtu: int


class SaUsage(msgspec.Struct, frozen=True, tag=True):
    """Packets and bytes of the SAs in use, every few seconds while traffic moves."""

    spi: int
    inbound: bool
    packets: int
    bytes: int


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The answer to a `Ping`."""


class Offloads(msgspec.Struct, frozen=True, tag=True):
    """Names of the offloads in use, when they have changed."""

    names: tuple[str, ...]


class Fault(msgspec.Struct, frozen=True, tag=True):
    """Something of ours or of the host failed: one sentence for the log."""

    text: str


Command = Configure | SetPath | InstallInbound | InstallOutbound | Retire | SlowPathEsp | Ping | Stop
Report = (
    IkeDatagram
    | LineState
    | SoftExpired
    | HardExpired
    | InboundUsed
    | PeerMoved
    | KeepaliveInfo
    | PathMtu
    | SaUsage
    | Pong
    | Offloads
    | Fault
)


def _to_wire(value: Any) -> Any:
    if isinstance(value, IPv4Address):
        return int(value)
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, TrafficSelector):
        return value.build()
    raise TypeError(f"{type(value).__name__} does not cross the channel")


def _from_wire(kind: type, value: Any) -> Any:
    if kind is IPv4Address:
        return IPv4Address(value)
    if kind is Secret:
        return Secret(value)
    if kind is TrafficSelector:
        return TrafficSelector.parse(value)
    raise TypeError(f"{kind.__name__} does not cross the channel")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_COMMANDS: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command, dec_hook=_from_wire)
_REPORTS: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report, dec_hook=_from_wire)


class ChannelClosed(Exception):  # noqa: N818  # an end of file, not a fault
    """The other end is gone."""


class _Channel:
    """Non-blocking message socket with a queue for what the kernel does not take at once."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._queue: deque[bytes] = deque()

    def fileno(self) -> int:
        """The descriptor to watch for reading, and for writing while `wants_write`."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether messages wait for the kernel to take them."""
        return bool(self._queue)

    def flush(self) -> None:
        """Write what waits. Raises `ChannelClosed` when the other end is gone."""
        while self._queue:
            try:
                self._socket.send(self._queue[0])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionError) as error:
                raise ChannelClosed from error
            self._queue.popleft()

    def close(self) -> None:
        """Close our end; the other end reads an end of file."""
        self._socket.close()

    def _send(self, messages: Iterable[Any]) -> None:
        self._queue.extend(map(_ENCODER.encode, messages))
        self.flush()

    def _receive(self, limit: int) -> list[bytes]:
        packets: list[bytes] = []
        while len(packets) < limit:
            try:
                packet = self._socket.recv(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                break
            except ConnectionError as error:
                raise ChannelClosed from error
            if not packet:
                if packets:
                    break
                raise ChannelClosed
            packets.append(packet)
        return packets


class ControlEnd(_Channel):
    """Control's end: `send` commands, `receive` reports."""

    def send(self, *commands: Command) -> None:
        """Queue and write commands. Raises `ChannelClosed`."""
        self._send(commands)

    def receive(self, limit: int = 64) -> list[Report]:
        """Take at most `limit` reports; an empty list when none waits. Raises `ChannelClosed`."""
        return [_REPORTS.decode(packet) for packet in self._receive(limit)]


class ForwarderEnd(_Channel):
    """The forwarder's end: `receive` commands, `send` reports."""

    def send(self, *reports: Report) -> None:
        """Queue and write reports. Raises `ChannelClosed`."""
        self._send(reports)

    def receive(self, limit: int = 64) -> list[Command]:
        """Take at most `limit` commands; an empty list when none waits. Raises `ChannelClosed`."""
        return [_COMMANDS.decode(packet) for packet in self._receive(limit)]


def pair() -> tuple[ControlEnd, socket.socket]:
    """Make a channel: control's end, and the socket whose descriptor the worker inherits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    return ControlEnd(ours), theirs


def encode(message: Command | Report) -> bytes:
    """The bytes of one message."""
    return _ENCODER.encode(message)


def decode_command(data: bytes) -> Command:
    """Read one command. Raises `msgspec.DecodeError` or `msgspec.ValidationError`."""
    return _COMMANDS.decode(data)
