"""Sends and receives UDP packets of many flows, many packets per system call, and times each.

`python -m benchmarks.netns.generator send|receive` reads one JSON object per line and answers each with one.
128 flows are 128 source addresses of one socket (IP_PKTINFO, RFC 1122 4.1.3.5: the sender may choose), so
that one sendmmsg takes a packet of each. The payload begins with

    CLOCK_MONOTONIC in ns, i64 | number of the trial, i64

and the arrival is the kernel's own stamp of the packet (SO_TIMESTAMPNS) as it leaves the tunnel: the receiver
may sleep between two system calls without a part in the result. Both run before everything else (nice -10),
as if they were on other machines: who is measured gets what they leave.
"""

import ctypes
import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.netns.network import DESTINATIONS, FLOWS, SOURCES

PORT = 9000
HEADERS = 28
LATE_NS = 50_000_000
"""A packet that took longer counts as lost: no queue makes a rate look sustained that is not."""

_FORGIVEN_S = 0.004
"""A sender that did not get the processor makes up for this much, and skips the rest."""
_SHORTEST_SLEEP_S = 150e-6
_IDLE_S = 0.002
_DRAIN_S = 0.001
_RECEIVED_AT_ONCE = 1024
_ROOM = 2048
_BUFFER_BYTES = 32 << 20
_NICE = -10
_PR_SET_TIMERSLACK = 29
_SO_TIMESTAMPNS = 35
_IP_PKTINFO = 8
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32

_MESSAGE = np.dtype(
    [(name, "u8") for name in ("name", "namelen", "iov", "iovlen", "control", "controllen", "flags", "done")]
)
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_CHOICE = np.dtype(
    [("length", "u8"), ("level", "i4"), ("kind", "i4"), ("index", "i4"), ("source", "S4"), ("rest", "S8")]
)
_STAMP = np.dtype(
    [("length", "u8"), ("level", "i4"), ("kind", "i4"), ("seconds", "i8"), ("nanoseconds", "i8")]
)
_LIBC = ctypes.CDLL(None, use_errno=True)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
    return made


def _messages(vectors: NDArray[Any], controls: NDArray[Any]) -> NDArray[Any]:
    messages = np.zeros(len(vectors), _MESSAGE)
    messages["iov"] = vectors.ctypes.data + np.arange(len(vectors)) * vectors.itemsize
    messages["iovlen"] = 1
    messages["control"] = controls.ctypes.data + np.arange(len(vectors)) * controls.itemsize
    return messages


