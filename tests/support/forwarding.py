"""Two forwarders joined in memory, and packets for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from vcstack.dataplane import inbound, outbound
from vcstack.dataplane.counters import Counters
from vcstack.esp.lifetime import Lifetime
from vcstack.esp.parameters import SaParameters
from vcstack.io.channel import ForwarderConfig, InstallInbound, InstallOutbound, Report, SetPath
from vcstack.io.forwarder import Forwarder
from vcstack.io.memory import MemoryTransport, MemoryTun, Tap, join
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector
from vcstack.wire.tcp import TcpFlags, TcpHeader

LOCAL, REMOTE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
OUTER_LOCAL, OUTER_REMOTE = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")
LAN, FAR = IPv4Address("10.1.0.5"), IPv4Address("10.77.0.9")
KEYS = bytes(range(36)), bytes(range(36, 72))


class End:
    """One forwarder with its memory device, transport and counters."""

    def __init__(self, config: ForwarderConfig, transport: MemoryTransport) -> None:
        self.config = config
        self.tun = MemoryTun()
        self.transport = transport
        self.counters = Counters()
        self.reports: list[Report] = []
        self.forwarder = Forwarder(config, self.tun, lambda _path, _config: transport, self.counters, 0.0)

    def step(self, now: float = 0.0) -> None:
        self.forwarder.device_readable(now)
        self.forwarder.transport_readable(now)
        self.reports += self.forwarder.reports_to_send()

    def count(self, name: str) -> int:
        return self.counters.snapshot()[name]


def sa_parameters(
    spi: int,
    key: bytes,
    local: IPv4Address,
    remote: IPv4Address,
    *,
    esn: bool = False,
    lifetime: Lifetime | None = None,
) -> SaParameters:
    return SaParameters(
        spi=spi,
        key=Secret(key),
        key_bits=(len(key) - 4) * 8,
        local_selectors=(TrafficSelector.host(local, IpProtocol.GRE),),
        remote_selectors=(TrafficSelector.host(remote, IpProtocol.GRE),),
        esn=esn,
        lifetime=lifetime or Lifetime(),
    )


def forwarder_config(local: IPv4Address, remote: IPv4Address, **options: object) -> ForwarderConfig:
    defaults: dict[str, object] = {"name": "test", "keepalive": False}
    return ForwarderConfig(gre_local=local, gre_remote=remote, **(defaults | options))  # type: ignore[arg-type]


def two_ends(*, udp: bool = True, esn: bool = False, **options: object) -> tuple[End, End]:
    """Two ends with a pair of SAs, ready to forward."""
    transports = join(udp=udp)
    one = End(forwarder_config(LOCAL, REMOTE, **options), transports[0])
    other = End(forwarder_config(REMOTE, LOCAL, **options), transports[1])
    path = SetPath(OUTER_LOCAL, 4500, OUTER_REMOTE, 4500, udp)
    back = SetPath(OUTER_REMOTE, 4500, OUTER_LOCAL, 4500, udp)
    one.forwarder.apply(path, 0.0)
    other.forwarder.apply(back, 0.0)
    install(one, other, 0x1001, 0x2002, esn=esn)
    return one, other


def install(one: End, other: End, forth: int, back: int, *, esn: bool = False, now: float = 0.0) -> None:
    """A pair of SAs: `forth` is the SPI from `one` to `other`."""
    there = [sa_parameters(forth, KEYS[0], *ends, esn=esn) for ends in ((LOCAL, REMOTE), (REMOTE, LOCAL))]
    here = [sa_parameters(back, KEYS[1], *ends, esn=esn) for ends in ((LOCAL, REMOTE), (REMOTE, LOCAL))]
    one.forwarder.apply(InstallInbound(here[0]), now)
    other.forwarder.apply(InstallInbound(there[1]), now)
    one.forwarder.apply(InstallOutbound(there[0]), now)
    other.forwarder.apply(InstallOutbound(here[1]), now)


def tcp_packet(
    payload: bytes,
    *,
    sequence: int = 1000,
    flags: TcpFlags = TcpFlags.ACK,
    options: bytes = b"",
    source: IPv4Address = LAN,
    destination: IPv4Address = FAR,
    tos: int = 0,
    identification: int = 1,
    dont_fragment: bool = True,
    ip_options: bytes = b"",
) -> bytes:
    header = TcpHeader(40000, 5001, sequence, 77, flags, 512, 0, 0, options)
    segment = header.build(payload, source, destination)
    ip = Ipv4Header(
        source,
        destination,
        IpProtocol.TCP,
        tos=tos,
        identification=identification,
        dont_fragment=dont_fragment,
        options=ip_options,
    )
    return ip.build(len(segment)) + segment


def udp_packet(payload: bytes, *, port: int = 20000, tos: int = 0xB8, dont_fragment: bool = False) -> bytes:
    from vcstack.wire.checksum import internet_checksum

    length = 8 + len(payload)
    header = port.to_bytes(2) + (30000).to_bytes(2) + length.to_bytes(2) + bytes(2)
    pseudo = int(LAN) + int(FAR) + IpProtocol.UDP + length
    checksum = internet_checksum(header + payload, pseudo) or 0xFFFF
    segment = header[:6] + checksum.to_bytes(2) + payload
    ip = Ipv4Header(LAN, FAR, IpProtocol.UDP, tos=tos, dont_fragment=dont_fragment)
    return ip.build(len(segment)) + segment


@contextmanager
def one_by_one(most: int) -> Iterator[None]:
    """Batches of at most so many packets go one by one, larger ones through arrays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbound, "MOST_SEALED", most)
        patch.setattr(inbound, "MOST_OPENED", most)
        yield


def capture(datagrams: list[bytes]) -> Tap:
    """A tap that keeps what passes."""

    def tap(data: bytes) -> list[bytes]:
        datagrams.append(data)
        return [data]

    return tap


def hold(datagrams: list[bytes]) -> Tap:
    """A tap that keeps what would pass, and lets nothing pass."""

    def tap(data: bytes) -> list[bytes]:
        datagrams.append(data)
        return []

    return tap
