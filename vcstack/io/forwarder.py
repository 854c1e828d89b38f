"""One tunnel's packets: TUN, GRE, ESP and the way to the peer, driven by commands and readable descriptors.

    device readable      -> Outbound.pump -> Transport.send
    transport readable   -> Inbound.receive -> device.write, reports
    control's commands   -> SAs, path, configuration
    time                 -> keepalives, lifetimes, retired SAs, NAT keepalive

It owns no loop and reads no clock, so that it runs in the worker process and inline in tests alike. Control
may be slow or busy: nothing here waits for it.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Protocol

import msgspec
import numpy as np

from vcstack.dataplane.classify import MARKER, NAT_KEEPALIVE
from vcstack.dataplane.coalesce import Write
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.inbound import Inbound, Received
from vcstack.dataplane.outbound import Outbound, OutboundConfig
from vcstack.dataplane.pmtu import tunnel_mtu
from vcstack.dataplane.vnet import VnetHeader
from vcstack.esp.sa import Expired, FirstUse, InboundSa
from vcstack.esp.sad import Sad
from vcstack.gre.keepalive import KeepaliveConfig, Prober
from vcstack.gre.reassembly import Reassembler
from vcstack.gre.reflector import Reflector
from vcstack.gre.tunnel import Tunnel, TunnelConfig
from vcstack.io import channel
from vcstack.io.channel import Command, ForwarderConfig, Report, SetPath
from vcstack.io.keepalives import KeepaliveReporter
from vcstack.io.transport import Transport
from vcstack.wire.batch import Arena, Integers, Rows
from vcstack.wire.deadline import Deadline

BATCHES_PER_TURN = 4
"""Batches of one direction before the other one gets its turn: about a millisecond."""
NAT_KEEPALIVE_S = 20.0
"""RFC 3948 section 4 suggests it; a NAT forgets a UDP flow after 30 s at the earliest."""
USAGE_S = 5.0
_DATAGRAM_ROOM = 65_536
_MINIMUM_TUNNEL_MTU = 68


class Device(Protocol):
    """A TUN: packets behind their vnet header."""

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what the kernel accepted."""

    def read(self, view: memoryview) -> int:
        """Read one packet; its size, 0 when none waits."""

    def write(self, packet: Write) -> bool:
        """Write one packet; False when it was not taken."""


TransportFactory = Callable[[SetPath, ForwarderConfig], Transport]
"""Opens the way to the peer. Raises `OSError`."""


