"""Both machines of a peer: which of two connections stays, and which machine tries again when.

RFC 4271 8.2.1 wants a machine per connection. The one of the peer's connections waits in Active from the
start, so both ends may connect at once; when both connections live, 6.8 decides which one stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.bgp.events import Reset, Side
from vcstack.bgp.fsm import Event, State
from vcstack.bgp.iana import CeaseSubcode
from vcstack.bgp.session import Session
from vcstack.bgp.wire.notification import cease

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.bgp.config import SessionConfig
    from vcstack.bgp.session import Owner
    from vcstack.bgp.wire.notification import Notification
    from vcstack.bgp.wire.open import Open
    from vcstack.wire.deadline import Deadline

_PROGRESS = (
    State.IDLE,
    State.ACTIVE,
    State.CONNECT,
    State.OPEN_SENT,
    State.OPEN_CONFIRM,
    State.ESTABLISHED,
)
_CONNECTED = frozenset({State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED})
_COLLISION_S = 5.0
"""A second connection so soon after the first was established has lost a collision, and is no restart."""


class Sessions:
    """The machine that connects, and the one that the peer connects to."""

    def __init__(self, config: SessionConfig, owner: Owner, entropy: Callable[[int], bytes]) -> None:
        self._config = config
        self.outbound = Session(config, owner, entropy, outbound=True)
        self.inbound = Session(config, owner, entropy, outbound=False)
        self.established: Session | None = None
        self.established_at = 0.0

    @property
    def leader(self) -> Session:
        """The machine that has come furthest."""
        return max((self.outbound, self.inbound), key=lambda session: _PROGRESS.index(session.state))

    @property
    def retries(self) -> int:
        """The ConnectRetryCounters of both machines."""
        return self.outbound.retries + self.inbound.retries

    def of(self, connection: int) -> Session | None:
        """Return the machine of a connection that is up."""
        for session in (self.outbound, self.inbound):
            if session.connection == connection and session.state in _CONNECTED:
                return session
        return None

    def connecting(self, connection: int) -> bool:
        """Say whether the outbound machine waits for this connection."""
        return self.outbound.connection == connection and self.outbound.state is State.CONNECT

    def start(self, now: float) -> None:
        """Listen, and connect unless the peer shall."""
        self.inbound.signal(Event.MANUAL_START_PASSIVE, now)
        if not self._config.passive:
            self.outbound.signal(Event.MANUAL_START, now)

    def stop(self, now: float, notification: Notification | None = None) -> None:
        """End everything, with `notification` where somebody hears it."""
        for session in (self.outbound, self.inbound):
            session.signal(Event.MANUAL_STOP, now, Reset(Side.LOCAL, "", now, notification))
            session.rest()

    def handle_timeout(self, now: float) -> None:
        """Ring the timers that are due."""
        for session in (self.outbound, self.inbound):
            session.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return the earliest timer."""
        deadlines = (session.next_timeout() for session in (self.outbound, self.inbound))
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def make_room(self, now: float, *, may_restart: bool) -> bool:
        """Say whether an incoming connection is taken; a peer that connects anew gave up its last one."""
        if self.inbound.state in {State.OPEN_SENT, State.OPEN_CONFIRM}:
            self._dump(self.inbound, now)
            self._listen(now)
        elif self.inbound.state is State.ESTABLISHED and may_restart and self._is_old(now):
            self._give_up(self.inbound, now)
            self._listen(now)
        return self.inbound.state is State.ACTIVE

    def resolve(self, session: Session, received: Open, now: float, *, may_restart: bool) -> bool:
        """Detect a collision (RFC 4271 6.8, RFC 6286 2.3); False when `session` has lost it and is gone.

        The connection of the speaker with the higher router ID stays, of two equal ones that with the higher
        AS number. An established session is given up for a new one only when the peer restarts gracefully,
        and so cannot have another connection in mind (RFC 4724 4.2).
        """
        other = self._other(session)
        if other.state is State.ESTABLISHED:
            if may_restart and self._is_old(now):
                self._give_up(other, now)
                return True
            loser = session
        elif other.state is State.OPEN_CONFIRM:
            ours = (self._config.router_id, self._config.local_as)
            keep_outbound = ours > (received.router_id, received.asn)
            loser = self.inbound if keep_outbound else self.outbound
        else:
            return True
        self._dump(loser, now)
        return loser is not session

    def settle(self, session: Session, now: float) -> None:
        """`session` is established; end what else was tried."""
        self.established, self.established_at = session, now
        other = self._other(session)
        if other.state is not State.IDLE and not (other is self.inbound and other.state is State.ACTIVE):
            self._dump(other, now)
        if other is self.outbound:
            other.rest()

    def plan_retry(self, session: Session, pause_s: float, now: float) -> None:
        """Start `session` again after the pause, and the other one with it if nothing else would."""
        for candidate in (session, self._other(session)):
            calls = candidate is self.outbound
            if calls and (self._config.passive or self.inbound.state in _CONNECTED):
                continue
            if candidate.rests:
                candidate.hold_idle(pause_s, now)

    def _other(self, session: Session) -> Session:
        return self.inbound if session is self.outbound else self.outbound

    def _is_old(self, now: float) -> bool:
        return now - self.established_at >= _COLLISION_S

    def _listen(self, now: float) -> None:
        self.inbound.rest()
        self.inbound.signal(Event.AUTOMATIC_START_DAMPED_PASSIVE, now)

    def _dump(self, session: Session, now: float) -> None:
        notification = cease(CeaseSubcode.CONNECTION_COLLISION_RESOLUTION)
        session.signal(Event.COLLISION_DUMP, now, Reset(Side.LOCAL, "", now, notification))

    def _give_up(self, session: Session, now: float) -> None:
        reset = Reset(Side.TRANSPORT, "the peer has restarted and connects anew", now)
        session.signal(Event.TCP_CONNECTION_FAILS, now, reset)
