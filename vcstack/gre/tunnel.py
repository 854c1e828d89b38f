"""One GRE tunnel between two transport addresses: what its packets look like and which it takes.

The delivery header copies DSCP and DF from the inner packet where the configuration says so,
and ECN always (RFC 6040 section 4.1, normal mode). On the way out of the tunnel the
congestion mark of the delivery header is joined to the inner one (section 4.2):

```
                     delivery header
  inner      Not-ECT    ECT(0)     ECT(1)     CE
  Not-ECT    Not-ECT    Not-ECT    Not-ECT    drop
  ECT(0)     ECT(0)     ECT(0)     ECT(1)     CE
  ECT(1)     ECT(1)     ECT(1)     ECT(1)     CE
  CE         CE         CE         CE         CE
```
"""

from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from vcstack.gre.packet import TTL, Decapsulated, Header, Protocol, Reject, decapsulate, encapsulate
from vcstack.wire.checksum import checksum_update
from vcstack.wire.ipv4 import CHECKSUM_OFFSET, MINIMUM_HEADER, IpProtocol

ECN_MASK = 0x03
DSCP_MASK = 0xFC
NOT_ECT, ECT_1, ECT_0, CE = 0b00, 0b01, 0b10, 0b11
ECN_DROP = 0xFF
ECN_DECAPSULATION: tuple[tuple[int, ...], ...] = (
    # Rows are the inner ECN field 0 to 3, columns that of the delivery header.
    (NOT_ECT, NOT_ECT, NOT_ECT, ECN_DROP),
    (ECT_1, ECT_1, ECT_1, CE),
    (ECT_0, ECT_1, ECT_0, CE),
    (CE, CE, CE, CE),
)
_FRAGMENT_OFFSET = 6
_DONT_FRAGMENT_BYTE = 0x40
_SEQUENCES = 1 << 32
RESTART_RUN = 16
"""Late packets in a row after which the sender's count has begun anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelConfig:
    """Both transport addresses, the key (RFC 2890; None: none), and what the delivery header copies.

    `copy_df` belongs to path MTU discovery: without it the delivery header never has DF. The
    addresses of the tunnel interfaces serve to recognise keepalives that carry them.
    ValueError for a key that does not fit 32 bits or for equal addresses.
    """

    local: IPv4Address
    remote: IPv4Address
    key: int | None = None
    copy_df: bool = True
    copy_dscp: bool = True
    ttl: int = TTL
    interface_local: IPv4Address | None = None
    interface_remote: IPv4Address | None = None

    def __post_init__(self) -> None:
        if self.local == self.remote:
            raise ValueError(f"GRE tunnel from {self.local} to itself")
        if self.key is not None and not 0 <= self.key < 1 << 32:
            raise ValueError(f"GRE key {self.key}; 0 to 4294967295 is expected")
        if not 0 < self.ttl < 1 << 8:
            raise ValueError(f"TTL {self.ttl}; 1 to 255 is expected")

    @property
    def gre_length(self) -> int:
        """Size of the GRE header, 4 or 8 bytes."""
        return Header(key=self.key).length

    @property
    def overhead(self) -> int:
        """Bytes that encapsulation adds: 24, or 28 with a key."""
        return MINIMUM_HEADER + self.gre_length

    def template(self) -> bytes:
        """Both headers of an empty packet: length 20 + `gre_length`, TOS, identification and flags 0.

        The header checksum in it is right, so that it is updated with what changes (RFC 1624).
        """
        return encapsulate(b"", self.local, self.remote, key=self.key, ttl=self.ttl)

    def expected_words(self) -> tuple[int, int, int]:
        """Protocol, source and destination, as integers, of every packet that comes out of ESP."""
        return IpProtocol.GRE, int(self.remote), int(self.local)


class Sequencer:
    """Order of received packets that carry sequence numbers (RFC 2890 section 2.2).

    Nothing is buffered: a packet that is late is refused, a gap is passed over. The RFC starts at
    "establishment of the tunnel", which one end alone does not see: after a restart of either, every
    number may look late. `RESTART_RUN` late packets in ascending order, with none in time between
    them, are taken for that; packets that are merely late come between others.
    """

    __slots__ = ("_last", "_late", "_run")

    def __init__(self) -> None:
        self._last = _SEQUENCES - 1
        self._late = 0
        self._run = 0

    def accept(self, sequence: int) -> bool:
        """Whether the number is ahead of the last one accepted, which it then replaces."""
        if not _is_ahead(sequence, self._last) and not self._has_restarted(sequence):
            return False
        self._last = sequence
        self._run = 0
        return True

    def _has_restarted(self, sequence: int) -> bool:
        follows = self._run > 0 and _is_ahead(sequence, self._late)
        self._run = self._run + 1 if follows else 1
        self._late = sequence
        return self._run >= RESTART_RUN


class Tunnel:
    """The scalar tunnel; `rejects` counts by reason."""

    __slots__ = ("_sequencer", "config", "rejects")

    def __init__(self, config: TunnelConfig) -> None:
        self.config = config
        self.rejects: dict[Reject, int] = {}
        self._sequencer = Sequencer()

    def encapsulate(self, inner: bytes, identification: int = 0) -> bytes:
        """Delivery packet for an IPv4 packet, whose header the caller vouches for."""
        config, tos = self.config, inner[1]
        return encapsulate(
            inner,
            config.local,
            config.remote,
            key=config.key,
            tos=tos if config.copy_dscp else tos & ECN_MASK,
            dont_fragment=config.copy_df and bool(inner[_FRAGMENT_OFFSET] & _DONT_FRAGMENT_BYTE),
            identification=identification,
            ttl=config.ttl,
        )

    def decapsulate(self, packet: bytes) -> Decapsulated | Reject:
        """Payload of a delivery packet: IPv4 cut to its length with its ECN field joined, or a keepalive.

        Of the inner header only version and lengths are looked at: the host behind the tunnel
        verifies its checksum, as it does for every packet it receives.
        """
        outcome = self._decapsulate(packet)
        if isinstance(outcome, Reject):
            self.reject(outcome)
        return outcome

    def reject(self, reason: Reject, count: int = 1) -> None:
        """Count packets that are not taken."""
        self.rejects[reason] = self.rejects.get(reason, 0) + count

    def _decapsulate(self, packet: bytes) -> Decapsulated | Reject:
        config = self.config
        taken = decapsulate(packet, local=config.local, remote=config.remote, key=config.key)
        if isinstance(taken, Reject):
            return taken
        if taken.header.sequence is not None and not self._sequencer.accept(taken.header.sequence):
            return Reject.OUT_OF_SEQUENCE
        if taken.protocol == Protocol.KEEPALIVE:
            return taken
        inner = _cut_to_length(taken.payload)
        if inner is None:
            return Reject.MALFORMED_INNER
        payload = join_congestion(inner, taken.delivery.tos)
        return Reject.CONGESTION if payload is None else replace(taken, payload=payload)


def join_congestion(inner: bytes, delivery_tos: int) -> bytes | None:
    """Inner IPv4 packet with the ECN field of RFC 6040 section 4.2; None when it is to be dropped."""
    tos = inner[1]
    ecn = ECN_DECAPSULATION[tos & ECN_MASK][delivery_tos & ECN_MASK]
    if ecn == ECN_DROP:
        return None
    if ecn == tos & ECN_MASK:
        return inner
    joined = bytearray(inner)
    joined[1] = tos & DSCP_MASK | ecn
    checksum = int.from_bytes(inner[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 2])
    updated = checksum_update(checksum, int.from_bytes(inner[:2]), int.from_bytes(joined[:2]))
    joined[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 2] = updated.to_bytes(2)
    return bytes(joined)


def _cut_to_length(inner: bytes) -> bytes | None:
    """Return the IPv4 packet at the start of `inner`; None when version or lengths are wrong."""
    if len(inner) < MINIMUM_HEADER or inner[0] >> 4 != 4:
        return None
    header_length, total_length = (inner[0] & 0x0F) * 4, int.from_bytes(inner[2:4])
    if not MINIMUM_HEADER <= header_length <= total_length <= len(inner):
        return None
    return inner[:total_length]


def _is_ahead(sequence: int, last: int) -> bool:
    """RFC 2890 section 2.2: neither `last` nor one of the 2^31 - 1 numbers before it."""
    return 0 < (sequence - last) % _SEQUENCES <= _SEQUENCES // 2