class Forwarder:
    """Forwards for one tunnel. Take `reports_to_send` after each call, `handle_timeout` at `next_timeout`."""

    def __init__(
        self,
        config: ForwarderConfig,
        device: Device,
        transports: TransportFactory,
        counters: Counters,
        now: float,
    ) -> None:
        self._device = device
        self._open_transport = transports
        self._counters = counters
        self._sad = Sad()
        self._transport: Transport | None = None
        self._path: SetPath | None = None
        self._reports: list[Report] = []
        self._slow_path = Arena(_DATAGRAM_ROOM + 64)
        self._keepalives = KeepaliveReporter()
        self._usage_shown: dict[tuple[int, bool], int] = {}
        self._usage_at = now + USAGE_S
        self._last_sent_at = now
        self._stopped = False
        self._config = config
        self._configure(config)

    # ------------------------------------------------------------------ what control wants

    @property
    def stopped(self) -> bool:
        """Whether control said to leave."""
        return self._stopped

    @property
    def transport(self) -> Transport | None:
        """The way to the peer, whose descriptor is to be polled; None before the first `SetPath`."""
        return self._transport

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
            case channel.SendIke(data, remote, port):
                if self._transport is not None:
                    self._transport.send_datagram(MARKER + data, remote, port)
            case channel.SlowPathEsp(data, source, port):
                self._slow_esp(data, source, port, now)
            case channel.Stop():
                self._stopped = True
        self._after(now)

    def reports_to_send(self) -> list[Report]:
        """Take what control is to know, oldest first."""
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        """Give the transport back; the device belongs to the caller."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ------------------------------------------------------------------ packets

    def device_readable(self, now: float) -> bool:
        """Send what waits in the device, a few batches at most; whether more may wait."""
        more = True
        for _turn in range(BATCHES_PER_TURN):
            more = self._outbound.pump(self._device.read)
            if not more:
                break
        self._after(now)
        return more

    def transport_readable(self, now: float) -> bool:
        """Deliver what waits in the transport, a few batches at most; whether more may wait."""
        transport = self._transport
        for _turn in range(BATCHES_PER_TURN):
            rows = transport.receive() if transport is not None else None
            if rows is None or transport is None:
                self._after(now)
                return False
            self._act_on(self._inbound.receive(rows, now, udp=transport.udp), now)
        self._after(now)
        return True

    # ------------------------------------------------------------------ time

    def handle_timeout(self, now: float) -> None:
        """Do what is due: keepalives, lifetimes, the end of retired SAs."""
        self._line_touched = True
        self._sad.handle_timeout(now)
        self._prober.handle_timeout(now)
        self._reassembler.handle_timeout(now)
        self._counters.set_drops("FRAGMENT", self._reassembler.discards)
        if self._sends_nat_keepalives() and now >= self._last_sent_at + NAT_KEEPALIVE_S:
            self._send_nat_keepalive(now)
        if now >= self._usage_at:
            self._report_usage(now)
        self._after(now)

    def next_timeout(self) -> Deadline | None:
        """Return when `handle_timeout` has something to do."""
        deadlines = [part.next_timeout() for part in (self._sad, self._prober, self._reassembler)]
        if self._sends_nat_keepalives():
            deadlines.append(Deadline(self._last_sent_at + NAT_KEEPALIVE_S, "NAT keepalive is due"))
        if any(True for _ in self._sad):
            deadlines.append(Deadline(self._usage_at, "SA usage is due"))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ------------------------------------------------------------------ configuration and path

    def _configure(self, config: ForwarderConfig) -> None:
        self._config = config
        tunnel = TunnelConfig(
            local=config.gre_local,
            remote=config.gre_remote,
            key=config.gre_key,
            copy_df=config.path_mtu_discovery,
            copy_dscp=config.copy_dscp,
            interface_local=config.icmp_source,
            interface_remote=config.interface_remote,
        )
        keepalive = KeepaliveConfig(
            enabled=config.keepalive,
            interval_s=config.keepalive_interval_s,
            retries=config.keepalive_retries,
            damping=config.keepalive_damping,
        )
        self._tunnel = Tunnel(tunnel)
        self._prober = Prober(keepalive, tunnel)
        self._reflector = Reflector(keepalive, tunnel, self._permits)
        self._reassembler = Reassembler()
        self._build_paths(config.tunnel_mtu)

    def _build_paths(self, mtu: int) -> None:
        config, tunnel = self._config, self._tunnel
        router = config.interface_remote or config.gre_remote
        outbound = OutboundConfig(tunnel=tunnel.config, mtu=mtu, mss=config.mss, router=router)
        self._outbound = Outbound(
            outbound, self._sad, self._counters, emit=self._emit, reply=self._reply_to_host
        )
        self._inbound = Inbound(
            tunnel,
            self._reflector,
            self._sad,
            self._counters,
            self._reassembler,
            mss=config.mss,
            deliver=self._device.write,
        )

    def _reconfigure(self, config: ForwarderConfig, now: float) -> None:
        same_line = replace_sizes(config) == replace_sizes(self._config)
        if same_line:
            self._config = config
            self._build_paths(config.tunnel_mtu)
            return
        self._prober.stop(now, "tunnel reconfigured")
        self._note_line(now)
        self._configure(config)
        if self._sad.current is not None:
            self._prober.start(now)

    def _set_path(self, path: SetPath) -> None:
        if path == self._path and self._transport is not None:
            return
        self.close()
        self._path = path
        try:
            self._transport = self._open_transport(path, self._config)
        except OSError as error:
            self._reports.append(channel.Fault(f"cannot open the path to {path.remote}: {error.strerror}"))
            return
        self._reports.append(channel.Offloads((*self._device.offloads, *self._transport.offloads)))

    def _install(self, command: channel.InstallInbound | channel.InstallOutbound, now: float) -> None:
        try:
            if isinstance(command, channel.InstallInbound):
                self._sad.install_inbound(command.sa, now)
            else:
                self._sad.install_outbound(command.sa, now)
                self._prober.start(now)
        except ValueError as error:
            self._reports.append(channel.Fault(str(error)))

    def _retire(self, command: channel.Retire, now: float) -> None:
        if command.inbound:
            self._sad.retire_inbound(command.spi, now + command.linger_s)
        else:
            self._sad.retire_outbound(command.spi)
        if self._sad.current is None:
            self._prober.stop(now, "no security association")

    # ------------------------------------------------------------------ outbound

    def _permits(self, protocol: int, source: int, destination: int) -> bool:
        return self._outbound.permits(protocol, source, destination)

    def _emit(self, rows: Rows, tos: Integers | int) -> None:
        if self._transport is None:
            self._counters.add(Counter.OUTBOUND_DROP_NO_PATH, len(rows))
            return
        outcome = self._transport.send(rows, tos if self._config.copy_dscp else 0)
        self._sent_something = True
        if outcome.dropped:
            self._counters.add(Counter.OUTBOUND_DROP_SEND, outcome.dropped)
        if outcome.too_big:
            self._path_shrank = True

    _sent_something = False
    _path_shrank = False
    _line_touched = True

    def _reply_to_host(self, packet: bytes) -> None:
        self._device.write(memoryview(VnetHeader().build() + packet))

    def _follow_path_mtu(self) -> None:
        """The kernel knows a smaller path MTU than the tunnel was made for: refuse earlier from now on."""
        self._path_shrank = False
        known = self._transport.path_mtu() if self._transport is not None else None
        if known is None or self._transport is None:
            return
        key_present = self._config.gre_key is not None
        mtu = tunnel_mtu(known, udp_encapsulation=self._transport.udp, key_present=key_present)
        if _MINIMUM_TUNNEL_MTU <= mtu < self._config.tunnel_mtu:
            self._config = msgspec.structs.replace(self._config, tunnel_mtu=mtu)
            self._build_paths(mtu)
            self._reports.append(channel.PathMtu(known, mtu))

    # ------------------------------------------------------------------ inbound

    def _act_on(self, received: Received, now: float) -> None:
        path = self._path
        if received.ike and path is not None:
            ike = (channel.IkeDatagram(data, path.remote, path.remote_port) for data in received.ike)
            self._reports.extend(ike)
        if received.authenticated:
            self._counters.set(Counter.LAST_INBOUND_US, int(now * 1e6))
        if received.answers or received.requests:
            self._line_touched = True
        for packet in received.answers:
            self._counters.add(Counter.INBOUND_KEEPALIVES)
            self._prober.receive(packet, now)
        for request in received.requests:
            answer = self._reflector.reflect(request, now)
            # Straight into ESP, never in clear.
            if answer is not None and self._outbound.seal_packets([answer]):
                self._counters.add(Counter.INBOUND_REFLECTED)

    def _slow_esp(self, data: bytes, source: IPv4Address, port: int, now: float) -> None:
        """Open ESP from elsewhere; the peer has moved if it is genuine and newer than all before."""
        sa = self._sad.inbound(int.from_bytes(data[:4]))
        newest = sa.window.top if sa is not None else 0
        self._slow_path.data[: len(data)] = data
        rows = Rows(self._slow_path, np.zeros(1, np.int64), np.array([len(data)]), 0, 0)
        received = self._inbound.receive(rows, now, udp=True)
        self._act_on(replace(received, ike=[]), now)
        here = self._path is not None and (self._path.remote, self._path.remote_port) == (source, port)
        if isinstance(sa, InboundSa) and received.authenticated and sa.window.top > newest and not here:
            self._reports.append(channel.PeerMoved(source, port))

    # ------------------------------------------------------------------ after every call

    def _after(self, now: float) -> None:
        """Send the keepalives that are due, and tell control what has happened."""
        packets = self._prober.packets_to_send()
        if packets:
            self._outbound.seal_packets(packets)
        if self._sent_something:
            self._sent_something = False
            self._last_sent_at = now
            self._counters.set(Counter.LAST_OUTBOUND_US, int(now * 1e6))
        if self._path_shrank:
            self._follow_path_mtu()
        while (event := self._sad.next_event()) is not None:
            self._reports.append(_report_of(event))
        if self._line_touched:
            self._line_touched = False
            self._note_line(now)

    def _note_line(self, now: float) -> None:
        while (line := self._prober.next_event()) is not None:
            self._reports.append(channel.LineState(line.up, line.reason))
        info = self._keepalives.report(self._prober, self._reflector, now)
        if info is not None:
            self._reports.append(info)

    def _report_usage(self, now: float) -> None:
        self._usage_at = now + USAGE_S
        usage = {(sa.spi, isinstance(sa, InboundSa)): sa.meter for sa in self._sad}
        for (spi, inbound), meter in usage.items():
            if self._usage_shown.get((spi, inbound)) != meter.packets:
                self._reports.append(channel.SaUsage(spi, inbound, meter.packets, meter.octets))
        self._usage_shown = {key: meter.packets for key, meter in usage.items()}

    def _sends_nat_keepalives(self) -> bool:
        return self._transport is not None and self._transport.udp and self._sad.current is not None

    def _send_nat_keepalive(self, now: float) -> None:
        self._last_sent_at = now
        if self._transport is not None and self._path is not None:
            self._transport.send_datagram(NAT_KEEPALIVE, self._path.remote, self._path.remote_port)


def _report_of(event: Expired | FirstUse) -> Report:
    if isinstance(event, FirstUse):
        return channel.InboundUsed(event.spi)
    if event.expiry.hard:
        return channel.HardExpired(event.spi, event.expiry.limit)
    return channel.SoftExpired(event.spi, event.expiry.limit)


def replace_sizes(config: ForwarderConfig) -> ForwarderConfig:
    """The configuration without what may change under a running line: sizes and offloads."""
    return msgspec.structs.replace(config, tunnel_mtu=0, mss=0, udp_segment=True, udp_gro=True, sendmmsg=True)
