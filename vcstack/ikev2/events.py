"""What the machine tells its owner, in this order around a child SA.

`InboundReady`, before any message that lets the peer use it leaves; `OutboundReady`, when the peer
can receive on it; `ChildRetired`, when neither end uses it any longer. A child that is never sent on
(it lost a rekey collision) has no OutboundReady. While a tunnel is up there is always one child
for which OutboundReady came last and ChildRetired has not come.
"""

from dataclasses import dataclass

from vcstack.ikev2.child_sa import ChildSa
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.path import Path


@dataclass(frozen=True, slots=True)
class InboundReady:
    """Install the inbound SA now."""

    child: ChildSa


@dataclass(frozen=True, slots=True)
class OutboundReady:
    """Send everything on this child from now on; also repeated to switch back to a child that lived on."""

    child: ChildSa


@dataclass(frozen=True, slots=True)
class ChildRetired:
    """The outbound SA is gone; the inbound one may linger some seconds for late packets."""

    spi_in: int
    spi_out: int
    reason: str


@dataclass(frozen=True, slots=True)
class IkeUp:
    """The peer is authenticated, and no other IKE SA with it was up."""

    spi_i: bytes
    spi_r: bytes
    path: Path
    peer_id: Identity


@dataclass(frozen=True, slots=True)
class IkeRekeyed:
    """Another IKE SA has taken over; the tunnel stayed up."""

    spi_i: bytes
    spi_r: bytes
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class IkeDown:
    """No IKE SA is up any longer, or an attempt failed. `retry_in_s` None: nothing will be tried."""

    reason: str
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class PeerMoved:
    """The peer sends from another address or port; send to it there, ESP as well."""

    path: Path


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """No child SA could be created or rekeyed; the IKE SA stays and the attempt is repeated."""

    reason: str


@dataclass(frozen=True, slots=True)
class PfsJudged:
    """A rekeying has shown whether both ends agree on perfect forward secrecy: told when that is news."""

    is_proven: bool
    verdict: str


Event = (
    InboundReady
    | OutboundReady
    | ChildRetired
    | IkeUp
    | IkeRekeyed
    | IkeDown
    | PeerMoved
    | ChildFailed
    | PfsJudged
)
