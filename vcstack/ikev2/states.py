"""The states of IKE SAs and child SAs, and the only ways from one to the next.

```
 initiator                                    responder
 INITIATING --answered--> AUTHENTICATING      HALF_OPEN
     |                         |                  |
     |                         +--authenticated---+
     |                                  v
     |                             ESTABLISHED --close--> DELETING
     |                                  |                     |
     |                               rekeyed --> REKEYED -----+
     v                                  v           v         v
     +------- failed, deleted, expired: DEAD (still answers retransmitted requests)
```
What an exchange is doing is not a state of the SA: exchanges are objects of their own.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class IkeState(StrEnum):
    """The states of an IKE SA."""

    INITIATING = "initiating"
    """IKE_SA_INIT is on its way."""
    HALF_OPEN = "half-open"
    """IKE_SA_INIT was answered; anybody can have asked."""
    AUTHENTICATING = "authenticating"
    """IKE_AUTH is on its way."""
    ESTABLISHED = "established"
    REKEYED = "rekeyed"
    """A successor has the children; only a DELETE is left to do, by whoever rekeyed."""
    DELETING = "deleting"
    """Our DELETE is on its way."""
    DEAD = "dead"


class IkeInput(StrEnum):
    """What changes the state of an IKE SA."""

    ANSWERED = "IKE_SA_INIT answered"
    AUTHENTICATED = "peer authenticated"
    REKEYED = "successor established"
    CLOSE = "DELETE sent"
    GONE = "failed, deleted or expired"


class ChildState(StrEnum):
    """The states of a child SA."""

    PENDING = "pending"
    """Inbound installed; outbound waits until the peer has proven to have it."""
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    """A successor carries what is sent; the peer may still send on this one."""
    REDUNDANT = "redundant"
    """The loser of a rekey collision: never sent on."""
    DELETING = "deleting"
    """Our DELETE is queued or on its way."""
    RETIRED = "retired"


class ChildInput(StrEnum):
    """What changes the state of a child SA."""

    SWITCHED = "outbound switched to it"
    SUPERSEDED = "outbound switched to a successor"
    LOST = "collision lost"
    DELETE = "our DELETE queued"
    GONE = "deleted or expired"


IKE_TRANSITIONS: Final[Mapping[tuple[IkeState, IkeInput], IkeState]] = {
    (IkeState.INITIATING, IkeInput.ANSWERED): IkeState.AUTHENTICATING,
    (IkeState.INITIATING, IkeInput.GONE): IkeState.DEAD,
    (IkeState.HALF_OPEN, IkeInput.AUTHENTICATED): IkeState.ESTABLISHED,
    (IkeState.HALF_OPEN, IkeInput.GONE): IkeState.DEAD,
    (IkeState.AUTHENTICATING, IkeInput.AUTHENTICATED): IkeState.ESTABLISHED,
    (IkeState.AUTHENTICATING, IkeInput.CLOSE): IkeState.DELETING,
    (IkeState.AUTHENTICATING, IkeInput.GONE): IkeState.DEAD,
    (IkeState.ESTABLISHED, IkeInput.REKEYED): IkeState.REKEYED,
    (IkeState.ESTABLISHED, IkeInput.CLOSE): IkeState.DELETING,
    (IkeState.ESTABLISHED, IkeInput.GONE): IkeState.DEAD,
    (IkeState.REKEYED, IkeInput.CLOSE): IkeState.DELETING,
    (IkeState.REKEYED, IkeInput.GONE): IkeState.DEAD,
    (IkeState.DELETING, IkeInput.GONE): IkeState.DEAD,
}

CHILD_TRANSITIONS: Final[Mapping[tuple[ChildState, ChildInput], ChildState]] = {
    (ChildState.PENDING, ChildInput.SWITCHED): ChildState.ACTIVE,
    (ChildState.PENDING, ChildInput.LOST): ChildState.REDUNDANT,
    (ChildState.PENDING, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.PENDING, ChildInput.GONE): ChildState.RETIRED,
    (ChildState.ACTIVE, ChildInput.SUPERSEDED): ChildState.SUPERSEDED,
    (ChildState.ACTIVE, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.ACTIVE, ChildInput.GONE): ChildState.RETIRED,
    (ChildState.SUPERSEDED, ChildInput.SWITCHED): ChildState.ACTIVE,
    (ChildState.SUPERSEDED, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.SUPERSEDED, ChildInput.GONE): ChildState.RETIRED,
    (ChildState.REDUNDANT, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.REDUNDANT, ChildInput.GONE): ChildState.RETIRED,
    (ChildState.DELETING, ChildInput.GONE): ChildState.RETIRED,
}


class TransitionError(RuntimeError):
    """Our own code asked for a change that the table does not have."""


def advance_ike(state: IkeState, event: IkeInput) -> IkeState:
    """The next state of an IKE SA; TransitionError when the table has none."""
    try:
        return IKE_TRANSITIONS[state, event]
    except KeyError:
        raise TransitionError(f"IKE SA: {event} in state {state}") from None


def advance_child(state: ChildState, event: ChildInput) -> ChildState:
    """The next state of a child SA; TransitionError when the table has none."""
    try:
        return CHILD_TRANSITIONS[state, event]
    except KeyError:
        raise TransitionError(f"child SA: {event} in state {state}") from None
