"""The data path in the plainest way, one packet at a time: what the batches are compared with.

Nothing here is shared with the batches but the scalar modules of wire, gre and esp.
"""

from ipaddress import IPv4Address

from vcstack.crypto.aead import gcm
from vcstack.dataplane.vnet import GSO_NONE, GSO_TCPV4, GSO_UDP_L4, NEEDS_CSUM, VnetHeader
from vcstack.esp import packet as esp
from vcstack.gre.packet import encapsulate
from vcstack.gre.tunnel import ECN_MASK, TunnelConfig
from vcstack.wire.checksum import internet_checksum

_IPV6 = 0x86DD


def finished(packet: bytes, header: VnetHeader) -> list[bytes]:
    """Packets as they would stand on a wire: checksums complete, super-packets cut."""
    if header.gso_type == GSO_NONE:
        return [
            complete(packet, header.csum_start, header.csum_offset) if header.flags & NEEDS_CSUM else packet
        ]
    return segments(packet, header)


def complete(packet: bytes, start: int, offset: int) -> bytes:
    """Finish a checksum whose field holds the sum of the pseudo-header."""
    checksum = internet_checksum(packet[start:])
    if checksum == 0 and offset == 6:
        checksum = 0xFFFF
    at = start + offset
    return packet[:at] + checksum.to_bytes(2) + packet[at + 2 :]


def segments(packet: bytes, header: VnetHeader) -> list[bytes]:
    """Cut a super-packet as a network card does."""
    tcp = header.gso_type != GSO_UDP_L4
    start = header.csum_start
    size = header.gso_size
    length = start + ((packet[start + 12] >> 4) * 4 if tcp else 8)
    payload = packet[length:]
    chunks = [payload[at : at + size] for at in range(0, len(payload), size)]
    return [
        _segment(packet[:length], start, chunk, index, index * size, len(chunks), tcp=tcp)
        for index, chunk in enumerate(chunks)
    ]


def _segment(
    head: bytes, start: int, chunk: bytes, index: int, position: int, count: int, *, tcp: bool
) -> bytes:
    ip, transport = bytearray(head[:start]), bytearray(head[start:])
    length = len(transport) + len(chunk)
    if tcp:
        sequence = int.from_bytes(transport[4:8]) + position
        transport[4:8] = (sequence & 0xFFFFFFFF).to_bytes(4)
        if index < count - 1:
            transport[13] &= ~0x09  # FIN and PSH belong to the last
        if index > 0:
            transport[13] &= ~0x80  # CWR belongs to the first
        field, protocol = slice(16, 18), 6
    else:
        transport[4:6] = length.to_bytes(2)
        field, protocol = slice(6, 8), 17
    if ip[0] >> 4 == 4:
        ip[2:4] = (start + length).to_bytes(2)
        ip[4:6] = ((int.from_bytes(ip[4:6]) + index) & 0xFFFF).to_bytes(2)
        ip[10:12] = bytes(2)
        ip[10:12] = internet_checksum(ip).to_bytes(2)
        addresses = ip[12:20]
    else:
        ip[4:6] = (start - 40 + length).to_bytes(2)
        addresses = ip[8:40]
    transport[field] = bytes(2)
    pseudo = bytes(addresses) + length.to_bytes(4) + bytes((0, 0, 0, protocol))
    checksum = internet_checksum(pseudo + bytes(transport) + chunk)
    transport[field] = (checksum if tcp or checksum else 0xFFFF).to_bytes(2)
    return bytes(ip) + bytes(transport) + chunk


def clamped(packet: bytes, ceiling: int) -> bytes:
    """The packet with its MSS option lowered, and its checksum computed anew."""
    version = packet[0] >> 4
    start = (packet[0] & 15) * 4 if version == 4 else 40
    protocol = packet[9] if version == 4 else packet[6]
    fragmented = version == 4 and int.from_bytes(packet[6:8]) & 0x1FFF
    if protocol != 6 or fragmented or len(packet) < start + 20 or not packet[start + 13] & 0x02:
        return packet
    end = start + (packet[start + 12] >> 4) * 4
    at = start + 20
    changed = bytearray(packet)
    while at < end and packet[at] != 0:
        if packet[at] == 1:
            at += 1
            continue
        if packet[at] == 2 and int.from_bytes(packet[at + 2 : at + 4]) > ceiling:
            changed[at + 2 : at + 4] = ceiling.to_bytes(2)
        at += packet[at + 1]
    changed[start + 16 : start + 18] = bytes(2)
    addresses = packet[12:20] if version == 4 else packet[8:40]
    length = len(packet) - start
    pseudo = addresses + length.to_bytes(4) + bytes((0, 0, 0, 6))
    changed[start + 16 : start + 18] = internet_checksum(pseudo + bytes(changed[start:])).to_bytes(2)
    return bytes(changed)


def delivered(inner: bytes, config: TunnelConfig, identification: int) -> bytes:
    """Delivery packet around an IPv4 or IPv6 packet."""
    if inner[0] >> 4 == 4:
        tos, df, protocol = inner[1], bool(inner[6] & 0x40), 0x0800
    else:
        tos, df, protocol = (inner[0] << 4 | inner[1] >> 4) & 0xFF, True, _IPV6
    return encapsulate(
        inner,
        IPv4Address(config.local),
        IPv4Address(config.remote),
        key=config.key,
        tos=tos if config.copy_dscp else tos & ECN_MASK,
        dont_fragment=df and config.copy_df,
        identification=identification & 0xFFFF,
        protocol=protocol,
    )


def sealed(payloads: list[bytes], key: bytes, spi: int, *, first: int = 1, esn: bool = False) -> list[bytes]:
    """ESP packets with consecutive sequence numbers."""
    cipher = gcm(key)
    return [
        esp.seal(
            cipher,
            spi,
            number & 0xFFFFFFFF,
            number.to_bytes(8),
            payload,
            esn_high=number >> 32 if esn else None,
        )
        for number, payload in enumerate(payloads, first)
    ]


def super_packet(
    head: bytes, payload: bytes, size: int, start: int, *, tcp: bool
) -> tuple[bytes, VnetHeader]:
    """A super-packet as the kernel hands it over, with an open checksum."""
    packet = bytearray(head + payload)
    if packet[0] >> 4 == 4:
        packet[2:4] = len(packet).to_bytes(2)
        kind = GSO_TCPV4 if tcp else GSO_UDP_L4
        addresses = bytes(packet[12:20])
    else:
        packet[4:6] = (len(packet) - 40).to_bytes(2)
        kind = 4 if tcp else GSO_UDP_L4
        addresses = bytes(packet[8:40])
    length = len(packet) - start
    offset = 16 if tcp else 6
    pseudo = addresses + length.to_bytes(4) + bytes((0, 0, 0, 6 if tcp else 17))
    packet[start + offset : start + offset + 2] = (internet_checksum(pseudo) ^ 0xFFFF).to_bytes(2)
    return bytes(packet), VnetHeader(NEEDS_CSUM, kind, len(head), size, start, offset)
