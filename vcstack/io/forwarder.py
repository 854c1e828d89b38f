"""One tunnel's packets: TUN, GRE, ESP and the way to the peer, driven by commands and readable descriptors.

    device readable      -> Outbound.pump -> Transport.send
    transport readable   -> Inbound.receive -> device.write, reports
    control's commands   -> SAs, path, configuration
    time                 -> keepalives, lifetimes, retired SAs, NAT keepalive

It owns no loop and reads no clock, so that it runs in the worker process and inline in tests alike. Control
may be slow or busy: nothing here waits for it.

Under overload nothing queues here: a batch is sent before the next one is read. What is too much waits, and
then is dropped and counted, in queues of the kernel that have a bound each:

    TUN queue           packets from the LAN while we are busy or the transport is full  outbound_drop_queue
    transport, sending  what finds no room for 2 ms, while a batch is on its way         outbound_drop_send
    TUN, writing        inner packets that the kernel does not take                      inbound_drop_tun
    transport, reading  the peer's datagrams while we are busy      the kernel's statistics of the socket

The directions take turns of a few batches, and waiting for room in the transport ends when the peer's
datagrams arrive. Control traffic is dropped last: keepalives and reflected ones do not pass the TUN queue
and have a reserve in the transport; BGP has a queue of the TUN to itself, which is read first; IKE leaves by
control's own sockets. What the peer sends cannot be told apart before it has been opened: there IKE, which
retransmits, keepalives, of which some may be missing, and BGP on TCP stand losses.
"""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Protocol

import msgspec
import numpy as np

from vcstack.dataplane.coalesce import Write
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.inbound import Received
from vcstack.dataplane.outbound import Outbound
from vcstack.dataplane.vnet import VnetHeader
from vcstack.esp.sa import InboundSa
from vcstack.io import channel
from vcstack.io.channel import Command, ForwarderConfig, Report, SetPath
from vcstack.io.inbox import Inbox, PromptSad
from vcstack.io.line import Line
from vcstack.io.peer_path import PeerPath, TransportFactory
from vcstack.io.reports import Reports
from vcstack.io.transport import Transport
from vcstack.wire.batch import Arena, Rows
from vcstack.wire.deadline import Deadline

BATCHES_PER_TURN = 4
"""Batches of one direction before the other one gets its turn: about a millisecond."""
_ROOM_BEHIND = 256


