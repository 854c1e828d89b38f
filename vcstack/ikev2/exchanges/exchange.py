"""What all exchanges of RFC 7296 have in common.

An exchange is an object on the end that asks: it makes the request, takes the response, and knows
what to do when none comes. Its module also holds the other half, a function `respond`. Message IDs,
retransmission and protection are the business of the IKE SA.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.config import PeerConfig, RetransmitPolicy
    from vcstack.ikev2.iana import ExchangeType
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message


class Exchange(ABC):
    """An exchange that this end starts."""

    kind: ClassVar[ExchangeType]
    name: ClassVar[str]
    concerns_child: ClassVar[bool] = False
    """Whether it creates, rekeys or closes a child SA; such ones move along when the IKE SA is rekeyed."""

    makes_child: ClassVar[bool] = False
    """Whether a child SA comes of it."""

    def policy(self, config: PeerConfig) -> RetransmitPolicy:
        """How the request is repeated."""
        return config.retransmit

    @abstractmethod
    def request(self, sa: IkeSa, now: float) -> Sequence[Payload] | None:
        """The payloads to send, None when there is nothing left to do."""

    def accepts(self, sa: IkeSa, message: Message, now: float) -> bool:  # noqa: ARG002 (for those who override)
        """Whether a response ends the exchange; an unauthenticated one may be forged."""
        return True

    @abstractmethod
    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Take the response."""

    def unanswered(self, sa: IkeSa, now: float) -> None:
        """The request was repeated often enough: the peer is dead (RFC 7296 section 2.4)."""
        sa.fail(f"the peer does not answer {self.name}", now)

    def yield_to_rival(self, sa: IkeSa, now: float) -> bool:  # noqa: ARG002 (for the rekeying of IKE SAs)
        """The peer deletes the IKE SA: whether its rekeying of the same SA takes over from this exchange."""
        return False

    def forget(self, sa: IkeSa, now: float) -> None:  # noqa: B027 (most have nothing to clean up)
        """The IKE SA ended while this was queued or unanswered."""


class Discarded(Exchange):
    """Stands for a request whose answer no longer matters but still occupies the window."""

    name = "an abandoned request"

    def __init__(self, exchange: Exchange) -> None:
        self.kind = exchange.kind  # type: ignore[misc]  # what a class says of itself, this takes from another

    def request(self, sa: IkeSa, now: float) -> None:  # noqa: ARG002
        """Nothing: it was sent by another."""
        return

    def response(self, sa: IkeSa, message: Message, now: float) -> None:
        """Nothing."""
