"""Postquantum preshared keys (RFC 8784): each line of its table 1, and both ends' choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.authority import authority
from tests.support.ike_pair import CPE, DATA_CENTRE, Pair, initiator_config, responder_config
from vcstack.ikev2 import ppk
from vcstack.ikev2.credentials import Ppk
from vcstack.ikev2.events import IkeUp
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.keymat import keys_with_ppk
from vcstack.ikev2.proposal import IkeProposal
from vcstack.ikev2.wire.notify import Notify
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.chain import Payload

KEY = Secret(b"thirty-two octets of a quantum-hedge")
OPTIONAL, MANDATORY = Ppk("branch-1", KEY), Ppk("branch-1", KEY, is_mandatory=True)
OTHER_ID, OTHER_KEY = Ppk("branch-2", KEY), Ppk("branch-1", Secret(b"another key"))


def pair_of(ours: Ppk | None, theirs: Ppk | None, **changes: Any) -> Pair:
    return Pair(initiator_config(ppk=ours, **changes), responder_config(ppk=theirs, **changes))


def errors(pair: Pair) -> list[str]:
    pair.start().run(5.0)
    assert pair.a.saw(IkeUp) == 0
    return [node.endpoint.snapshot(pair.now).last_error or "" for node in pair.nodes]


def uses(pair: Pair) -> list[bool]:
    return [sa.ppk for node in pair.nodes for sa in node.endpoint.snapshot(pair.now).ike_sas]


@pytest.mark.parametrize("ours", [OPTIONAL, MANDATORY])
@pytest.mark.parametrize("theirs", [OPTIONAL, MANDATORY])
def test_both_have_it(ours: Ppk, theirs: Ppk) -> None:
    """It is in the keys of the first IKE SA; rekeys take it over through SK_d, and mix nothing again."""
    pair = pair_of(ours, theirs).establish()
    pair.assert_one_tunnel()
    assert uses(pair) == [True, True]
    pair.rekey_ike(pair.a)
    pair.run(1.0)
    pair.rekey_child(pair.b)
    pair.run(1.0)
    pair.assert_one_tunnel()
    assert uses(pair) == [True, True]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(OPTIONAL, None), (None, OPTIONAL), (OPTIONAL, OTHER_ID), (None, None)]
)
def test_an_optional_one_that_the_peer_has_not(ours: Ppk | None, theirs: Ppk | None) -> None:
    """RFC 8784 4: ends can be upgraded one after the other."""
    pair = pair_of(ours, theirs).establish()
    pair.assert_one_tunnel()
    assert uses(pair) == [False, False]


def test_it_is_announced_again_with_a_cookie_and_in_another_group() -> None:
    """RFC 8784 3: the repeated IKE_SA_INIT says USE_PPK as the first did."""
    proposals = [
        tuple(IkeProposal.parse(f"aes256gcm16-prfsha256-{group}") for group in groups)
        for groups in (("ecp256", "curve25519"), ("curve25519",))
    ]
    pair = Pair(
        initiator_config(ppk=MANDATORY, ike_proposals=proposals[0]),
        responder_config(ppk=MANDATORY, ike_proposals=proposals[1], cookie_threshold=0),
    ).establish()
    pair.assert_one_tunnel()
    assert pair.a.endpoint.counters["rx COOKIE"] == pair.a.endpoint.counters["rx INVALID_KE_PAYLOAD"] == 1
    assert uses(pair) == [True, True]


def test_mandatory_here_and_unknown_to_the_responder() -> None:
    """The answer to IKE_SA_INIT is not believed at once: it is not authenticated."""
    assert errors(pair_of(MANDATORY, None))[0] == (
        "we refused the peer's answer in IKE_SA_INIT: it does not use a PPK, and ours is mandatory"
    )


def test_mandatory_at_the_responder_and_unknown_here() -> None:
    ours, theirs = errors(pair_of(None, MANDATORY))
    assert ours == "peer said AUTHENTICATION_FAILED in IKE_AUTH"
    assert theirs == "we refused the peer in IKE_AUTH: it does not use a PPK, and ours is mandatory"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(MANDATORY, OTHER_ID), (OTHER_ID, MANDATORY)],
    ids=["no fallback", "fallback refused"],
)
def test_identifiers_differ(ours: Ppk, theirs: Ppk) -> None:
    verdict = errors(pair_of(ours, theirs))[1]
    assert verdict == f"we refused the peer in IKE_AUTH: it uses the PPK {ours.id!r}, ours is {theirs.id!r}"


def test_keys_differ() -> None:
    """The same identifier and another key: the proof does not fit; no key is in any message."""
    ours, theirs = errors(pair_of(OPTIONAL, OTHER_KEY))
    assert theirs.endswith("198.51.100.1 does not know our pre-shared key, or not our PPK")
    assert "another key" not in ours + theirs


def test_with_signatures() -> None:
    """NO_PPK_AUTH has the data of a second signature."""
    root = authority()
    ends = [
        {
            "local_psk": None,
            "local_signer": root.issue(str(address), [str(address)]).signer(),
            "remote_psk": None,
            "remote_trust": root.trusted(),
        }
        for address in (CPE, DATA_CENTRE)
    ]
    for theirs, used in ((OPTIONAL, True), (OTHER_ID, False)):
        pair = Pair(
            initiator_config(ppk=OPTIONAL, **ends[0]), responder_config(ppk=theirs, **ends[1])
        ).establish()
        pair.assert_one_tunnel()
        assert uses(pair) == [used, used]


def says(monkeypatch: pytest.MonkeyPatch, function: str, payloads: list[Payload]) -> None:
    def instead(*_: object) -> list[Payload]:
        return payloads

    monkeypatch.setattr(ppk, function, instead)


def test_an_initiator_that_forgets_to_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "request_payloads", [])
    assert errors(pair_of(OPTIONAL, OPTIONAL))[1].endswith("it does not say which PPK it uses")


def test_an_identifier_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a peer sends does not reach a terminal as it is."""
    says(monkeypatch, "request_payloads", [Notify(NotifyType.PPK_IDENTITY, data=b"\x01\x1b[2J\xff")])
    assert r"it uses the PPK '\x1b[2J\\xff', ours is 'branch-1'" in errors(pair_of(OPTIONAL, OPTIONAL))[1]


