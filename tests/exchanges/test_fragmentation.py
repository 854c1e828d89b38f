"""IKE fragmentation (RFC 7383) step by step: negotiation, both directions, losses, repetitions and limits."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.ike_pair import (
    CPE,
    DATA_CENTRE,
    InFlight,
    Network,
    Node,
    Pair,
    initiator_config,
    responder_config,
)
from vcstack.ikev2.endpoint import Endpoint, Path
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.proposal import EspProposal
from vcstack.ikev2.wire.fragment import MAX_FRAGMENTS, Fragment, _seal_fragment, seal_fragments
from vcstack.ikev2.wire.message import parse_message
from vcstack.ikev2.wire.notify import Notify

SMALL = 256
THREE, TWO = 290, 400
"""Sizes that make so many fragments of what `cut` makes."""
AROUND = 20 + 8 + 4
"""IPv4, UDP and non-ESP marker."""
TO_B = Path(DATA_CENTRE, 500, CPE, 500)


def small_pair(seed: int = 1) -> Pair:
    """Both ends send fragments of packets of 256 bytes, and have long names."""
    names = [Identity.parse(f"fqdn:{letter * 180}.example") for letter in "ab"]
    common = {"fragment_size": SMALL, "esp_proposals": (EspProposal.parse("aes256gcm16-ecp384"),)}
    return Pair(
        initiator_config(**common, local_id=names[0], remote_id=names[1]),
        responder_config(**common, local_id=names[1], remote_id=names[0]),
        seed=seed,
    )


def is_fragment(item: InFlight) -> bool:
    """Whether a datagram carries an Encrypted Fragment payload."""
    return item.header.next_payload == PayloadType.SKF


def fragments(sent: list[InFlight], exchange: ExchangeType, to: str) -> list[InFlight]:
    """Those of one exchange that were sent to an end."""
    return [item for item in sent if item.to == to and item.header.exchange == exchange]


def ike_sa(node: Node) -> IkeSa:
    """The IKE SA of an end that has one."""
    (sa,) = node.endpoint.ike_sas.values()
    return sa


def cut(pair: Pair, message_id: int, size: int, padding: int = 600) -> tuple[bytes, ...]:
    """A liveness check of `a` with a long status, in fragments of any size."""
    sa = ike_sa(pair.a)
    assert sa.protection is not None
    protection = sa.protection
    header = sa.header(ExchangeType.INFORMATIONAL, message_id, is_response=False)
    payloads = [Notify(NotifyType(40000), data=bytes(padding))]
    return seal_fragments(header, payloads, protection._outbound, protection._next_iv, size)


def give(pair: Pair, data: bytes) -> list[bytes]:
    """Let `b` have a datagram; what it says to that."""
    pair.b.endpoint.receive_datagram(data, TO_B, pair.now)
    pair.flush(pair.b)
    answers = [item.data for item in pair.wire if item.to == "a"]
    pair.wire.clear()
    return answers


def test_regular() -> None:
    """IKE_AUTH and CREATE_CHILD_SA go in fragments both ways, and no datagram is too large."""
    pair = small_pair()
    sent = pair.record()
    pair.establish()
    pair.rekey_child(pair.a)
    pair.run(1.0)
    pair.rekey_ike(pair.b)
    pair.run(1.0)
    pair.rekey_child(pair.b)
    pair.run(1.0)
    pair.assert_one_tunnel()
    # a -> b  SKF 1/2 {IDi, IDr, AUTH, ..} SKF 2/2 {..}     a <- b  SKF 1/2 {IDr, AUTH, ..} SKF 2/2 {..}
    for exchange in (ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA):
        for end in ("a", "b"):
            of_exchange = fragments(sent, exchange, end)
            assert sum(is_fragment(item) for item in of_exchange) >= 2
    protected = [item for item in sent if item.header.exchange != ExchangeType.IKE_SA_INIT]
    assert max(len(item.data) for item in protected) <= SMALL - AROUND
    # Short messages are not cut (RFC 7383 section 2.4).
    deletes = [item for item in sent if item.header.exchange == ExchangeType.INFORMATIONAL]
    assert deletes
    assert not any(is_fragment(item) for item in deletes)


def test_default_size_is_for_a_path_of_1280_bytes() -> None:
    """Our own messages with a pre-shared key fit; a longer one does not, and is cut to 1280 bytes."""
    pair = Pair()
    sent = pair.record()
    pair.establish()
    assert not any(is_fragment(item) for item in sent)
    sa = ike_sa(pair.a)
    assert sa.peer.supports_fragmentation
    header = sa.header(ExchangeType.INFORMATIONAL, 9, is_response=False)
    from vcstack.ikev2 import datagrams

    messages = datagrams.seal(sa, header, [Notify(NotifyType(40000), data=bytes(3000))])
    assert len(messages) == 3
    assert [len(message) + AROUND <= 1280 for message in messages] == [True] * 3
    assert len(messages[0]) + AROUND > 1270


@pytest.mark.parametrize("silent", ["a", "b"])
def test_not_without_agreement(silent: str) -> None:
    """RFC 7383 section 2.3: one end that does not say so is enough for whole messages."""
    sizes = {"a": SMALL, "b": SMALL} | {silent: None}
    pair = Pair(initiator_config(fragment_size=sizes["a"]), responder_config(fragment_size=sizes["b"]))
    sent = pair.record()
    pair.establish()
    pair.assert_one_tunnel()
    assert not any(is_fragment(item) for item in sent)
    answer = next(item for item in sent if item.to == "a")
    notify = parse_message(answer.data).notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    assert notify is None
    assert give(pair, cut(pair, 2, 300)[0]) == []
    assert pair.b.endpoint.counters["rx dropped: InvalidSyntax"] == 1


def test_a_cisco_fragmentation_vendor_id_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cisco sends its own vendor ID beside the notification; only the notification counts.

    Cisco, sec-cfg-ikev2-frag (Fragmentation, RFC 7383 and proprietary).
    """
    from vcstack.ikev2.exchanges import ike_sa_init
    from vcstack.ikev2.wire.vendor import Vendor

    detect = ike_sa_init._nat_detection
    cisco = Vendor(bytes.fromhex("4048b7d56ebce88525e7de7f00d6c2d3"))
    monkeypatch.setattr(ike_sa_init, "_nat_detection", lambda sa: [*detect(sa), cisco])
    pair = Pair(initiator_config(fragment_size=None), responder_config(fragment_size=SMALL))
    sent = pair.record()
    pair.establish()
    assert pair.b.endpoint.snapshot(pair.now).ike_sas[0].vendor_ids == ("Cisco fragmentation",)
    assert not any(is_fragment(item) for item in sent)


