"""NAT detection (RFC 7296 2.23): each side sends hashes of the addresses it sees, a NAT makes them differ."""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address


def nat_detection_hash(initiator_spi: bytes, responder_spi: bytes, address: IPv4Address, port: int) -> bytes:
    """Data of NAT_DETECTION_*_IP: SHA-1 over SPIs, address and port, 20 octets.

    In an IKE_SA_INIT request the responder's SPI is zero, as in the header.
    """
    seen = initiator_spi + responder_spi + address.packed + port.to_bytes(2)
    return hashlib.sha1(seen, usedforsecurity=False).digest()


def is_translated(
    received: Iterable[bytes], initiator_spi: bytes, responder_spi: bytes, address: IPv4Address, port: int
) -> bool:
    """Whether a NAT stands before that end: hashes came, and none is that of the address and port seen here.

    `received` holds the data of every NAT_DETECTION_SOURCE_IP for the peer's end (it may send several),
    or of NAT_DETECTION_DESTINATION_IP for ours. A peer that sends none does not support NAT traversal.
    """
    hashes = tuple(received)
    return bool(hashes) and nat_detection_hash(initiator_spi, responder_spi, address, port) not in hashes
