"""Writes captures: IPv4 packets with the time at which a test saw them (pcap, link type RAW)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vcstack.ikev2.path import NAT_TRAVERSAL_PORT, Path
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.udp import UdpHeader

if TYPE_CHECKING:
    import pathlib

MAGIC, VERSION = 0xA1B2C3D4, (2, 4)
LINKTYPE_RAW = 101
SNAPLEN = 65535
NON_ESP_MARKER = bytes(4)


class Capture:
    """Packets in the order in which they are added; a `Path` is always that of the sender."""

    def __init__(self) -> None:
        self.packets: list[tuple[float, bytes]] = []

    def ike(self, at: float, path: Path, message: bytes) -> None:
        """An IKE message, with the non-ESP marker on port 4500 (RFC 3948 section 2.2)."""
        marker = NON_ESP_MARKER if path.local_port == NAT_TRAVERSAL_PORT else b""
        self._udp(at, path, marker + message)

    def esp(self, at: float, path: Path, packet: bytes, *, udp: bool) -> None:
        """An ESP packet, in UDP or as protocol 50."""
        if udp:
            self._udp(at, path, packet)
        else:
            self._ipv4(at, path, IpProtocol.ESP, packet)

    def write(self, file: pathlib.Path) -> pathlib.Path:
        """Write everything, and return the file."""
        with file.open("wb") as out:
            out.write(struct.pack("<IHHiIII", MAGIC, *VERSION, 0, 0, SNAPLEN, LINKTYPE_RAW))
            for at, packet in self.packets:
                microseconds = round(at * 1_000_000)
                header = (*divmod(microseconds, 1_000_000), len(packet), len(packet))
                out.write(struct.pack("<IIII", *header) + packet)
        return file

    def _udp(self, at: float, path: Path, payload: bytes) -> None:
        header = UdpHeader(path.local_port, path.remote_port)
        self._ipv4(at, path, IpProtocol.UDP, header.build(payload, path.local, path.remote))

    def _ipv4(self, at: float, path: Path, protocol: int, payload: bytes) -> None:
        header = Ipv4Header(path.local, path.remote, protocol)
        self.packets.append((at, header.build(len(payload)) + payload))
