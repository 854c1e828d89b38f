"""A steady flow of small UDP packets: `python -m vcstack.lab.programs.probe ADDRESS PORT RATE`, until killed.

Each packet carries its number; the host sends it back with the TTL that it arrived with. Printed, in seconds
of the monotonic clock that all processes share:

    NUMBER SENT                                  a packet has left
    NUMBER RECEIVED TTL_THERE TTL_BACK           its echo is here
"""

import contextlib
import select
import socket
import struct
import sys
import time

from vcstack.lab.programs.host import ttl_of

_IP_RECVTTL = 12
TTL = 64
_NUMBER = struct.Struct("!Q")
_LARGEST_DATAGRAM = 64


def probe(address: str, port: int, rate: float) -> None:
    """Send `rate` packets in a second for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as flow:
        flow.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        flow.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
        flow.connect((address, port))
        number, next_at = 0, time.monotonic()
        while True:
            wait_s = next_at - time.monotonic()
            if wait_s > 0:
                if select.select([flow], [], [], wait_s)[0]:
                    receive(flow)
                continue
            say(f"{number} {time.monotonic():.6f}")
            with contextlib.suppress(OSError):  # no route, or an ICMP error: the packet is lost
                flow.send(_NUMBER.pack(number))
            number, next_at = number + 1, next_at + 1 / rate


def receive(flow: socket.socket) -> None:
    """Print every echo that waits."""
    with contextlib.suppress(OSError):
        while True:
            data, ancillary, _, _ = flow.recvmsg(_LARGEST_DATAGRAM, socket.CMSG_SPACE(4))
            if len(data) == _NUMBER.size + 1:
                (number,) = _NUMBER.unpack_from(data)
                say(f"{number} {time.monotonic():.6f} {data[-1]} {ttl_of(ancillary)}")


def say(line: str) -> None:
    """One line to whoever started us."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        probe(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
