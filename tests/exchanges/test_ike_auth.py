"""IKE_AUTH: who the ends are, and the child that comes with it."""

import pytest

from tests.support.ike_pair import CPE, DATA_CENTRE, GRE, Pair, initiator_config, responder_config
from vcstack.ikev2.events import ChildFailed, ChildRetired, IkeDown, IkeUp
from vcstack.ikev2.exchanges import ike_auth, ike_sa_init
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.proposal import EspProposal
from vcstack.ikev2.wire.notify import Notify
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector


def test_wrong_key_seen_by_the_responder() -> None:
    """AUTHENTICATION_FAILED: both ends say so, no SA is left, and the initiator tries again."""
    pair = Pair(initiator_config(local_psk=Secret(b"wrong"))).start()
    # a -> b  IKE_AUTH {IDi, IDr, AUTH, ...}    a <- b  IKE_AUTH {N(AUTHENTICATION_FAILED)}
    pair.run(0.5)
    ours, theirs = (node.endpoint.snapshot(pair.now) for node in pair.nodes)
    assert ours.last_error == "peer said AUTHENTICATION_FAILED in IKE_AUTH"
    assert (
        theirs.last_error == "we refused the peer in IKE_AUTH: 198.51.100.1 does not know our pre-shared key"
    )
    assert isinstance(pair.a.events[0], IkeDown)
    assert ours.next_retry_in_s is not None
    assert not ours.ike_sas
    assert not theirs.ike_sas
    assert pair.a.saw(IkeUp) == pair.b.saw(IkeUp) == 0


def test_wrong_key_seen_by_the_initiator() -> None:
    """RFC 7296 2.21.2: the initiator reports the failure in an INFORMATIONAL exchange of its own."""
    pair = Pair(initiator_config(remote_psk=Secret(b"wrong"))).start()
    # a -> b  IKE_AUTH {...}    a <- b  IKE_AUTH {IDr, AUTH, ...}
    # a -> b  INFORMATIONAL {N(AUTHENTICATION_FAILED)}    a <- b  INFORMATIONAL {}
    pair.run(0.5)
    ours, theirs = (node.endpoint.snapshot(pair.now) for node in pair.nodes)
    assert (
        ours.last_error == "we refused the peer in IKE_AUTH: 198.51.100.10 does not know our pre-shared key"
    )
    assert theirs.last_error == "peer said AUTHENTICATION_FAILED in INFORMATIONAL"
    assert not theirs.ike_sas
    assert not pair.b.data.inbound


def test_asymmetric_keys() -> None:
    """libreswan issue 316: each end may have a key of its own; also longer than the block of the PRF."""
    one, other = Secret(b"one"), Secret(b"other" * 30)
    Pair(
        initiator_config(local_psk=one, remote_psk=other), responder_config(local_psk=other, remote_psk=one)
    ).establish().assert_one_tunnel()


def test_wrong_identity_names_both() -> None:
    """libreswan issue 503: the verdict of a NATed peer with its private address as identity."""
    pair = Pair(initiator_config(local_id=Identity.parse("10.0.0.5"))).start()
    pair.run(1.0)
    error = pair.b.endpoint.snapshot(pair.now).last_error
    assert error == "we refused the peer in IKE_AUTH: it says it is 10.0.0.5, remote_id is 198.51.100.1"


def test_the_responder_is_somebody_else() -> None:
    """IDr asks for one identity, the responder has another."""
    pair = Pair(initiator_config(remote_id=Identity.parse("fqdn:dc.example"))).start()
    pair.run(1.0)
    error = pair.b.endpoint.snapshot(pair.now).last_error
    assert error is not None
    assert "it wants to talk to fqdn:dc.example" in error


def test_identities_of_other_kinds_and_no_idr() -> None:
    """FQDN and KEY_ID; without a remote_id no IDr is sent and any identity with the key is taken."""
    pair = Pair(
        initiator_config(local_id=Identity.parse("key_id:branch-1"), remote_id=None),
        responder_config(local_id=Identity.parse("fqdn:dc.example"), remote_id=None),
    ).establish()
    pair.assert_one_tunnel()
    (snapshot,) = pair.a.endpoint.snapshot(pair.now).ike_sas
    assert (snapshot.local_id, snapshot.remote_id) == ("key_id:branch-1", "fqdn:dc.example")