def lose(number: int) -> Callable[[InFlight], bool]:
    """Loses the fragment with that number once."""
    lost: list[int] = []

    def keep(item: InFlight) -> bool:
        if is_fragment(item) and item.data[32:34] == number.to_bytes(2, "big") and not lost:
            lost.append(number)
            return False
        return True

    return keep


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("to", ["a", "b"])
def test_one_lost_fragment_repeats_the_whole_message(number: int, to: str) -> None:
    """RFC 7383 section 2.6: no fragment is acknowledged; the request is repeated whole, so is the answer."""
    pair = small_pair()
    keep = lose(number)
    pair.filter = lambda item: item.to != to or keep(item)
    pair.establish()
    pair.assert_one_tunnel()
    assert pair.a.endpoint.counters["tx request repeated"] == 1
    # Only fragment 1 of a repeated request asks for the answer again.
    assert pair.b.endpoint.counters["rx request repeated"] == (to == "a")


def test_a_bad_network() -> None:
    """Lost, repeated, reordered and corrupted fragments: the tunnel comes up and rekeys all the same."""
    for seed in range(6):
        pair = small_pair(seed=seed)
        pair.network = Network(jitter_s=0.3, loss=0.15, duplication=0.2, corruption=0.05)
        pair.start().run(60.0)
        pair.network = Network()
        pair.run(120.0)
        pair.rekey_child(pair.b)
        pair.run(2.0)
        pair.assert_one_tunnel()


