"""Which queue of a TUN a packet waits in, decided by a few instructions that the kernel runs per packet.

    struct bpf_insn   code 1 | destination and source register 1 | jump 2 | immediate 4     (bpf(2), eBPF)

A TUN with several queues asks a program of ours (TUNSETSTEERINGEBPF) for the number of the queue. Without
one it would spread flows over the queues by hash.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address

_TUNSETSTEERINGEBPF = 0x800454E0
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}.get(platform.machine())
_PROG_LOAD = 5
_SOCKET_FILTER = 1
_ATTRIBUTES = struct.Struct("IIQQ104x")
_INSTRUCTION = struct.Struct("BBhi")
_KEEP_CONTEXT = _INSTRUCTION.pack(0xBF, 0x16, 0, 0)  # r6 = r1: loads from the packet expect it there
_BYTE, _HALF, _WORD = 0x30, 0x28, 0x20
_UNLESS, _IF = 0x56, 0x16  # 32-bit comparisons of r0
_ANSWER, _EXIT = 0xB7, _INSTRUCTION.pack(0x95, 0, 0, 0)

_BULK, _CONTROL = 0, 1
_PLAIN_IPV4, _TCP, _BGP = 0x45, 6, 179
_LIBC = ctypes.CDLL(None, use_errno=True)


def bgp_from(source: IPv4Address) -> bytes:
    """A program that answers 1 for IPv4 packets with BGP from an address, and 0 for all others."""
    address = int.from_bytes(source.packed, signed=True)
    return b"".join(
        (
            _KEEP_CONTEXT,
            _load(_BYTE, 0),
            _jump(_UNLESS, _PLAIN_IPV4, 10),
            _load(_BYTE, 9),
            _jump(_UNLESS, _TCP, 8),
            _load(_WORD, 12),
            _jump(_UNLESS, address, 6),
            _load(_HALF, 20),
            _jump(_IF, _BGP, 2),
            _load(_HALF, 22),
            _jump(_UNLESS, _BGP, 2),
            _INSTRUCTION.pack(_ANSWER, 0, 0, _CONTROL),
            _EXIT,
            _INSTRUCTION.pack(_ANSWER, 0, 0, _BULK),
            _EXIT,
        )
    )


def steer(tun: int, program: bytes) -> None:
    """Let a program choose the queues of a TUN. Raises `OSError` where the kernel does not let us."""
    loaded = _load_program(program)
    try:
        fcntl.ioctl(tun, _TUNSETSTEERINGEBPF, struct.pack("i", loaded))
    finally:
        os.close(loaded)


def _load(size: int, offset: int) -> bytes:
    return _INSTRUCTION.pack(size, 0, 0, offset)


def _jump(condition: int, value: int, distance: int) -> bytes:
    return _INSTRUCTION.pack(condition, 0, distance, value)


def _load_program(program: bytes) -> int:
    if _SYSCALL is None:
        raise OSError(f"the number of bpf(2) on {platform.machine()} is not known")
    text, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"Apache-2.0")
    count = len(program) // _INSTRUCTION.size
    places = ctypes.addressof(text), ctypes.addressof(licence)
    attributes = _ATTRIBUTES.pack(_SOCKET_FILTER, count, *places)
    descriptor: int = _LIBC.syscall(_SYSCALL, _PROG_LOAD, attributes, len(attributes))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
