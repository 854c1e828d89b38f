"""Child SAs: the value that the data path installs, and what the machine remembers of it.

```
 responder of a rekey                    initiator, or the only child
      PENDING --switched------------------> ACTIVE
         |                                    | superseded: a successor carries the traffic
         | lost the collision                 v
         +--------> REDUNDANT             SUPERSEDED
                        |                     |
                        +----> DELETING <-----+   our DELETE is on its way
                                   |
  any state --- DELETE, expiry --> RETIRED
```
"""

from dataclasses import dataclass

from vcstack.ikev2.path import Path
from vcstack.ikev2.states import ChildInput, ChildState, advance_child
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSa:
    """A pair of ESP SAs in tunnel mode as negotiated: everything that the data path needs.

    Keys end with the 4 bytes of salt (RFC 4106 section 8.1). After `lifetime_s` the SA must not be used.
    """

    spi_in: int
    spi_out: int
    encryption: str
    key_bits: int
    key_in: Secret
    key_out: Secret
    esn: bool
    udp_encapsulation: bool
    path: Path
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    pfs_group: int | None
    lifetime_s: float


@dataclass(slots=True, eq=False)
class Child:
    """A child SA during its life: whose it is, which state it has, when it must be replaced."""

    sa: ChildSa
    owner: object
    """The IKE SA that controls it; changes when that one is rekeyed."""
    is_initiator: bool
    """Whether this end asked for it."""
    created_at: float
    rekey_at: float
    expires_at: float
    state: ChildState = ChildState.PENDING
    predecessor: "Child | None" = None
    """What this child replaces, while that one lives."""
    switch_at: float | None = None
    """A responder's fallback: send on it from then on even without proof."""
    cleanup_at: float | None = None
    """When to delete it ourselves although this is the peer's turn."""
    successor: "Child | None" = None
    """What replaces it, whoever asked for that."""
    rekeying: bool = False
    """A CREATE_CHILD_SA of ours that replaces it is queued or outstanding."""
    rekey_failures: int = 0
    rekey_reason: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it is installed here."""
        return self.state is not ChildState.RETIRED

    @property
    def may_carry(self) -> bool:
        """Whether traffic may be sent on it."""
        return self.state in (ChildState.PENDING, ChildState.ACTIVE, ChildState.SUPERSEDED)

    @property
    def successor_is_alive(self) -> bool:
        """Whether it has been rekeyed and only a DELETE is missing."""
        return self.successor is not None and self.successor.is_alive

    @property
    def can_be_rekeyed(self) -> bool:
        """Whether it carries traffic, and no rekeying of it is under way or done."""
        return self.state is ChildState.ACTIVE and not self.rekeying and not self.successor_is_alive

    def advance(self, event: ChildInput) -> None:
        """Change the state by the table."""
        self.state = advance_child(self.state, event)