def test_child_refused_leaves_the_ike_sa_up_and_is_retried() -> None:
    """libreswan issue 801: TS_UNACCEPTABLE beside IDr and AUTH; the IKE SA stays, CREATE_CHILD_SA follows."""
    selectors = (TrafficSelector.host(CPE, 50),)
    pair = Pair(initiator_config(local_ts=selectors)).start()
    # a <- b  IKE_AUTH {IDr, AUTH, N(TS_UNACCEPTABLE)}
    pair.run(1.0)
    ours, theirs = (node.endpoint.snapshot(pair.now) for node in pair.nodes)
    assert ours.state == theirs.state == "up"
    assert ours.last_error == "peer said TS_UNACCEPTABLE for the child SA in IKE_AUTH"
    assert theirs.last_error is not None
    assert "TSi 198.51.100.1/32[50] has nothing in common with 198.51.100.1/32[47]" in theirs.last_error
    pair.run(120.0)
    assert 3 <= pair.a.saw(ChildFailed) <= 12
    assert pair.a.saw(IkeDown) == 0
    # The operator at the other end opens its selectors: the next attempt succeeds.
    object.__setattr__(pair.b.endpoint.config, "remote_ts", selectors)
    pair.run(30.0)
    assert [str(selector) for selector in pair.assert_one_tunnel().local_ts] == ["198.51.100.1/32[50]"]


def test_no_esp_proposal_in_common() -> None:
    """NO_PROPOSAL_CHOSEN for the child only."""
    pair = Pair(initiator_config(esp_proposals=(EspProposal.parse("aes128gcm16"),))).start()
    pair.run(1.0)
    assert pair.a.endpoint.snapshot(pair.now).last_error == (
        "peer said NO_PROPOSAL_CHOSEN for the child SA in IKE_AUTH"
    )
    assert "encryption" in (pair.b.endpoint.snapshot(pair.now).last_error or "")


@pytest.mark.parametrize("wide", ["a", "b"])
def test_narrowing(wide: str) -> None:
    """RFC 7296 2.9: whoever allows more, both end with host to host and protocol 47."""
    everything = TrafficSelector(start=type(CPE)("0.0.0.0"), end=type(CPE)("255.255.255.255"))
    changes = {"local_ts": (everything,), "remote_ts": (everything,)}
    pair = Pair(
        initiator_config(**(changes if wide == "a" else {})),
        responder_config(**(changes if wide == "b" else {})),
    ).establish()
    child = pair.assert_one_tunnel()
    assert [str(selector) for selector in child.local_ts] == ["198.51.100.1/32[47]"]
    assert [str(selector) for selector in child.remote_ts] == ["198.51.100.10/32[47]"]
    pair.rekey_child(pair.b)
    pair.run(1.0)
    assert pair.assert_one_tunnel().local_ts == child.local_ts


def test_two_selectors_per_payload() -> None:
    """RFC 7296 2.9: the first may be of the packet that caused the request, the second is the policy."""
    any_protocol = (TrafficSelector.host(CPE, GRE), TrafficSelector.host(CPE))
    pair = Pair(
        initiator_config(
            local_ts=any_protocol,
            remote_ts=(TrafficSelector.host(DATA_CENTRE, GRE), TrafficSelector.host(DATA_CENTRE)),
        )
    ).establish()
    assert [str(selector) for selector in pair.assert_one_tunnel().local_ts] == ["198.51.100.1/32[47]"]


def test_initial_contact_is_sent_on_first_contact_only() -> None:
    """RFC 7296 2.4: an end that has another IKE SA up does not claim the contrary."""
    pair = Pair().establish()
    pair.act(pair.a, lambda endpoint: endpoint.reauthenticate(pair.now, "test"))
    pair.run(2.0)
    # The new IKE SA replaced the old one without INITIAL_CONTACT, and before the old one went.
    pair.assert_one_tunnel()
    assert pair.a.saw(IkeDown) == pair.b.saw(IkeDown) == 0
    assert pair.a.saw(ChildRetired) == 1
    assert pair.b.data.log[-3:] == ["InboundReady", "OutboundReady", "ChildRetired"]


def test_auth_lifetime_and_window_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 2.3: a window changes nothing. RFC 4478: the initiator authenticates anew in time."""
    answer = ike_auth.respond

    def respond(*args: object) -> list[object]:
        lifetime = Notify(NotifyType.AUTH_LIFETIME, data=(600).to_bytes(4, "big"))
        window = Notify(NotifyType.SET_WINDOW_SIZE, data=(5).to_bytes(4, "big"))
        return [*answer(*args), lifetime, window]  # type: ignore[arg-type]

    monkeypatch.setattr(ike_auth, "respond", respond)
    pair = Pair().establish()
    (snapshot,) = pair.a.endpoint.snapshot(pair.now).ike_sas
    assert (snapshot.peer_auth_lifetime_s, snapshot.peer_window) == (600, 5)
    pair.run(600.0)
    assert pair.a.endpoint.counters["attempt"] == 2
    assert pair.a.saw(IkeDown) == 0
    pair.assert_one_tunnel()


def test_vendor_ids_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known vendors by name, others by their octets."""
    from vcstack.ikev2.wire.vendor import Vendor

    detect = ike_sa_init._nat_detection
    ids = [Vendor(b"CISCO(COPYRIGHT)&Copyright"), Vendor(b"\x01\x02")]
    monkeypatch.setattr(ike_sa_init, "_nat_detection", lambda sa: [*detect(sa), *ids])
    pair = Pair().establish()
    assert pair.a.endpoint.snapshot(pair.now).ike_sas[0].vendor_ids == ("Cisco", "0102")
