"""What went wrong between implementations in the field, each with the place where it was reported.

Others of the kind stand with the exchange that they concern; `test_coverage_lists` names them all.
"""

from dataclasses import replace

import pytest

from tests.support.ike_pair import (
    CPE,
    DATA_CENTRE,
    GRE,
    Pair,
    initiator_config,
    responder_config,
)
from vcstack.ikev2.config import RetransmitPolicy
from vcstack.ikev2.events import ChildRetired, IkeDown
from vcstack.ikev2.exchanges import child_offer, ike_auth, ike_sa_init
from vcstack.ikev2.iana import ExchangeType, IntegrityId, NotifyType, TransformType
from vcstack.ikev2.natd import nat_detection_hash
from vcstack.ikev2.path import Path
from vcstack.ikev2.proposal import offer
from vcstack.ikev2.wire.message import parse_message
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa, Transform
from vcstack.ikev2.wire.vendor import Vendor
from vcstack.wire.selector import TrafficSelector

ANY = TrafficSelector(start=type(CPE)("0.0.0.0"), end=type(CPE)("255.255.255.255"))


def with_integrity_none(received: Sa) -> Sa:
    """The same proposals with INTEG NONE beside the AEAD."""
    none = Transform(TransformType.INTEGRITY, IntegrityId.NONE)
    return Sa(tuple(replace(item, transforms=(*item.transforms, none)) for item in received.proposals))


