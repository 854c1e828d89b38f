"""What a forwarder needs of the way to its peer; `udp`, `rawesp` and `memory` are the three of them."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from vcstack.wire.batch import Integers, Rows


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """Datagrams that were not taken: `too_big` for the path MTU, or the transport was `full`."""

    dropped: int = 0
    too_big: bool = False
    full: bool = False


SENT = SendOutcome()


class Transport(Protocol):
    """Moves batches of ESP packets. Non-blocking."""

    udp: bool
    """Whether ESP travels in UDP, beside IKE."""

    @property
    def offloads(self) -> tuple[str, ...]:
        """Names of what is in use."""

    def fileno(self) -> int:
        """The descriptor to poll for reading; -1 where there is none."""

    def receive(self) -> Rows | None:
        """Take a batch of datagrams, valid until the next call; None when none waits."""

    def send(self, rows: Rows, tos: Integers | int) -> SendOutcome:
        """Send ESP packets; `tos` is that of the packet inside each."""

    def wait_for_room(self) -> bool:
        """Wait a millisecond or two for room to send, or for something to receive; whether there is room."""

    def set_reserve(self, *, on: bool) -> None:
        """Let a full transport take a little more, for what is to be dropped last."""

    def send_datagram(self, data: bytes, remote: IPv4Address, port: int) -> bool:
        """Send one datagram as it is (IKE with its marker, a NAT keepalive); False when it was not taken."""

    def path_mtu(self) -> int | None:
        """What the kernel knows of the path, in bytes; None where it does not tell."""

    def close(self) -> None:
        """Give the socket back."""
