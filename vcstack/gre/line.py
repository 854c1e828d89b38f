"""The state of a tunnel's line, as keepalives show it.

```
  STOPPED --start--> WAITING --reply--> UP --unanswered--> DOWN --trial--> HOLD
   |   |                |               ^ ^                | ^ ^            | |
   |   |                |               | +-----reply------+ | +-unanswered-+ |
   |   |                +---------------|---unanswered-------+                |
   |   |                                +------------------reply--------------+
   |   +--resume--> HOLD
   +--assume--> ASSUMED                      stop leads from everywhere to STOPPED
```

The line is up in UP and ASSUMED; ASSUMED is where no keepalives are configured. HOLD is entered with
damping only: `trial` is an answer that does not suffice yet, `resume` a start that still owes answers.
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How the line stands; the value says why."""

    STOPPED = "keepalives not started"
    WAITING = "no keepalive answered yet"
    UP = "keepalive answered"
    HOLD = "keepalives answered again, line on hold after its failure"
    DOWN = "keepalives unanswered"
    ASSUMED = "keepalives disabled, line assumed up"


class Input(Enum):
    """What moves the line."""

    START = "start"
    RESUME = "resume"
    ASSUME = "assume"
    REPLY = "reply"
    TRIAL = "trial"
    UNANSWERED = "unanswered"
    STOP = "stop"


LINE_UP = frozenset({State.UP, State.ASSUMED})

_MOVES: dict[tuple[State, Input], State] = {
    (State.STOPPED, Input.START): State.WAITING,
    (State.STOPPED, Input.RESUME): State.HOLD,
    (State.STOPPED, Input.ASSUME): State.ASSUMED,
    (State.WAITING, Input.REPLY): State.UP,
    (State.WAITING, Input.UNANSWERED): State.DOWN,
    (State.WAITING, Input.STOP): State.STOPPED,
    (State.UP, Input.UNANSWERED): State.DOWN,
    (State.UP, Input.STOP): State.STOPPED,
    (State.HOLD, Input.REPLY): State.UP,
    (State.HOLD, Input.UNANSWERED): State.DOWN,
    (State.HOLD, Input.STOP): State.STOPPED,
    (State.DOWN, Input.REPLY): State.UP,
    (State.DOWN, Input.TRIAL): State.HOLD,
    (State.DOWN, Input.STOP): State.STOPPED,
    (State.ASSUMED, Input.STOP): State.STOPPED,
}

TRANSITIONS: dict[tuple[State, Input], State] = {
    # What is not a move leaves the line as it is.
    (state, event): _MOVES.get((state, event), state)
    for state in State
    for event in Input
}


@dataclass(frozen=True, slots=True)
class LineState:
    """The line went up or down, and why."""

    up: bool
    reason: str