@pytest.mark.parametrize("asker", ["a", "b"])
def test_integrity_none_only_when_rekeying(monkeypatch: pytest.MonkeyPatch, asker: str) -> None:
    """libreswan issue 1244: ASA 9.19 leaves INTEG out at first and adds INTEG=NONE when it rekeys."""
    pair = Pair().establish()
    old = pair.assert_one_tunnel()
    real = offer
    monkeypatch.setattr(child_offer, "offer", lambda *args: with_integrity_none(real(*args)))
    pair.rekey_child(pair.a if asker == "a" else pair.b)
    pair.run(1.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in


def test_collision_and_a_lost_packet() -> None:
    """strongSwan issue 1896: both rekey, a packet is lost, and the outbound SA is missing in the end."""
    for lost in range(6):
        pair = Pair(seed=lost).establish()
        pair.rekey_child(pair.a)
        pair.rekey_child(pair.b)
        for _ in range(lost):
            if pair.wire:
                pair.deliver(min(pair.wire))
        if pair.wire:
            pair.wire.remove(min(pair.wire))
        pair.run(40.0)
        pair.assert_one_tunnel()


def test_two_children_of_one_policy() -> None:
    """strongSwan issue 1150: the ASA's new child has the selectors of the old one; both work side by side."""
    pair = Pair().establish()
    pair.rekey_child(pair.b)
    pair.pass_on("a", "CREATE_CHILD_SA request")
    one, two = pair.a.data.inbound.values()
    assert (one.local_ts, one.remote_ts) == (two.local_ts, two.remote_ts)
    assert one.spi_in != two.spi_in
    pair.run(1.0)
    pair.assert_one_tunnel()


@pytest.mark.parametrize("wide", ["a", "b"])
def test_gre_between_two_hosts_is_what_we_ask_for_and_all_that_we_give(wide: str) -> None:
    """pfSense PR 118: Cisco wants protocol 47 between two hosts, and refuses ANY. So do we, by narrowing."""
    configs = {"local_ts": (ANY,), "remote_ts": (ANY,)}
    pair = Pair(
        initiator_config(**(configs if wide == "a" else {})),
        responder_config(**(configs if wide == "b" else {})),
    ).establish()
    child = pair.assert_one_tunnel()
    assert child.local_ts == (TrafficSelector.host(CPE, GRE),)
    assert child.remote_ts == (TrafficSelector.host(DATA_CENTRE, GRE),)


def test_ike_and_esp_from_different_ports() -> None:
    """libreswan issue 2012: a NAT gives IKE and ESP-in-UDP different ports; both directions keep working."""
    pair = Pair(initiator_config(dpd_interval_s=5.0), responder_config(dpd_interval_s=5.0))
    pair.translate = lambda node, path: (
        Path(path.local, 1000 + path.local_port, path.remote, path.remote_port)
        if node is pair.a
        else Path(path.local, path.local_port, path.remote, path.remote_port - 1000)
    )
    pair.establish()
    assert pair.assert_one_tunnel().udp_encapsulation
    (sa,) = pair.b.endpoint.ike_sas.values()
    for _ in range(5):
        # ESP comes from another port than IKE; the next IKE message is answered to where it came from.
        pair.b.endpoint.peer_moved(CPE, 7000)
        assert sa.path.remote_port == 7000
        pair.rekey_child(pair.a)
        pair.run(1.0)
        assert sa.path.remote_port == 5500
    pair.assert_one_tunnel()
    assert pair.b.saw(IkeDown) == 0


@pytest.mark.parametrize("liar", ["a", "b"])
def test_nat_detection_with_a_wrong_address(monkeypatch: pytest.MonkeyPatch, liar: str) -> None:
    """strongSwan issue 861: one end hashes a wrong address; still both agree on whether ESP goes in UDP."""
    real, address = ike_sa_init.nat_detection_hash, CPE if liar == "a" else DATA_CENTRE  # type: ignore[attr-defined]

    def wrong(spi_i: bytes, spi_r: bytes, host: object, port: int) -> bytes:
        lied = type(CPE)("192.168.1.1") if host == address else host
        return nat_detection_hash(spi_i, spi_r, lied, port)  # type: ignore[arg-type]

    assert real is nat_detection_hash
    monkeypatch.setattr(ike_sa_init, "nat_detection_hash", wrong)
    pair = Pair().establish()
    assert pair.assert_one_tunnel().udp_encapsulation
    states = {(ike.nat_local, ike.nat_remote) for ike in pair.a.endpoint.snapshot(pair.now).ike_sas}
    assert states != {(False, False)}


def test_no_vendor_id_of_flexvpn() -> None:
    """strongSwan PR 180, CSCvv05031: with FLEXVPN-SUPPORTED a Cisco answers otherwise; we do not send it."""
    pair = Pair()
    sent = pair.record()
    pair.establish()
    for item in sent:
        if item.header.exchange == ExchangeType.IKE_SA_INIT:
            assert parse_message(item.data).all(Vendor) == ()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"CISCO-DELETE-REASON", "Cisco delete reason"),
        (b"CISCO(COPYRIGHT)&Copyright (c) 2009 Cisco Systems, Inc.", "Cisco"),
        (b"CISCO-DYNAMIC-ROUTE", "Cisco dynamic route"),
        (b"CISCO-GRE-MODE", "Cisco GRE mode"),
        (b"FLEXVPN-SUPPORTED", "Cisco FlexVPN"),
        (bytes.fromhex("4048b7d56ebce88525e7de7f00d6c2d380000000"), "Cisco fragmentation"),
    ],
)
def test_vendor_ids_of_cisco_are_named(monkeypatch: pytest.MonkeyPatch, data: bytes, name: str) -> None:
    """strongSwan's table of vendor IDs: shown by name, and nothing else comes of them."""
    detect = ike_sa_init._nat_detection
    monkeypatch.setattr(ike_sa_init, "_nat_detection", lambda sa: [*detect(sa), Vendor(data)])
    pair = Pair().establish()
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].vendor_ids == (name,)


def test_death_is_the_end_of_retransmissions() -> None:
    """libreswan issues 543, 624: IKEv2 has no DPD time-out; how long a check is repeated has its own knob."""
    quick, patient = RetransmitPolicy(base_s=0.5, tries=3), RetransmitPolicy(base_s=2.0, tries=10)
    pair = Pair(initiator_config(dpd_interval_s=5.0, dpd_retransmit=quick, retransmit=patient)).establish()
    pair.filter = lambda _: False
    began = pair.now
    pair.run_until(lambda: pair.a.saw(IkeDown) > 0, 60.0)
    assert pair.now - began < 5.0 + 5.0


def test_lifetimes_are_each_ends_own() -> None:
    """libreswan issue 405: nothing is negotiated; the end with the shorter lifetime rekeys."""
    pair = Pair(
        initiator_config(child_lifetime_s=3600.0),
        responder_config(child_lifetime_s=100.0, ike_lifetime_s=300.0),
    ).establish()
    pair.run(1000.0)
    assert pair.a.endpoint.counters["tx request CREATE_CHILD_SA"] == 0
    assert pair.b.endpoint.counters["tx request CREATE_CHILD_SA"] >= 10
    assert pair.a.endpoint.counters["IKE SA rekeyed"] >= 3
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0
    pair.assert_one_tunnel()