def test_a_responder_that_does_not_use_it_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is mandatory: the answer is refused although everything else in it would be right."""
    says(monkeypatch, "response_payloads", [])
    ours, theirs = errors(pair_of(MANDATORY, OPTIONAL))
    assert ours.endswith("it does not use our PPK 'branch-1', which is mandatory")
    assert theirs == "peer said AUTHENTICATION_FAILED in INFORMATIONAL"


def keys_of(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> tuple[Any, Any]:
    """The keys of the first IKE SA before and after."""
    seen: list[Any] = []
    mix: Callable[[IkeSa, Ppk], None] = ppk._mix

    def spy(sa: IkeSa, key: Ppk) -> None:
        assert sa.protection is not None
        before = sa.protection.keys
        mix(sa, key)
        seen.append((before, sa.protection.keys))

    monkeypatch.setattr(ppk, "_mix", spy)
    pair.establish()
    responder, initiator = seen
    assert responder == initiator
    return initiator  # type: ignore[no-any-return]  # two sets of keys


def test_which_keys_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8784 3: SK_d, SK_pi and SK_pr by prf(PPK, SK' | 0x01); those of the messages stay."""
    pair = pair_of(OPTIONAL, OPTIONAL)
    before, after = keys_of(monkeypatch, pair)
    (sa,) = (sa for sa in pair.a.endpoint.ike_sas.values() if sa.is_up)
    assert sa.protection is not None
    prf = sa.protection.prf
    for name in ("d", "pi", "pr"):
        expected = prf(KEY.reveal(), getattr(before, name).reveal() + b"\x01")
        assert getattr(after, name) == Secret(expected)
    for name in ("ai", "ar", "ei", "er"):
        assert getattr(after, name) == getattr(before, name)
    assert keys_with_ppk(prf, before, KEY) == after


def test_what_is_shown_of_it() -> None:
    assert "thirty-two" not in repr(MANDATORY)
    assert OPTIONAL.identifier == b"\x02branch-1"
