"""Classic BPF programs that count packets in the kernel (Linux, Documentation/networking/filter.rst).

They run on a packet socket of type SOCK_DGRAM, where offset 0 is the first byte of the IPv4 header:

    0 version, IHL    1 TOS    2-3 length    6-7 fragment    9 protocol    12-15 source    16-19 destination

An instruction is 8 bytes: code (16 bits), the jumps when true and when false (8 bits each), k (32 bits).
Jumps only go forward and count the instructions to skip.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from vcstack.wire.ipv4 import IpProtocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE = 0x20, 0x28, 0x30
_LOAD_HALF_INDEXED = 0x48
_INDEX_IHL = 0xB1  # X = 4 * (byte[k] & 15)
_AND, _EQUAL, _RETURN = 0x54, 0x15, 0x06
_FRAME_KIND = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE
_OUTGOING = 4
_IKE_PORTS = (500, 4500)
_SOURCE, _DESTINATION = 12, 16
SNAP_BYTES = 128

Step = tuple[int, int]
"""Code and k. A comparison is followed by the next step when false, and by acceptance when true."""


def cleartext(networks: Iterable[IPv4Network]) -> bytes:
    """Accepts IPv4 of protocol 47, and what has its source or destination in one of the networks.

    The addresses and the protocol inside ESP are not visible: what is accepted travels in clear.
    """
    steps: list[Step] = [(_LOAD_BYTE, 9), (_EQUAL, IpProtocol.GRE)]
    for offset in (_SOURCE, _DESTINATION):
        for network in networks:
            mask, value = int(network.netmask), int(network.network_address)
            steps += [(_LOAD_WORD, offset), (_AND, mask), (_EQUAL, value)]
    return _assemble(steps)


def encrypted() -> bytes:
    """Accepts ESP, and UDP to or from the ports of IKE and of ESP in UDP."""
    steps: list[Step] = [(_LOAD_BYTE, 9), (_EQUAL, IpProtocol.ESP), (_INDEX_IHL, 0)]
    for offset in (0, 2):
        steps += [(_LOAD_HALF_INDEXED, offset), *((_EQUAL, port) for port in _IKE_PORTS)]
    return _assemble(steps)


def _assemble(steps: list[Step]) -> bytes:
    """Drop what leaves, so that a forwarded packet counts once; then the steps; then refuse, or accept."""
    head = _instruction(_LOAD_WORD, _FRAME_KIND) + _instruction(_EQUAL, _OUTGOING, if_true=len(steps))
    body = b"".join(
        _instruction(code, k, if_true=len(steps) - index if code == _EQUAL else 0)
        for index, (code, k) in enumerate(steps)
    )
    return head + body + _instruction(_RETURN, 0) + _instruction(_RETURN, SNAP_BYTES)


def _instruction(code: int, k: int, *, if_true: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, 0, k)