def test_a_peer_that_ignores_initial_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """libreswan issue 497: the old IKE SA stays there; its liveness checks find nobody, and it goes."""
    pair = Pair().establish()
    answer = ike_auth.respond

    def respond(sa: object, message: object, now: float) -> object:
        kept = tuple(
            item
            for item in message.payloads  # type: ignore[attr-defined]
            if not (isinstance(item, Notify) and item.type == NotifyType.INITIAL_CONTACT)
        )
        return answer(sa, replace(message, payloads=kept), now)  # type: ignore[type-var,arg-type]

    monkeypatch.setattr(ike_auth, "respond", respond)
    reborn = Pair(seed=2).a
    reborn.name = "a"
    pair.a = reborn
    pair.act(pair.a, lambda endpoint: endpoint.start(pair.now))
    pair.run(3.0)
    assert len(pair.b.endpoint.snapshot(pair.now).ike_sas) == 2
    pair.run(120.0)
    pair.assert_one_tunnel()
    assert pair.b.saw(ChildRetired) == 1
    assert pair.b.saw(IkeDown) == 0


def test_statuses_of_a_child_are_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 sections 1.3.1, 3.10.1: what a Cisco adds to a child's payloads changes nothing here."""
    statuses = [
        Notify(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED),
        Notify(NotifyType.NON_FIRST_FRAGMENTS_ALSO),
        Notify(NotifyType.SET_WINDOW_SIZE, data=(5).to_bytes(4, "big")),
        Notify(NotifyType.ADDITIONAL_TS_POSSIBLE),
        Notify(NotifyType(40961), data=b"private use"),
    ]
    plain, rekeyed = child_offer.ChildOffer.selectors, child_offer.answer_offer
    monkeypatch.setattr(
        child_offer.ChildOffer, "selectors", lambda offered, sa: [*plain(offered, sa), *statuses]
    )

    def answer(*args: object, **names: bool) -> object:
        child, nonces, payloads = rekeyed(*args, **names)  # type: ignore[arg-type]
        return child, nonces, [*payloads, *statuses]

    monkeypatch.setattr(ike_auth, "answer_offer", answer)
    pair = Pair().establish()
    old = pair.assert_one_tunnel()
    for node in pair.nodes:
        pair.rekey_child(node)
        pair.run(1.0)
    assert pair.assert_one_tunnel().spi_in != old.spi_in
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].peer_window == 5


def test_authentication_lifetime_may_come_later() -> None:
    """RFC 4478 section 3: the original responder may also send AUTH_LIFETIME in INFORMATIONAL."""
    from tests.exchanges.test_malformed import ask, ike_sa, sealed

    pair = Pair(initiator_config(initiate=True), responder_config(initiate=False)).establish()
    # b is the one that is told here, and only answers: it notes it, and does nothing about it.
    lifetime = Notify(NotifyType.AUTH_LIFETIME, data=(300).to_bytes(4, "big"))
    answer = ask(pair, sealed(pair, ExchangeType.INFORMATIONAL, [lifetime]))
    assert answer is not None
    assert answer.payloads == ()
    sa = ike_sa(pair.b)
    assert sa.peer.auth_lifetime_s == 300
    assert sa.timers.reauthenticate_at == pytest.approx(pair.now + 270.0)
    pair.run(400.0)
    assert pair.b.endpoint.counters["attempt"] == 0


def test_a_lifetime_of_nothing_does_not_make_a_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 4478 sets no lower limit; ours is the ceiling of the back-off."""
    answer = ike_auth.respond

    def respond(*args: object) -> list[object]:
        return [*answer(*args), Notify(NotifyType.AUTH_LIFETIME, data=bytes(4))]  # type: ignore[arg-type]

    monkeypatch.setattr(ike_auth, "respond", respond)
    pair = Pair().establish()
    pair.run(600.0)
    assert 5 <= pair.a.endpoint.counters["attempt"] <= 12
    assert pair.a.saw(IkeDown) == 0
