"""IKE_SA_INIT step by step: regular, cookies, groups, NAT, errors that anybody can forge."""

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from tests.support.ike_pair import (
    CPE,
    DATA_CENTRE,
    Network,
    Node,
    Pair,
    exchange_of,
    initiator_config,
    responder_config,
)
from vcstack.ikev2.config import RetransmitPolicy, UdpEncapsulation
from vcstack.ikev2.endpoint import Path
from vcstack.ikev2.events import IkeDown, IkeUp, InboundReady, OutboundReady, PeerMoved
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.proposal import IkeProposal
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.message import build_message, parse_message
from vcstack.ikev2.wire.notify import Notify

PUBLIC = IPv4Address("203.0.113.7")


def messages(pair: Pair) -> list[str]:
    """What went over the wire, without times."""
    return [line.split("-> ")[1] for line in pair.history]


def forge(pair: Pair, notify: Notify) -> None:
    """Answer a's request for the peer, as anybody on the way could."""
    request = next(item for item in pair.wire if item.to == "b").header
    header = Header(request.initiator_spi, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
    path = Path(CPE, 500, DATA_CENTRE, 500)
    pair.a.endpoint.receive_datagram(build_message(header, [notify]), path, pair.now)
    pair.flush(pair.a)


def test_regular() -> None:
    """Four messages, and both ends can send and receive."""
    pair = Pair().start()
    # a -> b  IKE_SA_INIT {SA, KEi, Ni, NAT-D}
    # a <- b  IKE_SA_INIT {SA, KEr, Nr, NAT-D}
    # a -> b  IKE_AUTH {IDi, IDr, AUTH, N(INITIAL_CONTACT), SA, TSi, TSr}
    # a <- b  IKE_AUTH {IDr, AUTH, SA, TSi, TSr}
    pair.run(1.0)
    assert messages(pair) == [
        "b IKE_SA_INIT request 0",
        "a IKE_SA_INIT response 0",
        "b IKE_AUTH request 1",
        "a IKE_AUTH response 1",
    ]
    assert [child.pfs_group for child, _ in pair.agree()] == [None]
    for node in pair.nodes:
        assert [type(event) for event in node.events] == [IkeUp, InboundReady, OutboundReady]
        assert node.endpoint.snapshot(pair.now).state == "up"


def test_lost_messages_are_repeated_bit_by_bit() -> None:
    """RFC 7296 2.1: each request until it is answered, and the same answer to the same request."""
    pair = Pair().start()
    first = pair.take("b")
    pair.run_until(lambda: bool(pair.wire), 5.0)
    assert pair.wire[0].data == first.data
    pair.pass_on("b", "IKE_SA_INIT request")
    answer = pair.take("a")
    pair.run_until(lambda: any(item.to == "b" for item in pair.wire), 5.0)
    pair.pass_on("b", "IKE_SA_INIT request")
    assert pair.wire[0].data == answer.data
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_retransmission_backs_off() -> None:
    """The waits grow, with jitter, up to a ceiling; then the attempt is over and another one follows."""
    policy = RetransmitPolicy(base_s=1.0, factor=2.0, ceiling_s=5.0, tries=5, jitter=0.1)
    pair = Pair(initiator_config(init_retransmit=policy))
    sent = pair.record()
    pair.network = Network(delay_s=1000.0)
    pair.start().run(17.6)
    times = [item.at for item in sent]
    waits = [after - before for before, after in pairwise(times)]
    assert len(times) >= 5
    for wait, nominal in zip(waits[:4], (1.0, 2.0, 4.0, 5.0), strict=True):
        assert 0.9 * nominal <= wait <= 1.1 * nominal
    down = pair.a.events[0]
    assert isinstance(down, IkeDown)
    assert down.reason == "the peer does not answer IKE_SA_INIT"
    assert down.retry_in_s == pytest.approx(1.0, rel=0.3)


def test_cookie() -> None:
    """RFC 7296 2.6: the request comes again with the cookie first, and nothing else changed."""
    pair = Pair(initiator_config(), responder_config(cookie_threshold=0)).start()
    # a -> b  IKE_SA_INIT {SA, KEi, Ni}     a <- b  {N(COOKIE)}
    request = pair.pass_on("b", "IKE_SA_INIT request")
    assert not pair.b.endpoint.ike_sas
    pair.pass_on("a", "IKE_SA_INIT response")
    # a -> b  IKE_SA_INIT {N(COOKIE), SA, KEi, Ni}
    again = pair.pass_on("b", "IKE_SA_INIT request 0")
    first, *others = parse_message(again.data).payloads
    assert isinstance(first, Notify)
    assert first.type == NotifyType.COOKIE
    assert tuple(others)[:3] == parse_message(request.data).payloads[:3]
    assert again.header.initiator_spi == request.header.initiator_spi
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_invalid_ke_payload() -> None:
    """RFC 7296 1.2: the same request once more, with a public value of the group that the peer wants."""
    pair = Pair(
        initiator_config(ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-ecp256-curve25519"),)),
        responder_config(),
    ).establish()
    assert messages(pair)[:4] == ["b IKE_SA_INIT request 0", "a IKE_SA_INIT response 0"] * 2
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].dh_group == 31


def test_cookie_and_invalid_ke_payload() -> None:
    """RFC 7296 2.6.1: both, one after the other."""
    pair = Pair(
        initiator_config(ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-ecp256-curve25519"),)),
        responder_config(cookie_threshold=0),
    ).establish()
    assert messages(pair).count("b IKE_SA_INIT request 0") == 3
    pair.assert_one_tunnel()


@pytest.mark.parametrize(
    "notify",
    [Notify(NotifyType.COOKIE, data=bytes(8)), Notify(NotifyType.INVALID_KE_PAYLOAD, data=b"\0\x13")],
)
def test_restarts_are_bounded(notify: Notify) -> None:
    """An attacker who asks for cookies or groups for ever gets a few requests, not more."""
    groups = (IkeProposal.parse("aes256gcm16-prfsha256-curve25519-ecp256"),)
    pair = Pair(initiator_config(ike_proposals=groups), responder_config(ike_proposals=groups)).start()
    for _ in range(50):
        if not any(item.to == "b" for item in pair.wire):
            break
        forge(pair, notify)
        pair.wire[:-1] = []
    assert pair.a.endpoint.counters["tx request IKE_SA_INIT"] <= 5
    pair.wire.clear()
    pair.run(40.0)
    pair.assert_one_tunnel()


def test_forged_error_does_not_stop_a_genuine_answer() -> None:
    """RFC 7296 2.21.1: an unauthenticated error is remembered, and the answer awaited all the same."""
    pair = Pair().start()
    forge(pair, Notify(NotifyType.NO_PROPOSAL_CHOSEN))
    assert pair.a.endpoint.snapshot(pair.now).last_error == "peer said NO_PROPOSAL_CHOSEN in IKE_SA_INIT"
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_no_proposal_chosen() -> None:
    """Both ends say what differs and whose answer it was; the initiator keeps trying."""
    pair = Pair(
        initiator_config(ike_proposals=(IkeProposal.parse("aes128gcm16-prfsha256-curve25519"),))
    ).start()
    pair.run(120.0)
    ours, theirs = (node.endpoint.snapshot(pair.now) for node in pair.nodes)
    assert ours.reason == ours.last_error == "peer said NO_PROPOSAL_CHOSEN in IKE_SA_INIT"
    assert theirs.last_error is not None
    assert theirs.last_error.startswith("we refused the peer's IKE_SA_INIT (NO_PROPOSAL_CHOSEN): encryption:")
    assert ours.attempts >= 4
    assert not pair.b.endpoint.ike_sas


def test_unreachable_then_reachable() -> None:
    """Attempts go on for ever; the tunnel comes up within the ceiling of the back-off."""
    pair = Pair()
    pair.filter = lambda _: False
    pair.start().run(2000.0)
    pair.filter = lambda _: True
    pair.run(90.0)
    pair.assert_one_tunnel()


def test_too_many_half_open() -> None:
    """The limit holds, and half-open IKE SAs are forgotten after a while."""
    pair = Pair(initiator_config(), responder_config(cookie_threshold=99, half_open_limit=3))
    for seed in range(6):
        other = Pair(seed=seed + 10).start()
        item = other.take("b")
        pair.deliver(item)
    assert len(pair.b.endpoint.ike_sas) == 3
    assert pair.b.endpoint.counters["rx IKE_SA_INIT beyond the half-open limit"] == 3
    pair.run(100.0)
    assert not pair.b.endpoint.ike_sas
    assert pair.b.saw(IkeDown) == 0


def test_foreign_address_is_not_answered() -> None:
    """Only the configured peer may start."""
    pair = Pair()
    pair.translate = lambda _, path: replace(path, local=PUBLIC)
    pair.start().run(1.0)
    assert pair.b.endpoint.counters["rx IKE_SA_INIT from a foreign address"] == 1
    assert not [item for item in pair.history if "-> a" in item]


class Nat:
    """Translates what the branch sends to a public address and port, and back."""

    def __init__(self, pair: Pair) -> None:
        self.port = 40000
        self._pair = pair
        pair.translate = self._translate

    def _translate(self, node: Node, path: Path) -> Path:
        if node is self._pair.a:
            return replace(path, local=PUBLIC, local_port=self.port + path.local_port)
        return replace(path, remote=CPE, remote_port=path.remote_port - self.port)


def test_nat_is_detected_and_moved_to_port_4500() -> None:
    """RFC 7296 2.23: the hashes differ, so IKE_AUTH goes to 4500 and ESP into UDP."""
    pair = Pair(initiator_config(), responder_config(remote_address=None))
    Nat(pair)
    pair.start()
    sent = pair.record()
    pair.run(2.0)
    child = pair.assert_one_tunnel()
    assert child.udp_encapsulation
    assert [(item.to, item.path.local_port) for item in sent[-2:]] == [("b", 4500), ("a", 4500)]
    ours, theirs = (node.endpoint.snapshot(pair.now).ike_sas[0] for node in pair.nodes)
    assert (ours.nat_local, ours.nat_remote) == (True, False)
    assert (theirs.nat_local, theirs.nat_remote) == (False, True)
    assert pair.b.data.outbound is not None
    assert pair.b.data.outbound.path == Path(DATA_CENTRE, 4500, PUBLIC, 44500)


def test_nat_rebinding_is_followed() -> None:
    """libreswan issue 1492: the NAT chooses another port; a fresh authenticated message shows it."""
    pair = Pair(initiator_config(), responder_config(remote_address=None, dpd_interval_s=0.0))
    nat = Nat(pair)
    pair.start().run(2.0)
    nat.port = 50000
    pair.run(12.0)
    assert pair.b.events[-1] == PeerMoved(Path(DATA_CENTRE, 4500, PUBLIC, 54500))
    pair.rekey_child(pair.b)
    pair.run(1.0)
    pair.assert_one_tunnel()


def test_no_nat_stays_on_port_500() -> None:
    """Without a NAT, ESP is protocol 50."""
    child = Pair().establish().assert_one_tunnel()
    assert not child.udp_encapsulation
    assert child.path.remote_port == 500


@pytest.mark.parametrize("forcing", ["a", "b"])
def test_udp_encapsulation_always(forcing: str) -> None:
    """A wrong hash for this end makes the peer believe in a NAT: both encapsulate, on port 4500."""
    always = {"udp_encapsulation": UdpEncapsulation.ALWAYS}
    pair = Pair(
        initiator_config(**(always if forcing == "a" else {})),
        responder_config(**(always if forcing == "b" else {})),
    ).establish()
    child = pair.assert_one_tunnel()
    assert child.udp_encapsulation
    assert (child.path.local_port, child.path.remote_port) == (4500, 4500)


@pytest.mark.parametrize("seed", range(20))
def test_simultaneous_initiation_ends_with_one_tunnel(seed: int) -> None:
    """Both ends call at once: one IKE SA and one child remain, whatever the timing."""
    pair = Pair(
        initiator_config(),
        responder_config(initiate=True),
        seed=seed,
        network=Network(delay_s=0.05, jitter_s=0.1 * (seed % 5), loss=0.1 * (seed % 3)),
    )
    pair.establish()
    pair.network = Network()
    pair.run(120.0)
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0


def test_garbage_is_counted_and_never_raised() -> None:
    """Nothing that anybody sends changes an SA."""
    pair = Pair().establish()
    path = Path(DATA_CENTRE, 500, CPE, 500)
    (sa,) = pair.b.endpoint.ike_sas.values()
    genuine = Header(sa.spi_i, sa.spi_r, ExchangeType.INFORMATIONAL, True, False, sa.responses.expected_id)
    datagrams = [
        b"",
        b"\xff",
        bytes(28),
        bytes(range(200)),
        build_message(genuine, [Notify(NotifyType.INVALID_SYNTAX)]),
        build_message(replace(genuine, exchange=ExchangeType.IKE_AUTH), []),
        build_message(replace(genuine, is_response=True, is_initiator=True), []),
        build_message(replace(genuine, exchange=ExchangeType(99)), []),
    ]
    for data in datagrams:
        pair.b.endpoint.receive_datagram(data, path, pair.now)
    assert pair.b.endpoint.datagrams_to_send() == []
    assert sum(count for name, count in pair.b.endpoint.counters.items() if "dropped" in name) >= 5
    pair.assert_one_tunnel()


def test_replies_to_strangers_are_limited() -> None:
    """RFC 7296 2.21.4: unknown SPIs and versions are answered, but not for ever."""
    pair = Pair()
    path = Path(DATA_CENTRE, 500, CPE, 500)
    header = Header(b"12345678", b"87654321", ExchangeType.INFORMATIONAL, True, False, 7)
    request = header.build(PayloadType.SK, 128) + bytes(100)
    for _ in range(1000):
        pair.b.endpoint.receive_datagram(request, path, pair.now)
    replies = pair.b.endpoint.datagrams_to_send()
    assert 0 < len(replies) <= 20
    answer = parse_message(replies[0].data)
    assert answer.notify(NotifyType.INVALID_IKE_SPI) is not None
    assert answer.header.message_id == 7
    assert len(replies[0].data) <= len(request)
    # A response is never answered.
    reply = replace(header, is_response=True).build(PayloadType.SK, 128) + bytes(100)
    pair.b.endpoint.receive_datagram(reply, path, pair.now + 60)
    assert pair.b.endpoint.datagrams_to_send() == []


def test_wrong_major_version() -> None:
    """RFC 7296 2.5: the answer names the version that is spoken here."""
    pair = Pair()
    path = Path(DATA_CENTRE, 500, CPE, 500)
    header = Header(b"12345678", bytes(8), ExchangeType.IKE_SA_INIT, True, False, 0, major=3)
    request = build_message(header, [Notify(NotifyType.COOKIE, data=bytes(8))])
    pair.b.endpoint.receive_datagram(request, path, pair.now)
    (reply,) = pair.b.endpoint.datagrams_to_send()
    notify = parse_message(reply.data).notify(NotifyType.INVALID_MAJOR_VERSION)
    assert notify is not None
    assert notify.data == b"\x02"


def test_owns_spi() -> None:
    """Control finds the endpoint of a datagram by its SPIs."""
    pair = Pair().start()
    request = pair.take("b")
    assert not pair.b.endpoint.owns_spi(request.data)
    pair.deliver(request)
    assert pair.b.endpoint.owns_spi(request.data)
    answer = pair.take("a")
    assert pair.a.endpoint.owns_spi(answer.data)
    assert not pair.b.endpoint.owns_spi(b"short")
    assert exchange_of(answer) == (ExchangeType.IKE_SA_INIT, True)
