"""Packets that do not fit the tunnel, and the one number that decides it (DESIGN: the tunnel MTU).

    path MTU - outer IPv4 20 [- UDP 8] - ESP header and IV 16 - ICV 16 = encrypted part, a multiple of 4
    encrypted part - trailer 2 - GRE delivery header 20 - GRE 4 [- key 4] = tunnel MTU

The TUN interface has this MTU, so the kernel fragments or answers by itself. What is done here is the second
line: the MTU may shrink between the kernel's look and ours, and a device without MTU may feed us.
"""

from dataclasses import replace
from ipaddress import IPv4Address

from vcstack.esp import layout
from vcstack.wire.icmp import error_is_allowed, fragmentation_needed
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.reader import WireError

GRE_KEY_LENGTH = 4
_DONT_FRAGMENT_BYTE = 0x40
_COPIED_OPTION = 0x80
_MINIMUM_MTU = 68
_FRAGMENT_UNIT = 8


def tunnel_mtu(path_mtu: int, *, udp_encapsulation: bool, key_present: bool) -> int:
    """Largest inner packet in bytes for a path MTU in bytes: 1422 for 1500 without UDP and key."""
    encapsulation = layout.GRE_IN_IPV4_LENGTH + (GRE_KEY_LENGTH if key_present else 0)
    return layout.max_inner(path_mtu, udp_encapsulation=udp_encapsulation, encapsulation=encapsulation)


def may_fragment(packet: memoryview) -> bool:
    """Whether an IPv4 packet's DF bit is clear; IPv6 is never fragmented on the way (RFC 8200 section 5)."""
    return packet[0] >> 4 == 4 and not packet[6] & _DONT_FRAGMENT_BYTE


def fragment(packet: memoryview, mtu: int) -> list[bytes]:
    """Split an IPv4 packet into fragments of at most `mtu` bytes (RFC 791 section 3.2).

    Options go into the first fragment, and into the others only when their copied bit is set.
    Returns nothing for a malformed packet or an MTU below 68 bytes, the least that RFC 791 allows.
    """
    try:
        header = Ipv4Header.parse(packet)
    except WireError:
        return []
    if mtu < _MINIMUM_MTU:
        return []
    body = packet[header.header_length : header.total_length]
    following = replace(header, options=_copied_options(header.options))
    fragments: list[bytes] = []
    position = 0
    while position < len(body):
        part = header if position == 0 else following
        room = (mtu - part.header_length) // _FRAGMENT_UNIT * _FRAGMENT_UNIT
        chunk = body[position : position + room]
        last = position + len(chunk) >= len(body)
        part = replace(
            part,
            fragment_offset=header.fragment_offset + position // _FRAGMENT_UNIT,
            more_fragments=header.more_fragments or not last,
        )
        fragments.append(part.build(len(chunk)) + bytes(chunk))
        position += len(chunk)
    return fragments


def too_big(packet: memoryview, mtu: int, router: IPv4Address) -> bytes | None:
    """IPv4 packet with "fragmentation needed" for the sender of `packet`; None where no error may be sent.

    `router` is the address that speaks: ours on the tunnel (RFC 1191 section 4, RFC 1812 section 4.3.2.7).
    """
    if packet[0] >> 4 != 4 or not error_is_allowed(packet):
        return None
    message = fragmentation_needed(mtu, packet)
    sender = Ipv4Header.parse(packet).source
    # RFC 1812 section 4.3.2.5: errors carry precedence 6 (internetwork control).
    header = Ipv4Header(source=router, destination=sender, protocol=IpProtocol.ICMP, tos=0xC0, ttl=64)
    return header.build(len(message)) + message


def _copied_options(options: bytes) -> bytes:
    """The options that every fragment carries, padded with zero to a multiple of 4."""
    kept = bytearray()
    position = 0
    while position < len(options) and options[position] != 0:
        length = 1 if options[position] == 1 else max(2, int.from_bytes(options[position + 1 : position + 2]))
        if options[position] & _COPIED_OPTION:
            kept += options[position : position + length]
        position += length
    return bytes(kept + bytes(-len(kept) % 4))
