"""A host of the lab: `python -m vcstack.lab.programs.host ADDRESS PORT`, until it is killed.

UDP on the port is echoed with one byte more: the TTL that the datagram arrived with.
TCP on the port is read to its end and checked; the answer is one JSON line: bytes, seconds, intact.
"""

import asyncio
import contextlib
import json
import socket
import sys
import time

from vcstack.lab import pattern

_IP_RECVTTL = 12
_LARGEST_DATAGRAM = 2048


class Sink(asyncio.BufferedProtocol):
    """Takes one connection's bytes and compares them with the pattern."""

    def __init__(self) -> None:
        self._buffer = bytearray(pattern.MAX_READ)
        self._received = 0
        self._intact = True
        self._first_at = self._last_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A sender connected."""
        assert isinstance(transport, asyncio.Transport), "a stream has such a transport"
        self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 (asyncio's signature)
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Check what came."""
        self._last_at = time.monotonic()
        if not self._received:
            self._first_at = self._last_at
        self._intact = self._intact and pattern.matches(self._buffer[:nbytes], self._received)
        self._received += nbytes

    def eof_received(self) -> None:
        """Answer; returning nothing closes the connection after that."""
        assert self._transport is not None, "connected before"
        seconds = self._last_at - self._first_at
        answer = {"bytes": self._received, "seconds": seconds, "intact": self._intact}
        self._transport.write(json.dumps(answer).encode() + b"\n")


def echo(bound: socket.socket) -> None:
    """Send every waiting datagram back with its TTL."""
    with contextlib.suppress(BlockingIOError):
        while True:
            data, ancillary, _, source = bound.recvmsg(_LARGEST_DATAGRAM, socket.CMSG_SPACE(4))
            with contextlib.suppress(OSError):  # an ICMP error of an earlier echo
                bound.sendto(data + bytes([ttl_of(ancillary)]), source)


def ttl_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The TTL among a datagram's control messages; 0 without one."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, socket.IP_TTL):
            return int.from_bytes(value[:4], sys.byteorder)
    return 0


async def serve(address: str, port: int) -> None:
    """Serve both until cancelled; says `ready` when they can be used."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        bound.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        bound.bind((address, port))
        loop.add_reader(bound, echo, bound)
        server = await loop.create_server(Sink, address, port)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
