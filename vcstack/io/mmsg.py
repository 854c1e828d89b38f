"""sendmmsg(2) and recvmmsg(2) without C of our own: ctypes, and their structures as numpy arrays.

A batch becomes messages; a message is one datagram, or with UDP_SEGMENT a run of up to 64 datagrams of one
size of which the last may be shorter. An array operation sets a field of all of them, so 64 rows cost no
more Python than one.

    struct mmsghdr  name 8 | namelen 4, 4 | iov 8 | iovlen 8 | control 8 | controllen 8 | flags 4, 4 | len 4,
    4 control         cmsghdr 16 | UDP_SEGMENT u16, 6 |   cmsghdr 16 | IP_TOS int, 4
"""

import ctypes
import errno
import os
import socket
from dataclasses import dataclass

import numpy as np

from vcstack.wire.batch import Arena, Integers, Rows

UDP_SEGMENT = 103
SOL_UDP = socket.IPPROTO_UDP
MAX_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of Linux before 6.9, which has 128."""
MAX_BYTES = 65_507
MAX_ROWS = 128
DSCP_MASK = 0xFC

_MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("namelen", "u8"),
        ("iov", "u8"),
        ("iovlen", "u8"),
        ("control", "u8"),
        ("controllen", "u8"),
        ("flags", "u8"),
        ("moved", "u8"),
    ]
)
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_CONTROL = np.dtype([("length", "u8"), ("level", "i4"), ("kind", "i4"), ("value", "u4"), ("filler", "u4")])
_SEGMENT_LENGTH = 18
_TOS_LENGTH = 20
_CONTROL_SIZE = 24

_LIBC = ctypes.CDLL(None, use_errno=True)
_SENDMMSG = getattr(_LIBC, "sendmmsg", None)
if _SENDMMSG is not None:
    _SENDMMSG.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    _SENDMMSG.restype = ctypes.c_int

_RECVMMSG = getattr(_LIBC, "recvmmsg", None)
if _RECVMMSG is not None:
    _RECVMMSG.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    _RECVMMSG.restype = ctypes.c_int

available = _SENDMMSG is not None and _RECVMMSG is not None
"""Whether the C library has them."""


@dataclass(slots=True)
class Runs:
    """Messages of a batch: message i has the rows from `starts[i]` to `starts[i + 1]`; `tos` per message."""

    starts: list[int]
    tos: list[int]

    def __len__(self) -> int:
        return len(self.starts) - 1


def runs_of(rows: Rows, tos: Integers | int, *, segment: bool) -> Runs:
    """Split a batch into messages: one per row, or with `segment` the longest runs that UDP_SEGMENT takes."""
    count = len(rows)
    alike = isinstance(tos, int)
    marks = [tos & DSCP_MASK] * count if isinstance(tos, int) else (tos & DSCP_MASK).tolist()
    if not segment:
        return Runs(list(range(count + 1)), marks)
    first = rows.lengths.item(0)
    if alike and rows.even and rows.lengths.item(-1) <= first:
        most = max(1, min(MAX_SEGMENTS, MAX_BYTES // first))
        starts = [*range(0, count, most), count]
        return Runs(starts, marks[: len(starts) - 1])
    return _mixed_runs(rows.lengths.tolist(), marks)


def _mixed_runs(lengths: list[int], marks: list[int]) -> Runs:
    """A run goes on while the size and the mark stay, and ends with a shorter row."""
    starts, tos = [0], [marks[0]]
    size, total, ended = lengths[0], 0, False
    for index, (length, mark) in enumerate(zip(lengths, marks, strict=True)):
        full = index - starts[-1] >= MAX_SEGMENTS or total + length > MAX_BYTES
        if index and (ended or length > size or mark != tos[-1] or full):
            starts.append(index)
            tos.append(mark)
            size, total = length, 0
        ended = length < size
        total += length
    starts.append(len(lengths))
    return Runs(starts, tos)


class MessageSender:
    """Sends batches on one socket; the arrays are built once."""

    def __init__(self, descriptor: int, *, segment: bool) -> None:
        self._descriptor = descriptor
        self._vectors = np.zeros(MAX_ROWS, _VECTOR)
        self._messages = np.zeros(MAX_ROWS, _MESSAGE)
        self._controls = np.zeros((MAX_ROWS, 2), _CONTROL)
        self._vector_at = self._vectors.ctypes.data
        self._messages_at = self._messages.ctypes.data
        self._segment = segment
        self._bases: dict[int, tuple[Arena, int]] = {}
        controls = self._controls
        # Without segmentation the control data starts at its second part.
        skipped = 0 if segment else _CONTROL_SIZE
        self._messages["control"] = controls.ctypes.data + np.arange(MAX_ROWS) * controls.strides[0] + skipped
        self._messages["controllen"] = 2 * _CONTROL_SIZE - skipped
        controls["length"] = (_SEGMENT_LENGTH, _TOS_LENGTH)
        controls["level"] = (SOL_UDP, socket.IPPROTO_IP)
        controls["kind"] = (UDP_SEGMENT, socket.IP_TOS)

    def send(self, rows: Rows, runs: Runs, first: int) -> int:
        """Send the messages from `first` on; returns how many the kernel took.

        Raises `OSError` for the message at `first` itself (EAGAIN, EMSGSIZE, EIO, ENOBUFS ...).
        """
        assert _SENDMMSG is not None, "checked by the transport"
        self._fill(rows, runs)
        at = self._messages_at + first * _MESSAGE.itemsize
        sent: int = _SENDMMSG(self._descriptor, at, len(runs) - first, socket.MSG_DONTWAIT)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent

    def _fill(self, rows: Rows, runs: Runs) -> None:
        count, messages = len(rows), self._messages[: len(runs)]
        self._vectors["base"][:count] = rows.offsets + self._base(rows.arena)
        self._vectors["length"][:count] = rows.lengths
        starts = np.array(runs.starts, np.int64)
        messages["iov"] = self._vector_at + starts[:-1] * _VECTOR.itemsize
        messages["iovlen"] = starts[1:] - starts[:-1]
        values = self._controls["value"]
        values[: len(runs), 1] = runs.tos
        if self._segment:
            values[: len(runs), 0] = rows.lengths[starts[:-1]]

    def _base(self, arena: Arena) -> int:
        """Address of an arena, which stays where it is as long as it is kept here."""
        found = self._bases.get(id(arena))
        if found is None:
            found = self._bases[id(arena)] = (arena, arena.array.ctypes.data)
        return found[1]


class MessageReceiver:
    """Receives batches on one socket, each datagram into its row of an arena; the arrays are built once."""

    def __init__(self, descriptor: int, arena: Arena, pitch: int, rows: int) -> None:
        self._descriptor = descriptor
        self._arena = arena
        self._vectors = np.zeros(rows, _VECTOR)
        self._messages = np.zeros(rows, _MESSAGE)
        self._vectors["base"] = arena.array.ctypes.data + np.arange(rows) * pitch
        self._vectors["length"] = pitch
        self._messages["iov"] = self._vectors.ctypes.data + np.arange(rows) * _VECTOR.itemsize
        self._messages["iovlen"] = 1
        self._messages_at = self._messages.ctypes.data
        self._lengths = self._messages["moved"].view(np.int64)

    def receive(self) -> Integers:
        """Take what waits, as many datagrams as there are rows; their lengths.

        Raises `OSError`: BlockingIOError when none waits.
        """
        assert _RECVMMSG is not None, "checked by the transport"
        rows = len(self._lengths)
        count: int = _RECVMMSG(self._descriptor, self._messages_at, rows, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return self._lengths[:count].copy()


RETRY_ERRORS = frozenset({errno.EAGAIN, errno.ENOBUFS})
SIZE_ERRORS = frozenset({errno.EMSGSIZE, errno.EINVAL, errno.EIO})
"""What a kernel or a device answers to UDP_SEGMENT that it cannot do."""