class Device(Protocol):
    """A TUN: packets behind their vnet header."""

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what the kernel accepted."""

    def read(self, view: memoryview) -> int:
        """Read one packet; its size, 0 when none waits."""

    def read_control(self, view: memoryview) -> int:
        """Read one packet of what has a queue to itself."""

    def write(self, packet: Write) -> bool:
        """Write one packet; False when it was not taken."""

    def drops(self) -> int:
        """Packets that its queue had no room for while nobody read."""


class Forwarder:
    """Forwards for one tunnel. Take `reports_to_send` after each call, `handle_timeout` at `next_timeout`."""

    def __init__(
        self,
        config: ForwarderConfig,
        device: Device,
        transports: TransportFactory,
        counters: Counters,
        now: float,
        inbox: Inbox | None = None,
    ) -> None:
        """`inbox`: where commands that were not yet applied may be found ahead of time."""
        self._device = device
        self._counters = counters
        self._sad = PromptSad(self._install_early)
        self._inbox = inbox
        self._now = now
        self._path = PeerPath(transports, counters, now)
        self._reports = Reports(now)
        self._line_touched = True
        self._stopped = False
        self._configure(config)

    @property
    def stopped(self) -> bool:
        """Whether control said to leave."""
        return self._stopped

    @property
    def transport(self) -> Transport | None:
        """The way to the peer, whose descriptor is to be polled; None before the first `SetPath`."""
        return self._path.transport

    def apply(self, command: Command, now: float) -> None:
        """Do what control says; what goes wrong on the way becomes a `Fault` report."""
        self._line_touched = True
        match command:
            case channel.Configure(config):
                self._reconfigure(config, now)
            case SetPath():
                self._set_path(command)
            case channel.InstallInbound() | channel.InstallOutbound():
                self._install(command, now)
            case channel.Retire():
                self._retire(command, now)
            case channel.SlowPathEsp(data, source, port):
                self._slow_esp(data, source, port, now)
            case channel.Stop():
                self._stopped = True
        self._after(now)

    def reports_to_send(self) -> list[Report]:
        """Take what control is to know, oldest first."""
        return self._reports.take()

    def close(self) -> None:
        """Give the transport back; the device belongs to the caller."""
        self._path.close()

    def control_queue_readable(self, now: float) -> None:
        """Send what waits in the device's queue for control traffic."""
        with self._path.control_traffic():
            self._outbound.pump(self._device.read_control)
        self._after(now)

    def device_readable(self, now: float) -> bool:
        """Send what waits in the device, a few batches at most; whether more may wait."""
        more = True
        for _turn in range(BATCHES_PER_TURN):
            if not self._path.has_room:
                break
            more = self._outbound.pump(self._device.read)
            if not more:
                break
        self._after(now)
        return more

    def transport_readable(self, now: float) -> bool:
        """Deliver what waits in the transport, a few batches at most; whether more may wait."""
        transport = self._path.transport
        for _turn in range(BATCHES_PER_TURN):
            rows = transport.receive() if transport is not None else None
            if rows is None or transport is None:
                self._after(now)
                return False
            self._act_on(self._receive(rows, now, udp=transport.udp), now)
        self._after(now)
        return True

    def handle_timeout(self, now: float) -> None:
        """Do what is due: keepalives, lifetimes, the end of retired SAs."""
        self._line_touched = True
        self._sad.handle_timeout(now)
        self._line.handle_timeout(now)
        self._counters.set_drops("FRAGMENT", self._line.reassembler.discards)
        keepalive_due = self._nat_keepalive_due()
        if keepalive_due is not None and now >= keepalive_due:
            self._path.send_nat_keepalive(now)
        if now >= self._reports.usage_due:
            self._counters.set(Counter.OUTBOUND_DROP_QUEUE, self._device.drops())
            self._reports.usage(self._sad, now)
            self._tell_offloads()  # a path that does not cut datagrams tells so when it is asked to
        self._after(now)

    def next_timeout(self) -> Deadline | None:
        """Return when `handle_timeout` has something to do."""
        deadlines = [self._sad.next_timeout(), self._line.next_timeout()]
        keepalive_due = self._nat_keepalive_due()
        if keepalive_due is not None:
            deadlines.append(Deadline(keepalive_due, "NAT keepalive is due"))
        if any(True for _ in self._sad):
            deadlines.append(Deadline(self._reports.usage_due, "SA usage is due"))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def _nat_keepalive_due(self) -> float | None:
        return self._path.nat_keepalive_due() if self._sad.current is not None else None

    def _configure(self, config: ForwarderConfig) -> None:
        self._config = config
        self._path.copy_dscp = config.copy_dscp
        self._line = Line(config, self._permits)
        self._build_paths(config.tunnel_mtu)

    def _build_paths(self, mtu: int) -> None:
        outbound = self._line.outbound_config(self._config, mtu)
        self._outbound = Outbound(
            outbound, self._sad, self._counters, emit=self._path.emit, reply=self._reply_to_host
        )
        self._inbound = self._line.inbound(self._config, self._sad, self._counters, self._device.write)

    def _reconfigure(self, config: ForwarderConfig, now: float) -> None:
        same_line = replace_sizes(config) == replace_sizes(self._config)
        if same_line:
            self._config = config
            self._path.copy_dscp = config.copy_dscp
            self._build_paths(config.tunnel_mtu)
            return
        self._line.prober.stop(now, "tunnel reconfigured")
        self._note_line(now)
        self._configure(config)
        if self._sad.current is not None:
            self._line.prober.start(now)

    def _set_path(self, path: SetPath) -> None:
        try:
            self._path.follow(path, self._config)
        except OSError as error:
            self._reports.add(channel.Fault(f"cannot open the path to {path.remote}: {error.strerror}"))
            return
        self._tell_offloads()

    def _tell_offloads(self) -> None:
        if self._path.transport is not None:
            self._reports.offloads((*self._device.offloads, *self._path.transport.offloads))

    def _install(self, command: channel.InstallInbound | channel.InstallOutbound, now: float) -> None:
        try:
            if isinstance(command, channel.InstallInbound):
                self._sad.install_inbound(command.sa, now)
            else:
                self._sad.install_outbound(command.sa, now)
                self._line.prober.start(now)
        except ValueError as error:
            self._reports.add(channel.Fault(str(error)))

    def _retire(self, command: channel.Retire, now: float) -> None:
        if command.inbound:
            self._sad.retire_inbound(command.spi, now + command.linger_s)
        else:
            self._sad.retire_outbound(command.spi)
        if self._sad.current is None:
            self._line.prober.stop(now, "no security association")

    def _permits(self, protocol: int, source: int, destination: int) -> bool:
        return self._outbound.permits(protocol, source, destination)

    def _send_control(self, packets: list[bytes]) -> bool:
        with self._path.control_traffic():
            return self._outbound.seal_packets(packets)

    def _reply_to_host(self, packet: bytes) -> None:
        self._device.write(memoryview(VnetHeader().build() + packet))

    def _follow_path_mtu(self) -> None:
        """The kernel knows a smaller path MTU than the tunnel was made for: refuse earlier from now on."""
        found = self._path.smaller_mtu(self._config)
        if found is not None:
            path_mtu, mtu = found
            self._config = msgspec.structs.replace(self._config, tunnel_mtu=mtu)
            self._build_paths(mtu)
            self._reports.add(channel.PathMtu(path_mtu, mtu))

    def _receive(self, rows: Rows, now: float, *, udp: bool) -> Received:
        self._now = now
        if self._inbox is not None:
            self._inbox.new_batch()
        return self._inbound.receive(rows, now, udp=udp)

    def _install_early(self, spi: int) -> None:
        """A packet is here before the command that installs its SA was read: obey that one first."""
        command = self._inbox.look_for(spi) if self._inbox is not None else None
        if command is not None:
            self._install(command, self._now)

    def _act_on(self, received: Received, now: float) -> None:
        path = self._path.target
        if received.ike and path is not None:
            ike = (channel.IkeDatagram(data, path.remote, path.remote_port) for data in received.ike)
            self._reports.add(*ike)
        if received.authenticated:
            self._counters.set(Counter.LAST_INBOUND_US, int(now * 1e6))
        if received.answers or received.requests:
            self._line_touched = True
        for packet in received.answers:
            self._counters.add(Counter.INBOUND_KEEPALIVES)
            self._line.prober.receive(packet, now)
        for request in received.requests:
            answer = self._line.reflector.reflect(request, now)
            # Straight into ESP, never in clear.
            if answer is not None and self._send_control([answer]):
                self._counters.add(Counter.INBOUND_REFLECTED)

    def _slow_esp(self, data: bytes, source: IPv4Address, port: int, now: float) -> None:
        """Open ESP from elsewhere; the peer has moved if it is genuine and newer than all before."""
        sa = self._sad.inbound(int.from_bytes(data[:4]))
        newest = sa.window.top if sa is not None else 0
        received = self._receive(_row_of(data), now, udp=True)
        self._act_on(replace(received, ike=[]), now)
        path = self._path.target
        here = path is not None and (path.remote, path.remote_port) == (source, port)
        if isinstance(sa, InboundSa) and received.authenticated and sa.window.top > newest and not here:
            self._reports.add(channel.PeerMoved(source, port))

    def _after(self, now: float) -> None:
        """Send the keepalives that are due, and tell control what has happened."""
        packets = self._line.prober.packets_to_send()
        if packets:
            self._send_control(packets)
        self._path.note_sent(now)
        if self._path.shrank:
            self._follow_path_mtu()
        self._reports.sa_events(self._sad)
        if self._line_touched:
            self._line_touched = False
            self._note_line(now)

    def _note_line(self, now: float) -> None:
        self._reports.line(self._line.prober, self._line.reflector, now)


def _row_of(data: bytes) -> Rows:
    """One datagram as a batch, with the room behind it that a batch may look at."""
    arena = Arena(len(data) + _ROOM_BEHIND)
    arena.data[: len(data)] = data
    return Rows(arena, np.zeros(1, np.int64), np.array([len(data)]))


def replace_sizes(config: ForwarderConfig) -> ForwarderConfig:
    """The configuration without what may change under a running line: sizes and offloads."""
    return msgspec.structs.replace(config, tunnel_mtu=0, mss=0, udp_segment=True, udp_gro=True, sendmmsg=True)
