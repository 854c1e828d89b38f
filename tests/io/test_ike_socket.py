"""Which tunnel gets which datagram, over real sockets on the loopback."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from vcstack.ikev2.path import Datagram, Path
from vcstack.io.ike_socket import IkeSocket, PortTakenError

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL = IPv4Address("127.0.0.77")
ONE, OTHER, STRANGER = "127.0.0.81", "127.0.0.82", "127.0.0.83"
IKE = b"I" * 28


class Tunnel:
    """A listener that remembers what it got."""

    def __init__(self, remote: str | None, spi: bytes = b"", esp: int = 0) -> None:
        self.remote_address = IPv4Address(remote) if remote else None
        self.spi = spi
        self.esp = esp
        self.got: list[Any] = []

    def owns_ike(self, message: bytes) -> bool:
        return bool(self.spi) and message.startswith(self.spi)

    def owns_esp(self, spi: int) -> bool:
        return spi == self.esp

    def ike_received(self, message: bytes, path: Path) -> None:
        self.got.append((message, path))

    def esp_received(self, data: bytes, source: IPv4Address, port: int) -> None:
        self.got.append((data, source, port))


def exchange(tunnels: list[Tunnel], *datagrams: tuple[str, int, bytes]) -> dict[str, int]:
    """Send (source address, destination port, data) to a socket with these tunnels; its counters."""

    async def main() -> dict[str, int]:
        ike = IkeSocket(LOCAL)
        ike.open()
        try:
            for tunnel in tunnels:
                ike.attach(tunnel)
            for source, port, data in datagrams:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.bind((source, 0))
                    sender.sendto(data, (str(LOCAL), port))
            await asyncio.sleep(0.05)
            return dict(ike.counters)
        finally:
            ike.close()

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def _needs_the_ports() -> None:
    try:
        for port in (500, 4500):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((str(LOCAL), port))
    except OSError as error:
        pytest.skip(f"ports 500 and 4500 of {LOCAL} cannot be bound: {error.strerror}")


def test_an_ike_sa_is_found_before_the_address() -> None:
    one, other = Tunnel(ONE), Tunnel(OTHER, spi=b"II")
    assert exchange([one, other], (ONE, 500, IKE)) == {"ike_received": 1}
    assert one.got == []
    assert other.got[0][1].remote == IPv4Address(ONE)


def test_the_address_is_found_before_any_peer() -> None:
    welcome, one = Tunnel(None), Tunnel(ONE)
    exchange([welcome, one], (ONE, 500, IKE), (STRANGER, 500, IKE))
    assert [path.remote for _, path in one.got] == [IPv4Address(ONE)]
    assert [path.remote for _, path in welcome.got] == [IPv4Address(STRANGER)]


def test_the_marker_is_taken_off_on_port_4500_only() -> None:
    one = Tunnel(ONE)
    exchange([one], (ONE, 4500, bytes(4) + IKE), (ONE, 500, bytes(4) + IKE))
    assert [(message, path.local_port) for message, path in one.got] == [(IKE, 4500), (bytes(4) + IKE, 500)]


def test_esp_goes_to_the_tunnel_with_its_spi() -> None:
    one, other = Tunnel(ONE, esp=0x01020304), Tunnel(OTHER, esp=0x05060708)
    packet = bytes.fromhex("05060708") + bytes(40)
    assert exchange([one, other], (STRANGER, 4500, packet))["esp_received"] == 1
    assert other.got[0][:2] == (packet, IPv4Address(STRANGER))
    assert one.got == []


@pytest.mark.parametrize(
    ("port", "data", "counter"),
    [
        (500, b"", "drop_short"),
        (500, IKE[:-1], "drop_short"),
        (500, IKE, "drop_no_peer"),
        (4500, b"\xff", "nat_keepalive"),
        (4500, b"\xfe", "drop_short"),
        (4500, b"", "drop_short"),
        (4500, bytes(4), "drop_short"),
        (4500, b"\x01" * 60, "drop_foreign_spi"),
    ],
)
def test_what_belongs_to_no_one_is_counted(port: int, data: bytes, counter: str) -> None:
    tunnel = Tunnel(OTHER)
    assert exchange([tunnel], (ONE, port, data)) == {counter: 1}
    assert tunnel.got == []


def opened(action: Callable[[IkeSocket], None]) -> None:
    async def main() -> None:
        ike = IkeSocket(LOCAL)
        try:
            ike.open()
            action(ike)
        finally:
            ike.close()

    asyncio.run(main())


def test_a_message_leaves_from_the_port_of_its_path_with_the_marker_of_that_port() -> None:
    def send(ike: IkeSocket) -> None:
        for port, expected in ((500, IKE), (4500, bytes(4) + IKE)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.settimeout(5)
                peer.bind((ONE, 0))
                path = Path(LOCAL, port, IPv4Address(ONE), peer.getsockname()[1])
                ike.send([Datagram(IKE, path)])
                assert peer.recvfrom(100) == (expected, (str(LOCAL), port))
        assert ike.counters == {"ike_sent": 2}

    opened(send)


def test_a_send_that_the_kernel_refuses_is_counted() -> None:
    def send(ike: IkeSocket) -> None:
        ike.send([Datagram(IKE, Path(LOCAL, 500, IPv4Address("255.255.255.255"), 500))])
        assert ike.counters == {"send_eacces": 1}

    opened(send)


def test_a_taken_port_and_a_foreign_address_are_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((str(LOCAL), 500))
        with pytest.raises(PortTakenError, match=f"port 500 of {LOCAL} is taken"):
            opened(lambda _: None)
    ike = IkeSocket(IPv4Address("192.0.2.99"))
    with pytest.raises(PortTakenError, match=r"192\.0\.2\.99 is not an address of this host"):
        ike.open()
