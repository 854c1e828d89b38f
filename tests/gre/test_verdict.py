from dataclasses import replace
from itertools import product

import pytest

from tests.gre.test_dialect import OTHER, TUNNEL, answer, out_of_tunnel
from vcstack.gre.keepalive import KeepaliveConfig, Prober
from vcstack.gre.packet import Protocol, encapsulate
from vcstack.gre.reflector import Reflector
from vcstack.gre.verdict import VERDICTS, Ours, Theirs, Verdict, judge

ANSWER = encapsulate(b"", TUNNEL.remote, TUNNEL.local, protocol=Protocol.KEEPALIVE)


class End:
    """Our end of a tunnel; the peer answers and asks as the test says, every 10 s."""

    def __init__(self, *, enabled: bool = True) -> None:
        config = KeepaliveConfig(enabled=enabled)
        self.prober, self.reflector = Prober(config, TUNNEL), Reflector(config, TUNNEL)
        self.now = 0.0
        self.prober.start(self.now)

    def live(
        self, intervals: int = 1, *, answers: bool = False, asks: bool = False, to_peer: bool = True
    ) -> None:
        for _ in range(intervals):
            if answers:
                self.prober.receive(ANSWER, self.now)
            if asks:
                inner = answer() if to_peer else answer(destination=OTHER)
                self.reflector.reflect(out_of_tunnel(inner), self.now)
            self.now += 10.0
            self.prober.handle_timeout(self.now)

    def verdict(self) -> Verdict:
        return judge(self.prober.snapshot(), self.reflector.snapshot(), self.now)


def test_every_pair_has_a_verdict_and_every_verdict_a_pair() -> None:
    assert set(VERDICTS) == set(product(Ours, Theirs))
    assert set(VERDICTS.values()) == set(Verdict)


def test_both_ends_ask_and_answer() -> None:
    end = End()
    assert end.verdict() is Verdict.NOTHING_YET
    end.live(5, answers=True, asks=True)
    assert end.verdict() is Verdict.BOTH


def test_the_peer_sends_but_never_answers() -> None:
    end = End()
    end.live(2, asks=True)
    assert end.verdict() is Verdict.ASKS_AND_NOT_ANSWERED_YET
    end.live(2, asks=True)
    assert end.verdict() is Verdict.NEVER_ANSWERS


def test_the_peer_answers_but_never_sends() -> None:
    end = End()
    end.live(5, answers=True)
    assert end.verdict() is Verdict.ONLY_ANSWERS


def test_the_peer_stops_answering() -> None:
    end = End()
    end.live(5, answers=True, asks=True)
    end.live(4, asks=True)
    assert end.verdict() is Verdict.STOPPED_ANSWERING


def test_the_peer_stops_sending() -> None:
    end = End()
    end.live(5, answers=True, asks=True)
    end.live(3, answers=True)
    assert end.verdict() is Verdict.BOTH
    end.live(2, answers=True)
    assert end.verdict() is Verdict.FELL_SILENT


def test_a_peer_that_asked_once_is_given_time() -> None:
    end = End()
    end.live(asks=True)
    end.live(11, answers=True)
    assert end.verdict() is Verdict.BOTH
    end.live(answers=True)
    assert end.verdict() is Verdict.FELL_SILENT


def test_nothing_comes_any_more() -> None:
    end = End()
    end.live(5, answers=True, asks=True)
    end.live(6)
    assert end.verdict() is Verdict.NOTHING_MORE


def test_nothing_ever_came() -> None:
    end = End()
    end.live(5)
    assert end.verdict() is Verdict.NOTHING_EVER


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [(True, Verdict.ANSWERS_AND_CANNOT_BE_ANSWERED), (False, Verdict.CANNOT_BE_ANSWERED)],
)
def test_requests_that_cannot_be_answered(answers: bool, verdict: Verdict) -> None:
    end = End()
    end.live(5, answers=answers, asks=True, to_peer=False)
    assert end.verdict() is verdict


def test_with_ours_off() -> None:
    end = End(enabled=False)
    end.live()
    assert end.verdict() is Verdict.OFF_ON_BOTH
    end.live(2, asks=True)
    assert end.verdict() is Verdict.OFF_AND_ASKED
    end.live(5)
    assert end.verdict() is Verdict.OFF_AND_SILENT
    end.live(asks=True, to_peer=False)
    assert end.verdict() is Verdict.OFF_AND_CANNOT_BE_ANSWERED


def test_without_a_security_association() -> None:
    end = End()
    end.live(2, answers=True, asks=True)
    end.prober.stop(end.now, "no security association")
    assert end.verdict() is Verdict.STOPPED


def test_a_line_on_hold_is_answered() -> None:
    prober = Prober(KeepaliveConfig(damping=True, retries=1), TUNNEL)
    prober.start(0.0)
    for now in (10.0, 20.0):
        prober.handle_timeout(now)
    prober.receive(ANSWER, 21.0)
    reflector = Reflector(KeepaliveConfig(), TUNNEL).snapshot()
    assert judge(prober.snapshot(), reflector, 21.0) is Verdict.ONLY_ANSWERS
    assert judge(replace(prober.snapshot(), received=0), reflector, 21.0) is Verdict.ONLY_ANSWERS
