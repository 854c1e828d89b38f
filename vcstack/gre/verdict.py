"""What keepalives say about a tunnel in one sentence: both directions, each seen from here.

Ours tell whether the peer answers, the peer's whether it asks; the two are independent (each end has its
own timers, and one may do without). Their pair is the verdict, and `VERDICTS` has one for each.
"""

from enum import Enum, StrEnum, auto

from vcstack.gre.keepalive import ProberSnapshot
from vcstack.gre.line import State
from vcstack.gre.reflector import ReflectorSnapshot

SILENT_AFTER = 4
"""Intervals without a request after which a peer that used to ask counts as silent."""
UNKNOWN_INTERVAL_S = 30.0
"""Interval of a peer that has asked only once: no vendor's default is longer."""


class Ours(Enum):
    """What becomes of the keepalives that we send."""

    STOPPED = auto()
    OFF = auto()
    WAITING = auto()
    ANSWERED = auto()
    NEVER_ANSWERED = auto()
    NO_LONGER_ANSWERED = auto()


class Theirs(Enum):
    """What the peer sends."""

    NEVER = auto()
    ASKS = auto()
    UNANSWERABLE = auto()
    """It asks for an answer that the security association does not carry."""
    SILENT = auto()
    """It has asked before."""


class Verdict(StrEnum):
    """A pair of both, for the operator."""

    STOPPED = "no keepalives while there is no security association"
    BOTH = "both ends send keepalives and answer them"
    ONLY_ANSWERS = "the peer answers our keepalives but has never sent one"
    FELL_SILENT = "the peer answers our keepalives but has stopped sending its own"
    ANSWERS_AND_CANNOT_BE_ANSWERED = (
        "the peer answers our keepalives; its own ask for an answer that the traffic selectors do not admit"
    )
    NEVER_ANSWERS = "the peer sends keepalives but never answers ours"
    STOPPED_ANSWERING = "the peer sends keepalives but has stopped answering ours"
    ASKS_AND_NOT_ANSWERED_YET = "the peer sends keepalives and has not answered ours yet"
    NOTHING_YET = "no keepalive has arrived yet"
    NOTHING_EVER = "the peer neither answers our keepalives nor sends any"
    NOTHING_MORE = "the peer has stopped answering our keepalives, and sends none"
    CANNOT_BE_ANSWERED = (
        "the peer does not answer our keepalives; its own ask for an answer that the traffic selectors do "
        "not admit"
    )
    OFF_AND_ASKED = "we answer the peer's keepalives; ours are off, so a dead peer is noticed late"
    OFF_AND_SILENT = "the peer has stopped sending keepalives; ours are off"
    OFF_ON_BOTH = "ours are off and the peer has never sent one: a dead peer is noticed late"
    OFF_AND_CANNOT_BE_ANSWERED = (
        "the peer's keepalives ask for an answer that the traffic selectors do not admit; ours are off"
    )


VERDICTS: dict[tuple[Ours, Theirs], Verdict] = {
    **{(Ours.STOPPED, theirs): Verdict.STOPPED for theirs in Theirs},
    (Ours.OFF, Theirs.NEVER): Verdict.OFF_ON_BOTH,
    (Ours.OFF, Theirs.ASKS): Verdict.OFF_AND_ASKED,
    (Ours.OFF, Theirs.UNANSWERABLE): Verdict.OFF_AND_CANNOT_BE_ANSWERED,
    (Ours.OFF, Theirs.SILENT): Verdict.OFF_AND_SILENT,
    (Ours.WAITING, Theirs.NEVER): Verdict.NOTHING_YET,
    (Ours.WAITING, Theirs.ASKS): Verdict.ASKS_AND_NOT_ANSWERED_YET,
    (Ours.WAITING, Theirs.UNANSWERABLE): Verdict.CANNOT_BE_ANSWERED,
    (Ours.WAITING, Theirs.SILENT): Verdict.NOTHING_YET,
    (Ours.ANSWERED, Theirs.NEVER): Verdict.ONLY_ANSWERS,
    (Ours.ANSWERED, Theirs.ASKS): Verdict.BOTH,
    (Ours.ANSWERED, Theirs.UNANSWERABLE): Verdict.ANSWERS_AND_CANNOT_BE_ANSWERED,
    (Ours.ANSWERED, Theirs.SILENT): Verdict.FELL_SILENT,
    (Ours.NEVER_ANSWERED, Theirs.NEVER): Verdict.NOTHING_EVER,
    (Ours.NEVER_ANSWERED, Theirs.ASKS): Verdict.NEVER_ANSWERS,
    (Ours.NEVER_ANSWERED, Theirs.UNANSWERABLE): Verdict.CANNOT_BE_ANSWERED,
    (Ours.NEVER_ANSWERED, Theirs.SILENT): Verdict.NOTHING_MORE,
    (Ours.NO_LONGER_ANSWERED, Theirs.NEVER): Verdict.NOTHING_MORE,
    (Ours.NO_LONGER_ANSWERED, Theirs.ASKS): Verdict.STOPPED_ANSWERING,
    (Ours.NO_LONGER_ANSWERED, Theirs.UNANSWERABLE): Verdict.CANNOT_BE_ANSWERED,
    (Ours.NO_LONGER_ANSWERED, Theirs.SILENT): Verdict.NOTHING_MORE,
}


def judge(prober: ProberSnapshot, reflector: ReflectorSnapshot, now: float) -> Verdict:
    """The verdict at that time of the clock which both snapshots use."""
    return VERDICTS[_ours(prober), _theirs(reflector, now)]


def _ours(prober: ProberSnapshot) -> Ours:
    match prober.state:
        case State.STOPPED:
            return Ours.STOPPED
        case State.ASSUMED:
            return Ours.OFF
        case State.WAITING:
            return Ours.WAITING
        case State.UP | State.HOLD:
            return Ours.ANSWERED
        case State.DOWN:
            return Ours.NO_LONGER_ANSWERED if prober.received else Ours.NEVER_ANSWERED


def _theirs(reflector: ReflectorSnapshot, now: float) -> Theirs:
    if reflector.last_request_at is None:
        return Theirs.NEVER
    interval_s = reflector.asked_every_s or UNKNOWN_INTERVAL_S
    if now - reflector.last_request_at > SILENT_AFTER * interval_s:
        return Theirs.SILENT
    return Theirs.UNANSWERABLE if reflector.unanswerable else Theirs.ASKS
