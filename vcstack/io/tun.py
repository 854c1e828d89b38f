"""A TUN interface with offloads (Linux, Documentation/networking/tuntap.rst; virtio 1.2 section 5.1.6).

With IFF_VNET_HDR every packet carries the ten bytes of struct virtio_net_hdr in front, in host byte order,
so that the kernel hands over whole TCP or UDP bursts and leaves checksums to us:

     0       1       2       4       6          8          10
    +-------+-------+-------+-------+----------+----------+
    | flags | type  | length of hdr | gso size | csum start, csum offset (2 + 2 bytes at 6 and 8)
    +-------+-------+-------+-------+----------+----------+
    flags u8, gso_type u8, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vcstack.io import steering

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address

    from vcstack.dataplane.coalesce import Write

_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8

_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_MULTI_QUEUE = 0x0100
_IFF_TUN_EXCL = 0x8000
_FLAGS = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
_MODES = (_FLAGS | _IFF_MULTI_QUEUE | _IFF_TUN_EXCL, _FLAGS)
"""An interface of our own may have two queues; one that was made before us is taken as it is."""

_IFREQ = struct.Struct("16sH22x")

OFFLOADS: tuple[tuple[str, int], ...] = (
    ("csum", 0x01),
    ("tso4", 0x02),
    ("tso6", 0x04),
    ("tso-ecn", 0x08),
    ("uso4", 0x20),
    ("uso6", 0x40),
)
"""TUN_F_* by name; USO came with Linux 6.2 and is only taken in both families together."""

_FALLBACKS: tuple[tuple[str, ...], ...] = (
    ("csum", "tso4", "tso6", "tso-ecn", "uso4", "uso6"),
    ("csum", "tso4", "tso6", "tso-ecn"),
    ("csum", "tso4"),
    ("csum",),
    (),
)
DEFAULT_OFFLOADS = _FALLBACKS[0]

VNET_HEADER_BYTES = 10
_DEVICE = "/dev/net/tun"
_DEVICES = Path("/proc/net/dev")
_DROPPED_WHILE_SENDING = 11


class TunError(OSError):
    """The TUN cannot be had: the message says why, for the operator."""


class Tun:
    """One open queue of a TUN interface, non-blocking; the interface lives while a descriptor is open."""

    def __init__(self, descriptor: int, name: str, offloads: tuple[str, ...]) -> None:
        os.set_blocking(descriptor, False)
        self.name = name
        self.offloads = offloads
        """Names of the offloads that the kernel accepted."""
        self._descriptor = descriptor
        self.control_queue = -1
        """Descriptor of the queue for control traffic, if there is one."""

    @classmethod
    def open(cls, name: str, offloads: Sequence[str] = DEFAULT_OFFLOADS) -> Self:
        """Create or join the interface `name`; asks for less where the kernel refuses `offloads`.

        Raises `TunError` with a plain reason: no device, no right, name taken.
        """
        if len(name.encode()) > 15:
            raise TunError(f"interface name {name!r} is longer than 15 bytes")
        try:
            descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise TunError(f"cannot open {_DEVICE}: {error.strerror}") from error
        try:
            actual = _attach_any(descriptor, name)
            fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER_BYTES))
            accepted = negotiate_offloads(descriptor, offloads)
        except OSError as error:
            os.close(descriptor)
            raise TunError(f"cannot create interface {name}: {error.strerror}") from error
        return cls(descriptor, actual, accepted)

    @classmethod
    def adopt(cls, descriptor: int, offloads: Sequence[str] = DEFAULT_OFFLOADS) -> Self:
        """Use a descriptor that another process opened with `open`; offloads are negotiated again."""
        name = _name_in(fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ.size)))
        return cls(descriptor, name, negotiate_offloads(descriptor, offloads))

    def separate_control(self, source: IPv4Address) -> bool:
        """Open a second queue for BGP from that address, which bulk cannot fill; False if there is none."""
        try:
            steering.steer(self._descriptor, steering.bgp_from(source))
            queue = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            _attach(queue, self.name, _FLAGS | _IFF_MULTI_QUEUE)
        except OSError:
            os.close(queue)
            return False
        self.control_queue = queue
        self.offloads = (*self.offloads, "control-queue")
        return True

    def fileno(self) -> int:
        """The descriptor, for polling and for passing on."""
        return self._descriptor

    def read(self, view: memoryview) -> int:
        """Read one packet behind its vnet header into `view`; 0 when none waits or the interface is down."""
        try:
            return os.readv(self._descriptor, (view,))
        except OSError:
            # EAGAIN, or EBADFD while the interface is down: nothing to read in either case.
            return 0

    def read_control(self, view: memoryview) -> int:
        """Read one packet from the queue for control traffic, as `read` does."""
        try:
            return os.readv(self.control_queue, (view,))
        except OSError:
            return 0

    def write(self, packet: Write) -> bool:
        """Write one packet, in one piece or several, behind its vnet header; False when it was not taken."""
        try:
            if isinstance(packet, list):
                os.writev(self._descriptor, packet)
            else:
                os.write(self._descriptor, packet)
        except OSError:
            # EIO while the interface is down, EINVAL for a packet it does not like, EAGAIN when full.
            return False
        return True

    def drops(self) -> int:
        """Packets that the kernel dropped because the queue was full, or the interface down."""
        with suppress(OSError):
            for line in _DEVICES.read_text("ascii").splitlines():
                name, _, numbers = line.strip().partition(":")
                if name == self.name:
                    return int(numbers.split()[_DROPPED_WHILE_SENDING])
        return 0

    def close(self) -> None:
        """Close the descriptor; the interface goes with the last one."""
        for descriptor in (self._descriptor, self.control_queue):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self.control_queue = -1


def _attach_any(descriptor: int, name: str) -> str:
    """Make the interface, or join one that is there; its name. Raises `OSError`, EBUSY when it is served."""
    for flags in _MODES:
        try:
            return _attach(descriptor, name, flags)
        except OSError as error:
            # EINVAL: there is one with several queues, which another process made for itself.
            if flags == _MODES[-1]:
                number = errno.EBUSY if error.errno == errno.EINVAL else error.errno
                raise OSError(number, os.strerror(number or 0)) from error
    raise AssertionError("the last mode returns or raises")


def _attach(descriptor: int, name: str, flags: int) -> str:
    request = fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
    return _name_in(request)


def _name_in(request: bytes) -> str:
    name: bytes = _IFREQ.unpack(request)[0]
    return name.rstrip(b"\0").decode()


def negotiate_offloads(descriptor: int, wanted: Sequence[str]) -> tuple[str, ...]:
    """Ask the kernel for the offloads `wanted`, then for less and less; returns what it accepted."""
    numbers = dict(OFFLOADS)
    for names in _FALLBACKS:
        chosen = tuple(name for name in names if name in wanted)
        try:
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, sum(numbers[name] for name in chosen))
        except OSError:
            continue
        return chosen
    return ()
