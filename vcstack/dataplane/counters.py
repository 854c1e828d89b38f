"""Counters of one tunnel's forwarder: unsigned 64-bit numbers in a buffer that two processes may map.

The forwarder alone writes; control maps the same memory and reads it without a message and without a lock
(an aligned 64-bit store is atomic on every machine that Linux runs numpy on). Both sides share one layout:
the members of `Counter`, in their order.
"""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Any


class Counter(IntEnum):
    """Index of each counter. Packets are inner packets unless the name says otherwise."""

    # What the TUN gave us and what became of it.
    OUTBOUND_PACKETS = 0
    OUTBOUND_BYTES = auto()
    OUTBOUND_BATCHES = auto()
    OUTBOUND_SUPER_PACKETS = auto()
    OUTBOUND_ESP_PACKETS = auto()
    OUTBOUND_ESP_BYTES = auto()
    OUTBOUND_FRAGMENTED = auto()
    OUTBOUND_ICMP_TOO_BIG = auto()
    OUTBOUND_MSS_CLAMPED = auto()
    OUTBOUND_DROP_NO_SA = auto()
    OUTBOUND_DROP_NO_PATH = auto()
    OUTBOUND_DROP_SELECTOR = auto()
    OUTBOUND_DROP_EXHAUSTED = auto()
    OUTBOUND_DROP_MALFORMED = auto()
    OUTBOUND_DROP_TOO_BIG = auto()
    OUTBOUND_DROP_SEND = auto()
    OUTBOUND_DROP_QUEUE = auto()
    # What arrived from the peer's side, before authentication.
    INBOUND_DATAGRAMS = auto()
    INBOUND_DATAGRAM_BYTES = auto()
    INBOUND_BATCHES = auto()
    INBOUND_IKE = auto()
    INBOUND_NAT_KEEPALIVES = auto()
    INBOUND_DROP_OTHER = auto()
    # After authentication; control reads the first one as a sign of life.
    INBOUND_AUTHENTICATED = auto()
    INBOUND_KEEPALIVES = auto()
    INBOUND_REFLECTED = auto()
    INBOUND_FRAGMENTS = auto()
    INBOUND_REASSEMBLED = auto()
    INBOUND_PACKETS = auto()
    INBOUND_BYTES = auto()
    INBOUND_SUPER_PACKETS = auto()
    INBOUND_COALESCED = auto()
    INBOUND_MSS_CLAMPED = auto()
    INBOUND_DROP_TUN = auto()
    # One for every esp.packet.Drop, under its name.
    ESP_DROP_UNKNOWN_SPI = auto()
    ESP_DROP_TOO_SHORT = auto()
    ESP_DROP_MISALIGNED = auto()
    ESP_DROP_REPLAYED = auto()
    ESP_DROP_TOO_OLD = auto()
    ESP_DROP_AUTHENTICATION_FAILED = auto()
    ESP_DROP_BAD_PADDING = auto()
    ESP_DROP_DUMMY = auto()
    ESP_DROP_NOT_TUNNELLED_IPV4 = auto()
    ESP_DROP_MALFORMED_INNER = auto()
    ESP_DROP_SELECTOR_MISMATCH = auto()
    ESP_DROP_EXPIRED = auto()
    # One for every gre.packet.Reject, under its name.
    GRE_DROP_NOT_IPV4 = auto()
    GRE_DROP_NOT_GRE = auto()
    GRE_DROP_FRAGMENT = auto()
    GRE_DROP_ADDRESSES = auto()
    GRE_DROP_TRUNCATED = auto()
    GRE_DROP_VERSION = auto()
    GRE_DROP_ROUTING = auto()
    GRE_DROP_RESERVED = auto()
    GRE_DROP_CHECKSUM = auto()
    GRE_DROP_KEY_MISSING = auto()
    GRE_DROP_KEY_UNEXPECTED = auto()
    GRE_DROP_KEY_MISMATCH = auto()
    GRE_DROP_PROTOCOL = auto()
    GRE_DROP_METADATA = auto()
    GRE_DROP_OUT_OF_SEQUENCE = auto()
    GRE_DROP_CONGESTION = auto()
    GRE_DROP_MALFORMED_INNER = auto()
    # One for every gre.reassembly.Discard, under its name.
    FRAGMENT_DROP_MALFORMED = auto()
    FRAGMENT_DROP_TOO_LONG = auto()
    FRAGMENT_DROP_OVERLAP = auto()
    FRAGMENT_DROP_END = auto()
    FRAGMENT_DROP_TOO_MANY = auto()
    FRAGMENT_DROP_TIMEOUT = auto()
    FRAGMENT_DROP_EVICTED = auto()
    # Times, in microseconds of the forwarder's monotonic clock.
    LAST_INBOUND_US = auto()
    LAST_OUTBOUND_US = auto()


COUNTERS_BYTES = 8 * len(Counter)
"""Size of the shared buffer."""


class Counters:
    """A view of the counters over any writable or read-only buffer of at least `COUNTERS_BYTES`."""

    def __init__(self, buffer: bytearray | memoryview | None = None) -> None:
        view = memoryview(bytearray(COUNTERS_BYTES) if buffer is None else buffer)
        # A memoryview of 'Q' adds in 60 ns where a numpy scalar takes 150 ns.
        self._cells = view[:COUNTERS_BYTES].cast("B").cast("Q")

    def add(self, counter: Counter | int, amount: int = 1) -> None:
        """Add to one counter."""
        self._cells[counter] += amount

    def set(self, counter: Counter, value: int) -> None:
        """Store a time or another value that is not a sum."""
        self._cells[counter] = value

    def __getitem__(self, counter: Counter) -> int:
        return self._cells[counter]

    def set_drops(self, prefix: str, totals: Mapping[Any, int]) -> None:
        """Store totals of dropped packets, by members of an enumeration, under `prefix` and their names."""
        for reason, total in totals.items():
            self._cells[Counter[f"{prefix}_DROP_{reason.name}"]] = total

    def snapshot(self) -> dict[str, int]:
        """All counters by lower-case name, in order."""
        values = self._cells.tolist()
        return {counter.name.lower(): values[counter] for counter in Counter}
