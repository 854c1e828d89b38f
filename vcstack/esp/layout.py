"""Where everything lies in an ESP packet with AES-GCM-16, and how large it gets.

RFC 4303 section 2, RFC 4106 section 3.

```
 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
|               Security Parameters Index (SPI)                 |  ^ additional authenticated data;
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  | with ESN the upper 32 bits of the
|                      Sequence Number                          |  v number stand between these two
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
|                 Initialization Vector (8 bytes)               |
|                                                               |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
|                  Payload Data (variable)                      |  ^
+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
|               |          TFC Padding (optional)               |  | encrypted
+-+-+-+-+-+-+-+-+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
|                               |     Padding (0 to 255 bytes)  |  |
+-+-+-+-+-+-+-+-+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  |
|                               |  Pad Length   |  Next Header  |  v
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ---
|              Integrity Check Value (16 bytes)                 |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

All sizes are in bytes.
"""

SPI_OFFSET = 0
SEQUENCE_OFFSET = 4
IV_OFFSET = 8
PAYLOAD_OFFSET = 16
"""Start of the encrypted part."""
HEADER_LENGTH = 8
IV_LENGTH = 8
TRAILER_LENGTH = 2
"""Pad Length and Next Header."""
ICV_LENGTH = 16
ALIGNMENT = 4
"""The encrypted part ends on a 4-byte boundary (RFC 4303 section 2.4)."""
MAXIMUM_PADDING = 255
MINIMUM_LENGTH = PAYLOAD_OFFSET + ALIGNMENT + ICV_LENGTH

IPV4_LENGTH = 20
UDP_LENGTH = 8
GRE_IN_IPV4_LENGTH = 24
"""Outer IPv4 header and GRE header without options; the Key field adds 4 (RFC 2890)."""
TCP_IN_IPV4_LENGTH = 40


def padding_length(payload_length: int, pad_to: int = ALIGNMENT) -> int:
    """Padding that brings payload and trailer to a multiple of `pad_to`."""
    return -(payload_length + TRAILER_LENGTH) % pad_to


def esp_size(payload_length: int, pad_to: int = ALIGNMENT) -> int:
    """Size of the ESP packet, SPI to ICV, around a payload of that size."""
    encrypted = payload_length + padding_length(payload_length, pad_to) + TRAILER_LENGTH
    return PAYLOAD_OFFSET + encrypted + ICV_LENGTH


def wire_size(payload_length: int, *, udp_encapsulation: bool) -> int:
    """Size on the wire: outer IPv4 header, UDP header of RFC 3948 where used, ESP packet."""
    return _outer_length(udp_encapsulation=udp_encapsulation) + esp_size(payload_length)


def max_payload(path_mtu: int, *, udp_encapsulation: bool) -> int:
    """Largest payload (a whole tunnelled IP packet) that fits the path unfragmented; 0 when none does."""
    outer = _outer_length(udp_encapsulation=udp_encapsulation)
    room = path_mtu - outer - PAYLOAD_OFFSET - ICV_LENGTH
    return max(0, room // ALIGNMENT * ALIGNMENT - TRAILER_LENGTH)


def max_inner(path_mtu: int, *, udp_encapsulation: bool, encapsulation: int = GRE_IN_IPV4_LENGTH) -> int:
    """Tunnel MTU: largest packet inside an encapsulation of that many bytes inside ESP; 0 when none fits."""
    return max(0, max_payload(path_mtu, udp_encapsulation=udp_encapsulation) - encapsulation)


def max_mss(tunnel_mtu: int) -> int:
    """Largest TCP segment in a packet of `tunnel_mtu` without IP or TCP options; 0 when none fits."""
    return max(0, tunnel_mtu - TCP_IN_IPV4_LENGTH)


def _outer_length(*, udp_encapsulation: bool) -> int:
    return IPV4_LENGTH + (UDP_LENGTH if udp_encapsulation else 0)
