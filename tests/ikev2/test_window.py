"""Message IDs, retransmission and cached responses (RFC 7296 2.1 to 2.3)."""

import pytest

from vcstack.ikev2.config import BackoffPolicy, RetransmitPolicy
from vcstack.ikev2.limits import TokenBucket
from vcstack.ikev2.window import Received, RequestWindow, ResponseWindow

POLICY = RetransmitPolicy(base_s=1.0, factor=2.0, ceiling_s=3.0, tries=3, jitter=0.0)


def test_one_request_at_a_time() -> None:
    window = RequestWindow()
    window.send((b"one",), POLICY, 10.0, 0.5)
    assert not window.is_open
    with pytest.raises(RuntimeError):
        window.send((b"two",), POLICY, 10.0, 0.5)
    assert not window.acknowledge(1)
    assert window.acknowledge(0)
    assert not window.acknowledge(0)
    window.send((b"two",), POLICY, 11.0, 0.5)
    assert window.expects(1)


def test_repeats_until_the_policy_ends() -> None:
    window = RequestWindow()
    window.send((b"one",), POLICY, 0.0, 0.5)
    assert not window.due(0.9)
    assert window.due(1.0)
    assert window.repeat(1.0, 0.5) == (b"one",)
    assert window.outstanding is not None
    assert window.outstanding.due_at == 3.0
    assert window.repeat(3.0, 0.5) == (b"one",)
    assert window.outstanding.due_at == 6.0
    assert window.repeat(6.0, 0.5) is None
    assert window.retransmissions == 2


def test_giving_up_early() -> None:
    window = RequestWindow()
    window.send((b"one",), POLICY, 0.0, 0.5)
    window.give_up_at(2.0)
    assert not window.due(1.9)
    assert window.repeat(2.0, 0.5) is None
    window.give_up_at(5.0)
    assert window.due(2.0)


def test_rewind_uses_message_id_zero_again() -> None:
    window = RequestWindow()
    window.send((b"one",), POLICY, 0.0, 0.5)
    window.rewind()
    assert window.is_open
    assert window.next_id == 0
    window.abandon()
    assert window.repeat(1.0, 0.5) is None


def test_response_window() -> None:
    window = ResponseWindow()
    assert window.classify(0, b"a") is Received.NEW
    assert window.classify(1, b"b") is Received.AHEAD
    window.answer(0, b"a", (b"answer",))
    assert window.classify(0, b"a") is Received.REPEATED
    # The same ID with other bytes is not what was answered.
    assert window.classify(0, b"x") is Received.STALE
    assert window.classify(1, b"b") is Received.NEW
    window.answer(1, b"b", (b"answer",))
    assert window.classify(0, b"a") is Received.STALE


def test_waits_grow_to_a_ceiling_with_jitter() -> None:
    policy = RetransmitPolicy(base_s=1.0, factor=2.0, ceiling_s=5.0, tries=9, jitter=0.1)
    assert [policy.wait_s(count, 0.5) for count in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert policy.wait_s(1, 0.0) == pytest.approx(0.9)
    assert policy.wait_s(1, 1.0) == pytest.approx(1.1)
    backoff = BackoffPolicy(floor_s=1.0, factor=2.0, ceiling_s=60.0, jitter=0.25)
    assert backoff.wait_s(1, 0.5) == 1.0
    assert backoff.wait_s(10_000, 0.5) == 60.0


def test_token_bucket() -> None:
    bucket = TokenBucket(2.0, 0.0)
    assert sum(bucket.take(0.0) for _ in range(100)) == 8
    assert sum(bucket.take(1.0) for _ in range(100)) == 2
    assert sum(bucket.take(1000.0) for _ in range(100)) == 8
