"""A GRE tunnel end for test peers whose kernel has none: small, and independent of vcstack.

    python -m tests.support.gre_end DEVICE LOCAL REMOTE [--key N] [--keepalive S] [--deaf] [--state FILE]

It creates the TUN `DEVICE`, carries its packets to and from a raw socket of protocol 47 bound to `LOCAL`,
and behaves as a Cisco router does about keepalives: it forwards the packet inside a keepalive (unless
`--deaf`), and with `--keepalive` it sends its own and counts those that come back. `FILE` gets one JSON
object with the counts, several times a second.
"""

import argparse
import contextlib
import fcntl
import json
import select
import socket
import struct
import time
from io import FileIO
from ipaddress import IPv4Address
from pathlib import Path

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
GRE = 47
KEY_PRESENT = 0x2000
STATE_INTERVAL_S = 0.2


def open_tun(name: str) -> FileIO:
    """A TUN device without packet information, and its file."""
    tun = Path("/dev/net/tun").open("r+b", buffering=0)  # noqa: SIM115 (lives as long as the process)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def ones_complement_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: IPv4Address, destination: IPv4Address, payload: bytes, ttl: int = 255) -> bytes:
    """An IPv4 packet of protocol 47 around `payload`."""
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(payload), 0, 0, ttl, GRE, 0, source.packed, destination.packed
    )
    return header[:10] + struct.pack("!H", ones_complement_sum(header)) + header[12:] + payload


def gre(protocol: int, key: int | None) -> bytes:
    if key is None:
        return struct.pack("!HH", 0, protocol)
    return struct.pack("!HHI", KEY_PRESENT, protocol, key)


class GreEnd:
    """Both directions, the reflector and the prober."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.local, self.remote = IPv4Address(options.local), IPv4Address(options.remote)
        self.header = gre(0x0800, options.key)
        self.probe = ipv4(self.remote, self.local, gre(0, options.key))
        self.tun = open_tun(options.device)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, GRE)
        self.socket.bind((options.local, 0))
        self.forward = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.state = dict.fromkeys(("sent", "received", "reflected", "probes", "replies", "refused"), 0)

    def run(self) -> None:
        next_probe = next_state = time.monotonic()
        while True:
            ready, _, _ = select.select(
                [self.tun.fileno(), self.socket.fileno()], [], [], STATE_INTERVAL_S / 2
            )
            now = time.monotonic()
            if self.tun.fileno() in ready:
                self.from_tun(self.tun.read(65535))
            if self.socket.fileno() in ready:
                self.from_wire(self.socket.recv(65535))
            if self.options.keepalive and now >= next_probe:
                next_probe = now + self.options.keepalive
                self.send(self.header + self.probe)
                self.state["probes"] += 1
            if self.options.state and now >= next_state:
                next_state = now + STATE_INTERVAL_S
                self.write_state()

    def from_tun(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4:
            self.send(self.header + packet)
            self.state["sent"] += 1

    def from_wire(self, packet: bytes) -> None:
        body = packet[(packet[0] & 15) * 4 :]
        if packet[12:16] != self.remote.packed or body[: len(self.header)][:2] != self.header[:2]:
            self.state["refused"] += 1
        elif body == gre(0, self.options.key):
            self.state["replies"] += 1
        elif not body.startswith(self.header):
            self.state["refused"] += 1
        else:
            self.deliver(body[len(self.header) :])

    def deliver(self, inner: bytes) -> None:
        if inner[9] == GRE and inner[16:20] == self.remote.packed:
            if not self.options.deaf:
                self.forward_inner(inner)
        else:
            self.state["received"] += 1
            with contextlib.suppress(OSError):
                self.tun.write(inner)

    def forward_inner(self, inner: bytes) -> None:
        """As a router does: one hop less, and the kernel sets the checksum."""
        with contextlib.suppress(OSError):
            self.forward.sendto(inner[:8] + bytes([inner[8] - 1]) + inner[9:], (str(self.remote), 0))
        self.state["reflected"] += 1

    def send(self, packet: bytes) -> None:
        with contextlib.suppress(OSError):  # no route or no SA yet
            self.socket.sendto(packet, (str(self.remote), 0))

    def write_state(self) -> None:
        path = Path(self.options.state)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(self.state))
        fresh.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("local")
    parser.add_argument("remote")
    parser.add_argument("--key", type=int)
    parser.add_argument("--keepalive", type=float)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--state")
    GreEnd(parser.parse_args()).run()


if __name__ == "__main__":
    main()
