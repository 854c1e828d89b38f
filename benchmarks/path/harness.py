"""The data path from memory to memory: no socket, no TUN, no second process.

Every figure is a ratio to one bare `AESGCM.encrypt_into` of the same size, timed in turns with it: the
machine's mood then falls on both alike.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from statistics import median

import numpy as np

from vcstack.crypto.aead import gcm
from vcstack.dataplane.counters import Counter, Counters
from vcstack.dataplane.inbound import Inbound
from vcstack.dataplane.outbound import Outbound, OutboundConfig
from vcstack.dataplane.vnet import GSO_NONE, GSO_TCPV4, NEEDS_CSUM, VnetHeader
from vcstack.esp.layout import GRE_IN_IPV4_LENGTH, ICV_LENGTH, PAYLOAD_OFFSET, esp_size
from vcstack.esp.parameters import SaParameters
from vcstack.esp.sad import Sad
from vcstack.gre.keepalive import KeepaliveConfig
from vcstack.gre.reassembly import Reassembler
from vcstack.gre.reflector import Reflector
from vcstack.gre.tunnel import Tunnel, TunnelConfig
from vcstack.wire.batch import Arena, Rows
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.tcp import TcpFlags, TcpHeader

LOCAL, REMOTE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LAN, FAR = IPv4Address("10.1.0.5"), IPv4Address("10.77.0.9")
KEY = Secret(bytes(range(36)))
SPI = 0x1001
MTU, MSS = 1414, 1350
SEGMENTS = 45
"""As many as one sendmsg takes: 45 ESP packets of 1,448 bytes."""


def super_packet(segments: int = SEGMENTS, mss: int = MSS) -> bytes:
    """A TCP super-packet behind its vnet header."""
    payload = bytes(range(256)) * (segments * mss // 256 + 1)
    segment = TcpHeader(40000, 5001, 1, 1, TcpFlags.ACK, 512).build(b"", LAN, FAR) + payload[: segments * mss]
    header = Ipv4Header(LAN, FAR, IpProtocol.TCP, dont_fragment=True).build(len(segment))
    return VnetHeader(NEEDS_CSUM, GSO_TCPV4, 40, mss, 20, 16).build() + header + segment


def voice_packets(count: int, size: int = 200) -> list[bytes]:
    """UDP packets of `size` bytes with open checksums, each of its own flow, behind their vnet headers."""
    length = size - 20
    vnet = VnetHeader(NEEDS_CSUM, GSO_NONE, 0, 0, 20, 6).build()
    packets = []
    for flow in range(count):
        udp = (20000 + flow).to_bytes(2) + b"\x75\x30" + length.to_bytes(2) + b"\x12\x34"
        header = Ipv4Header(LAN, FAR, IpProtocol.UDP, tos=0xB8).build(length)
        packets.append(vnet + header + udp + bytes(length - 8))
    return packets


class Path:
    """Both directions of one tunnel, joined by whoever calls."""

    def __init__(self) -> None:
        tunnel = TunnelConfig(local=LOCAL, remote=REMOTE)
        back = TunnelConfig(local=REMOTE, remote=LOCAL)
        local, remote = TrafficSelector.host(LOCAL, 47), TrafficSelector.host(REMOTE, 47)
        out_sad, self._sad = Sad(), Sad()
        out_sad.install_outbound(_parameters(local, remote), 0.0)
        self._back = _parameters(remote, local)
        self._sealed: list[Rows] = []
        self._waiting: list[bytes] = []
        self._outbound = Outbound(
            OutboundConfig(tunnel=tunnel, mtu=MTU, mss=MSS, router=LOCAL),
            out_sad,
            Counters(),
            emit=lambda rows, _tos: self._sealed.append(rows),
            reply=lambda _packet: None,
        )
        self.counters = Counters()
        reflector = Reflector(KeepaliveConfig(), back)
        self._inbound = Inbound(
            Tunnel(back),
            reflector,
            self._sad,
            self.counters,
            Reassembler(),
            mss=MSS,
            deliver=lambda _packet: True,
        )
        self._arena = Arena(1 << 19)

    def seal(self, packets: list[bytes]) -> float:
        """Seal packets that lie in a device; returns seconds."""
        self._waiting = packets[::-1]
        self._sealed.clear()
        start = time.perf_counter()
        self._outbound.pump(self._read)
        return time.perf_counter() - start

    def open(self) -> float:
        """Open what was sealed last, in a buffer as UDP_GRO fills it; returns seconds."""
        sealed = self._sealed[0]
        data, pitch = sealed.arena.data, sealed.lengths.item(0)
        for index, (at, length) in enumerate(
            zip(sealed.offsets.tolist(), sealed.lengths.tolist(), strict=True)
        ):
            self._arena.data[index * pitch : index * pitch + length] = data[at : at + length]
        offsets = np.arange(len(sealed)) * pitch
        rows = Rows(self._arena, offsets, sealed.lengths.copy(), pitch, sealed.uniform)
        if self._sad.inbound(SPI) is None:
            self._sad.install_inbound(self._back, 0.0)
        start = time.perf_counter()
        self._inbound.receive(rows, 0.0, udp=True)
        return time.perf_counter() - start

    @property
    def delivered(self) -> int:
        """Inner packets delivered so far."""
        return self.counters[Counter.INBOUND_PACKETS]

    def _read(self, view: memoryview) -> int:
        if not self._waiting:
            return 0
        packet = self._waiting.pop()
        view[: len(packet)] = packet
        return len(packet)


def _parameters(local: TrafficSelector, remote: TrafficSelector) -> SaParameters:
    return SaParameters(spi=SPI, key=KEY, key_bits=256, local_selectors=(local,), remote_selectors=(remote,))


def bare(inner: int, count: int) -> Callable[[], float]:
    """Time `count` bare calls of the cipher for an inner packet of that size, in place; returns seconds."""
    size = esp_size(inner + GRE_IN_IPV4_LENGTH)
    row = memoryview(bytearray(size))
    encrypt, nonce, aad = gcm(KEY.reveal()).raw.encrypt_into, bytes(12), row[:8]
    plain, out = row[PAYLOAD_OFFSET : size - ICV_LENGTH], row[PAYLOAD_OFFSET:]

    def run() -> float:
        start = time.perf_counter()
        for _call in range(count):
            encrypt(nonce, plain, aad, out)
        return time.perf_counter() - start

    return run


@dataclass(frozen=True, slots=True)
class Figure:
    """Microseconds per packet, medians of the rounds, and the ratios to the bare cipher call."""

    name: str
    bare_us: float
    seal_us: float
    open_us: float

    @property
    def seal_ratio(self) -> float:
        """Sealing, in bare calls."""
        return self.seal_us / self.bare_us

    @property
    def open_ratio(self) -> float:
        """Opening, in bare calls."""
        return self.open_us / self.bare_us


def measure(name: str, packets: list[bytes], inner: int, count: int, rounds: int = 300) -> Figure:
    """Seal and open the same packets in turns with the bare cipher."""
    path, cipher = Path(), bare(inner, count)
    gc.disable()
    try:
        times = [(cipher(), path.seal(packets), path.open()) for _round in range(rounds)]
    finally:
        gc.enable()
    bare_us, seal_us, open_us = (median(column) * 1e6 / count for column in zip(*times, strict=True))
    return Figure(name, bare_us, seal_us, open_us)


def figures(rounds: int = 300) -> list[Figure]:
    """The figures of the table."""
    voice = [
        measure(f"200 bytes, {count} flows", voice_packets(count), 200, count, rounds)
        for count in (128, 64, 16, 1)
    ]
    return [measure("1,390-byte segment", [super_packet()], MSS + 40, SEGMENTS, rounds), *voice]