def test_order_and_repetition_do_not_matter() -> None:
    """RFC 7383 section 2.6: a fragment that came already is dropped."""
    pair = Pair().establish()
    one, two, three, *rest = cut(pair, 2, THREE)
    assert not rest
    for data in (three, one, three, one):
        assert give(pair, data) == []
    assert len(give(pair, two)) == 1
    assert pair.b.endpoint.counters["rx request INFORMATIONAL"] == 1


def test_only_fragment_one_of_an_answered_request_repeats_the_answer() -> None:
    """RFC 7383 section 2.6.1; a first fragment of another size counts too, a forged one does not."""
    pair = Pair().establish()
    old = cut(pair, 2, TWO)
    assert [len(give(pair, data)) for data in old] == [0, 1]
    assert [len(give(pair, data)) for data in old] == [1, 0]
    smaller = cut(pair, 2, THREE)
    assert [len(give(pair, data)) for data in smaller] == [1, 0, 0]
    forged = smaller[0][:-1] + bytes([smaller[0][-1] ^ 1])
    assert give(pair, forged) == []


def test_smaller_fragments_start_over() -> None:
    """RFC 7383 section 2.5.2: a peer that searches for the MTU of the path cuts its request anew."""
    pair = Pair().establish()
    large, small = cut(pair, 2, TWO), cut(pair, 2, THREE)
    assert give(pair, large[0]) == []
    assert give(pair, small[0]) == []
    assert give(pair, large[1]) == []
    assert give(pair, small[1]) == []
    assert len(give(pair, small[2])) == 1


def test_what_never_becomes_whole_is_forgotten() -> None:
    """RFC 7383 section 2.6: after the time-out nothing is kept, and the responder takes it for never sent."""
    pair = Pair(initiator_config(dpd_interval_s=0), responder_config(dpd_interval_s=0)).establish()
    one, two, three = cut(pair, 2, THREE)
    give(pair, one)
    give(pair, two)
    deadline = pair.b.endpoint.next_timeout()
    assert deadline is not None
    assert deadline.reason == "fragments missing"
    pair.run(31.0)
    assert pair.b.endpoint.counters["rx fragments never completed"] == 1
    assert ike_sa(pair.b).fragments.requests.reassembly.is_empty
    assert give(pair, three) == []
    assert ike_sa(pair.b).is_up
    give(pair, one)
    assert len(give(pair, two)) == 1


def test_a_changed_octet_of_a_fragment_changes_nothing() -> None:
    """RFC 7383 section 5: only authenticated fragments are kept."""
    pair = Pair().establish()
    one, two = cut(pair, 2, TWO)
    for at in range(len(one)):
        give(pair, one[:at] + bytes([one[at] ^ 1]) + one[at + 1 :])
        assert ike_sa(pair.b).fragments.requests.reassembly.is_empty
    assert give(pair, two) == []
    assert len(give(pair, one)) == 1


def test_too_many_fragments_end_the_ike_sa() -> None:
    """Only the authenticated peer can do that; nothing is kept of it."""
    pair = Pair().establish()
    sa = ike_sa(pair.a)
    assert sa.protection is not None
    header = sa.header(ExchangeType.INFORMATIONAL, 2, is_response=False)
    fragment = Fragment(header, 1, MAX_FRAGMENTS + 1, PayloadType.NOTIFY, b"x")
    (answer,) = give(pair, _seal_fragment(fragment, sa.protection._outbound, sa.protection._next_iv()))
    error = sa.protection.open(answer).error
    assert error is not None
    assert error.type == NotifyType.INVALID_SYNTAX
    assert isinstance(pair.b.events[-1], IkeDown)
    assert pair.b.data.outbound is None


def test_an_answer_is_not_repeated_for_ever() -> None:
    """Whoever saw fragment 1 can send it again; the whole answer is larger, so that has a limit."""
    pair = small_pair()
    sent = pair.record()
    pair.establish()
    first = next(item for item in sent if is_fragment(item) and item.to == "b")
    received = sum(len(give(pair, first.data)) for _ in range(500))
    assert 0 < received <= 2 * 20
    assert pair.b.endpoint.counters["repeated answer suppressed"] > 400


def test_size_is_checked() -> None:
    """Fragments that carry nothing are of no use."""
    with pytest.raises(ValueError, match="less than 256"):
        Endpoint(replace(initiator_config(), fragment_size=100), bytes, 0.0)
