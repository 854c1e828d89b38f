"""The endpoint's own contract: deadlines, configuration, idle ends, what is shown."""

from dataclasses import fields

import pytest

from tests.support.ike_pair import Pair, initiator_config, responder_config
from vcstack.ikev2.endpoint import Endpoint
from vcstack.ikev2.events import IkeDown


def test_spurious_timeouts_do_nothing() -> None:
    pair = Pair().establish()
    before = pair.a.endpoint.next_timeout()
    for _ in range(100):
        pair.act(pair.a, lambda endpoint: endpoint.handle_timeout(pair.now))
    assert pair.a.endpoint.next_timeout() == before
    assert not pair.wire


def test_deadlines_carry_their_reason() -> None:
    pair = Pair().start()
    deadline = pair.a.endpoint.next_timeout()
    assert deadline is not None
    assert deadline.reason == "retransmission"
    pair.run(2.0)
    deadline = pair.a.endpoint.next_timeout()
    assert deadline is not None
    assert deadline.reason == "liveness check"


def test_an_end_that_only_answers_is_idle() -> None:
    pair = Pair()
    pair.act(pair.b, lambda endpoint: endpoint.start(pair.now))
    assert pair.b.endpoint.next_timeout() is None
    assert pair.b.endpoint.snapshot(pair.now).state == "idle"


def test_closed_for_good() -> None:
    pair = Pair().establish()
    pair.act(pair.b, lambda endpoint: endpoint.close(pair.now))
    pair.act(pair.b, lambda endpoint: endpoint.start(pair.now))
    pair.run(100.0)
    assert pair.b.endpoint.counters["rx after close"] > 0
    assert pair.a.data.outbound is None


def test_initiating_to_any_address_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot initiate"):
        initiator_config(remote_address=None)
    with pytest.raises(ValueError, match="must not be empty"):
        initiator_config(esp_proposals=())


def test_unknown_children_are_no_concern() -> None:
    """Reports of the data path may come late."""
    pair = Pair().establish()
    for node in pair.nodes:
        node.endpoint.child_soft_expired(1, "test", pair.now)
        node.endpoint.child_hard_expired(1, "test", pair.now)
        node.endpoint.inbound_used(1, pair.now)
    assert not pair.a.endpoint.datagrams_to_send()
    pair.assert_one_tunnel()


def test_doubt_asks_at_once_and_changes_no_schedule() -> None:
    pair = Pair().establish()
    pair.act(pair.a, lambda endpoint: endpoint.doubt(pair.now))
    assert len(pair.wire) == 1
    before = pair.a.endpoint.next_timeout()
    assert before is not None
    assert before.reason == "retransmission"
    pair.act(pair.a, lambda endpoint: endpoint.doubt(pair.now))
    assert len(pair.wire) == 2
    assert pair.a.endpoint.next_timeout() == before
    pair.run(0.5)
    assert not pair.wire
    pair.assert_one_tunnel()
    assert pair.a.endpoint.counters["tx request repeated in doubt"] == 1


def test_doubt_ends_the_wait_for_the_next_attempt() -> None:
    pair = Pair()
    pair.filter = lambda _: False
    pair.start()
    pair.run_until(lambda: pair.a.endpoint.status.retry_at is not None, 200.0)
    assert not pair.wire
    pair.act(pair.a, lambda endpoint: endpoint.doubt(pair.now))
    assert pair.a.endpoint.status.retry_at is None


def test_snapshot_has_no_secrets_and_knows_everything() -> None:
    pair = Pair().establish()
    snapshot = pair.a.endpoint.snapshot(pair.now)
    assert "Secret" not in repr(snapshot)
    (ike,), (child,) = snapshot.ike_sas, snapshot.child_sas
    assert (ike.state, ike.encryption, ike.key_bits, ike.prf, ike.integrity, ike.dh_group) == (
        "established",
        "aes256gcm16",
        256,
        "prfsha256",
        None,
        31,
    )
    assert (ike.auth_local, ike.auth_remote) == ("pre-shared key", "pre-shared key")
    assert ike.expires_in_s == pytest.approx(86400 - 2, abs=1)
    assert ike.rekey_in_s is not None
    assert 0.8 * 86400 < ike.rekey_in_s < 0.9 * 86400
    assert child.is_carrying
    assert child.rekey_in_s is not None
    assert child.local_ts == ("198.51.100.1/32[47]",)
    assert snapshot.counters["tx request IKE_AUTH"] == 1
    assert {field.name for field in fields(ike)} >= {"spi_i", "spi_r", "path", "vendor_ids", "silent_s"}


def test_ike_follows_authenticated_esp() -> None:
    """ESP came from elsewhere: IKE goes there too, but only where a NAT can be the reason."""
    pair = Pair().establish()
    pair.a.endpoint.peer_moved(pair.a.endpoint.config.local_address, 7)
    (sa,) = pair.a.endpoint.ike_sas.values()
    assert sa.path.remote_port == 500
    sa.nat.remote = True
    pair.a.endpoint.peer_moved(pair.a.endpoint.config.local_address, 7)
    assert (sa.path.remote, sa.path.remote_port) == (pair.a.endpoint.config.local_address, 7)


def test_entropy_that_repeats_never_gives_a_used_spi() -> None:
    """An SPI of zero, a reserved one or one in use is drawn again."""
    draws = iter([bytes(4), bytes.fromhex("000000ff"), bytes.fromhex("00000100")])
    endpoint = Endpoint(responder_config(), bytes, 0.0)
    endpoint.entropy = lambda _: next(draws)
    assert endpoint.new_child_spi() == 256
    spis = iter([bytes(8), b"12345678"])
    endpoint.entropy = lambda _: next(spis)
    assert endpoint.new_ike_spi() == b"12345678"


def test_bouncing_peer_meets_a_growing_back_off() -> None:
    """A peer that authenticates and deletes at once is not called in a tight loop."""
    pair = Pair().start()
    for _ in range(400):
        pair.run(1.0)
        if pair.b.data.outbound is not None:
            pair.act(pair.b, lambda endpoint: endpoint.reinitiate(pair.now, "go away"))
    assert 5 <= pair.a.saw(IkeDown) <= 20
