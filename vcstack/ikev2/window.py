"""Message IDs, retransmission and cached responses of one IKE SA (RFC 7296 sections 2.1 to 2.3).

Each direction counts its requests from 0 and has a window of one: the next request leaves when the
last one was answered. A peer that announces a larger window with SET_WINDOW_SIZE loses nothing by that.
"""

from dataclasses import dataclass
from enum import Enum, auto

from vcstack.ikev2.config import RetransmitPolicy


@dataclass(slots=True)
class Outstanding:
    """A request that waits for its response."""

    message_id: int
    messages: tuple[bytes, ...]
    policy: RetransmitPolicy
    transmissions: int
    due_at: float


class RequestWindow:
    """The requests from here: at most one outstanding, repeated bit by bit until answered."""

    def __init__(self) -> None:
        self.next_id = 0
        self.outstanding: Outstanding | None = None
        self.retransmissions = 0

    @property
    def is_open(self) -> bool:
        """Whether another request may leave."""
        return self.outstanding is None

    def send(self, messages: tuple[bytes, ...], policy: RetransmitPolicy, now: float, random: float) -> None:
        """Remember a request just sent under `next_id`; RuntimeError while one is outstanding."""
        if self.outstanding is not None:
            raise RuntimeError("request window: a request is outstanding")
        self.outstanding = Outstanding(self.next_id, messages, policy, 1, now + policy.wait_s(1, random))
        self.next_id += 1

    def acknowledge(self, message_id: int) -> bool:
        """Take the response to the outstanding request; False when it answers something else."""
        if self.outstanding is None or self.outstanding.message_id != message_id:
            return False
        self.outstanding = None
        return True

    def expects(self, message_id: int) -> bool:
        """Whether a response with that ID answers the outstanding request."""
        return self.outstanding is not None and self.outstanding.message_id == message_id

    def rewind(self) -> None:
        """Start over with message ID 0: IKE_SA_INIT with a cookie or another group (RFC 7296 section 2.2)."""
        self.outstanding = None
        self.next_id = 0

    def abandon(self) -> None:
        """Forget the outstanding request: its answer is no longer wanted."""
        self.outstanding = None

    def give_up_at(self, at: float) -> None:
        """Do not repeat the outstanding request any more, and count it as unanswered at that time."""
        waiting = self.outstanding
        if waiting is not None:
            waiting.due_at = min(at, waiting.due_at) if self._is_last else at
            waiting.transmissions = waiting.policy.tries

    def due(self, now: float) -> bool:
        """Whether the outstanding request waits for too long."""
        return self.outstanding is not None and now >= self.outstanding.due_at

    def repeat(self, now: float, random: float) -> tuple[bytes, ...] | None:
        """The request to send once more, None when it was sent often enough: the peer is dead."""
        waiting = self.outstanding
        if waiting is None or self._is_last:
            return None
        waiting.transmissions += 1
        self.retransmissions += 1
        waiting.due_at = now + waiting.policy.wait_s(waiting.transmissions, random)
        return waiting.messages

    @property
    def _is_last(self) -> bool:
        return (
            self.outstanding is not None and self.outstanding.transmissions >= self.outstanding.policy.tries
        )


class Received(Enum):
    """What a request is to the response window."""

    NEW = auto()
    REPEATED = auto()
    """Bit by bit the request answered last: the response is sent again."""
    STALE = auto()
    """Answered long ago, or not what was answered: ignored."""
    AHEAD = auto()
    """Beyond the window: ignored."""


class ResponseWindow:
    """The requests of the peer: each answered once, the last answer kept."""

    def __init__(self, expected_id: int = 0) -> None:
        self.expected_id = expected_id
        self._request = b""
        self.response: tuple[bytes, ...] = ()

    def classify(self, message_id: int, data: bytes) -> Received:
        """Place a request by its message ID and bytes, before anything of it is believed."""
        if message_id == self.expected_id:
            return Received.NEW
        if message_id > self.expected_id:
            return Received.AHEAD
        is_repeated = self.is_last(message_id) and data == self._request
        return Received.REPEATED if is_repeated else Received.STALE

    def is_last(self, message_id: int) -> bool:
        """Whether the answer to that request is still known."""
        return message_id == self.expected_id - 1 and bool(self.response)

    def answer(self, message_id: int, data: bytes, response: tuple[bytes, ...]) -> None:
        """Keep the response to an authenticated request, and expect the next."""
        self.expected_id = message_id + 1
        self._request = data
        self.response = response