class Sender:
    """Sends at a steady rate, the flows in turn."""

    def __init__(self) -> None:
        self._socket = _socket()
        address = socket.inet_aton(DESTINATIONS[0])
        self._name = np.frombuffer(
            socket.AF_INET.to_bytes(2, sys.byteorder) + PORT.to_bytes(2) + address + bytes(8), np.uint8
        )
        self._payload = np.zeros((FLOWS, _ROOM), np.uint8)
        self._head = self._payload[:, :16].view(np.int64)
        self._vectors = np.zeros(FLOWS, _VECTOR)
        self._vectors["base"] = self._payload.ctypes.data + np.arange(FLOWS) * _ROOM
        self._choices = np.zeros(FLOWS, _CHOICE)
        self._choices["length"] = 28
        self._choices["level"] = socket.IPPROTO_IP
        self._choices["kind"] = _IP_PKTINFO
        self._choices["source"] = [socket.inet_aton(source) for source in SOURCES]
        self._messages = _messages(self._vectors, self._choices)
        self._messages["name"] = self._name.ctypes.data
        self._messages["namelen"] = len(self._name)
        self._messages["controllen"] = 28
        self._flow = 0

    def answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send `rate` packets of `size` bytes a second for `seconds`; what was sent in how long."""
        self._vectors["length"] = order["size"] - HEADERS
        self._head[:, 1] = order["trial"]
        rate, end_s = order["rate"], order["seconds"]
        start, sent, skipped = time.monotonic(), 0, 0
        while (elapsed := time.monotonic() - start) < end_s:
            due = int(elapsed * rate) - sent - skipped
            most = max(1, int(_FORGIVEN_S * rate))
            if due > most:
                skipped += due - most
                due = most
            while due > 0:
                done = self._send(min(due, FLOWS - self._flow))
                sent += done
                due -= done
            next_s = (sent + skipped + 1) / rate
            time.sleep(max(_SHORTEST_SLEEP_S, next_s - (time.monotonic() - start)))
        return {"sent": sent, "seconds": time.monotonic() - start}

    def _send(self, count: int) -> int:
        first = self._flow
        self._head[first : first + count, 0] = time.monotonic_ns()
        at = self._messages.ctypes.data + first * _MESSAGE.itemsize
        done: int = _LIBC.sendmmsg(self._socket.fileno(), ctypes.c_void_p(at), count, 0)
        if done < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._flow = (first + done) % FLOWS
        return done


class Receiver:
    """Counts and times what arrives."""

    def __init__(self) -> None:
        self._socket = _socket()
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind(("0.0.0.0", PORT))
        self._payload = np.zeros((_RECEIVED_AT_ONCE, 16), np.uint8)
        self._head = self._payload.view(np.int64)
        self._vectors = np.zeros(_RECEIVED_AT_ONCE, _VECTOR)
        self._vectors["base"] = self._payload.ctypes.data + np.arange(_RECEIVED_AT_ONCE) * 16
        self._vectors["length"] = 16
        self._stamps = np.zeros(_RECEIVED_AT_ONCE, _STAMP)
        self._messages = _messages(self._vectors, self._stamps)
        self._messages["controllen"] = _STAMP.itemsize
        self._heads: list[NDArray[np.int64]] = []
        self._arrivals: list[NDArray[np.int64]] = []

    def receive(self) -> int:
        """Take what waits; how many."""
        at = ctypes.c_void_p(self._messages.ctypes.data)
        count: int = _LIBC.recvmmsg(
            self._socket.fileno(), at, _RECEIVED_AT_ONCE, socket.MSG_DONTWAIT | socket.MSG_TRUNC, None
        )
        if count > 0:
            stamps = self._stamps[:count]
            offset = time.time_ns() - time.monotonic_ns()
            self._arrivals.append(stamps["seconds"] * 1_000_000_000 + stamps["nanoseconds"] - offset)
            self._heads.append(self._head[:count].copy())
            self._messages["controllen"][:count] = _STAMP.itemsize
        return count

    def answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What arrived of a trial, with its delays in microseconds; everything is forgotten then."""
        if not self._heads:
            return {"received": 0, "p50_us": None, "p99_us": None}
        heads, arrivals = np.concatenate(self._heads), np.concatenate(self._arrivals)
        self._heads, self._arrivals = [], []
        delays = (arrivals - heads[:, 0])[heads[:, 1] == order["trial"]]
        if not len(delays):
            return {"received": 0, "p50_us": None, "p99_us": None}
        p50, p99 = np.percentile(delays, (50, 99)) / 1000
        in_time = int(np.count_nonzero(delays <= LATE_NS))
        return {"received": in_time, "p50_us": round(float(p50), 1), "p99_us": round(float(p99), 1)}


def _say(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _receive() -> None:
    receiver = Receiver()
    _say({"ready": True})
    while True:
        if receiver.receive() > 0:
            time.sleep(_DRAIN_S)
        elif select.select([sys.stdin], [], [], _IDLE_S)[0]:
            if not (line := sys.stdin.readline()):
                return
            _say(receiver.answer(json.loads(line)))


def _send() -> None:
    _LIBC.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    sender = Sender()
    _say({"ready": True})
    for line in sys.stdin:
        _say(sender.answer(json.loads(line)))


if __name__ == "__main__":
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    {"send": _send, "receive": _receive}[sys.argv[1]]()
