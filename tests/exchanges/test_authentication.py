"""IKE_AUTH by signatures: certificates, bare keys, and all that can be wrong with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.authority import KINDS, NOW, Issued, authority, signing_key, trusted_keys
from tests.support.ike_pair import CPE, DATA_CENTRE, Pair, initiator_config, responder_config
from vcstack.ikev2 import authentication
from vcstack.ikev2.credentials import Signer, TrustedAuthorities
from vcstack.ikev2.events import IkeUp
from vcstack.ikev2.iana import AuthMethod, CertEncoding, NotifyType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.wire.certificate import Cert
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Callable

    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.wire.auth import Auth
    from vcstack.ikev2.wire.chain import Payload

ROOT = authority()
BRANCH, CENTRE = ROOT.issue("branch", [str(CPE)]), ROOT.issue("centre", [str(DATA_CENTRE)])


def branch(signer: Signer | None = None, **changes: Any) -> PeerConfig:
    """The initiator with its certificate."""
    signs = {"local_psk": None, "local_signer": signer or BRANCH.signer()}
    return initiator_config(**(signs | {"remote_psk": None, "remote_trust": ROOT.trusted()} | changes))


def centre(signer: Signer | None = None, **changes: Any) -> PeerConfig:
    """The responder with its certificate."""
    signs = {"local_psk": None, "local_signer": signer or CENTRE.signer()}
    return responder_config(**(signs | {"remote_psk": None, "remote_trust": ROOT.trusted()} | changes))


def errors(pair: Pair) -> tuple[str, str]:
    """What both ends say when it does not work. A responder may be up until the initiator has judged."""
    pair.start().run(0.5)
    assert pair.a.saw(IkeUp) == 0
    assert not any(node.data.inbound for node in pair.nodes)
    texts = [node.endpoint.snapshot(pair.now).last_error or "" for node in pair.nodes]
    return texts[0], texts[1]


def seen_by_the_responder(pair: Pair) -> str:
    """Its verdict; the initiator learns no more than that."""
    ours, theirs = errors(pair)
    assert ours == "peer said AUTHENTICATION_FAILED in IKE_AUTH"
    assert theirs.startswith("we refused the peer in IKE_AUTH: ")
    return theirs.removeprefix("we refused the peer in IKE_AUTH: ")


def seen_by_the_initiator(pair: Pair) -> str:
    """Its verdict, which it reports in an exchange of its own."""
    ours, theirs = errors(pair)
    assert theirs == "peer said AUTHENTICATION_FAILED in INFORMATIONAL"
    return ours.removeprefix("we refused the peer in IKE_AUTH: ")


def methods(pair: Pair) -> list[tuple[str, str | None]]:
    """How each end says that both have authenticated."""
    return [
        (sa.auth_local, sa.auth_remote)
        for node in pair.nodes
        for sa in node.endpoint.snapshot(pair.now).ike_sas
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_of_each_kind(kind: str) -> None:
    """A root of one kind, both ends of the next; rekeys of both SAs go on as ever."""
    root = authority(f"root of {kind}", kind=kind)
    ours, theirs = (
        root.issue(name, [str(address)], kind=kind) for name, address in (("a", CPE), ("b", DATA_CENTRE))
    )
    trust = root.trusted()
    pair = Pair(
        branch(ours.signer(), remote_trust=trust), centre(theirs.signer(), remote_trust=trust)
    ).establish()
    pair.assert_one_tunnel()
    ((local, remote), other) = methods(pair)
    assert other == (local, remote)
    assert remote is not None
    assert remote.startswith(local)
    pair.rekey_ike(pair.a)
    pair.run(1.0)
    pair.rekey_child(pair.b)
    pair.run(1.0)
    pair.assert_one_tunnel()
    assert methods(pair) == [(local, remote), (local, remote)]


@pytest.mark.parametrize("kind", KINDS)
def test_bare_public_keys_of_each_kind(kind: str) -> None:
    """RFC 7670: no authority, each end has the other's key."""
    signs = [Signer(signing_key(kind, owner)) for owner in ("a", "b")]
    trusts = [trusted_keys("p256", kind, owner=owner) for owner in ("b", "a")]
    pair = Pair(
        branch(signs[0], remote_trust=trusts[0]), centre(signs[1], remote_trust=trusts[1])
    ).establish()
    pair.assert_one_tunnel()
    assert all(remote is not None and remote.startswith("public key, ") for _, remote in methods(pair))


def test_each_end_in_its_own_way() -> None:
    """RFC 7296 2.15: nothing demands that both ends use the same method."""
    secret = initiator_config().local_psk
    pair = Pair(
        initiator_config(remote_psk=None, remote_trust=ROOT.trusted()),
        responder_config(local_psk=None, local_signer=CENTRE.signer(), remote_psk=secret),
    ).establish()
    pair.assert_one_tunnel()
    assert methods(pair) == [
        ("pre-shared key", "certificate, ECDSA with SHA-256"),
        ("certificate, ECDSA", "pre-shared key"),
    ]
    Pair(
        initiator_config(local_psk=None, local_signer=BRANCH.signer(), remote_psk=secret),
        responder_config(remote_psk=None, remote_trust=ROOT.trusted(), local_psk=secret),
    ).establish().assert_one_tunnel()


def test_intermediates_are_sent_along() -> None:
    upper = ROOT.issue("upper", is_authority=True)
    lower = upper.issue("lower", is_authority=True)
    signer = lower.issue("branch", [str(CPE)], kind="rsa").signer(lower, upper)
    Pair(branch(signer), centre()).establish().assert_one_tunnel()


def test_rsa_with_the_padding_of_old() -> None:
    signer = ROOT.issue("branch", [str(CPE)], kind="rsa").signer(prefers_pss=False)
    pair = Pair(branch(signer), centre()).establish()
    assert methods(pair)[1][1] == "certificate, RSA PKCS#1 v1.5 with SHA-256"


@pytest.mark.parametrize(
    "identity",
    ["fqdn:BRANCH.example", "email:noc@example", "dn:CN=Branch,O=example", "key_id:0x{key_id}"],
)
def test_identities_of_other_kinds(identity: str) -> None:
    """RFC 4945 3.1: what the certificate says of its owner; capitals of names do not count."""
    issued = ROOT.issue("branch", ["branch.example", "NOC@example"])
    key_id = (issued.certificate.names.key_id or b"").hex()
    local = Identity.parse(identity.format(key_id=key_id))
    pair = Pair(branch(issued.signer(), local_id=local), centre(remote_id=local)).establish()
    assert pair.b.endpoint.snapshot(pair.now).ike_sas[0].remote_id == str(local)
    Pair(branch(issued.signer(), local_id=local), centre(remote_id=None)).establish().assert_one_tunnel()


@pytest.mark.parametrize(
    "identity",
    ["198.51.100.2", "fqdn:branch", "email:other@example", "dn:CN=branch", "key_id:branch", "fqdn:*.example"],
)
def test_a_certificate_of_somebody_else(identity: str) -> None:
    """Any identity will do, but it has to be that of the certificate."""
    issued = ROOT.issue("branch", ["branch.example", "noc@example", str(CPE)])
    local = Identity.parse(identity)
    verdict = seen_by_the_responder(Pair(branch(issued.signer(), local_id=local), centre(remote_id=None)))
    assert verdict == f"{local}: its certificate (CN=branch,O=Example) is not for {local}"


def test_an_identity_that_is_not_expected() -> None:
    """A valid certificate for another branch does not make it this one."""
    other = Identity.parse("fqdn:branch-2.example")
    issued = ROOT.issue("branch-2", ["branch-2.example"])
    verdict = seen_by_the_responder(Pair(branch(issued.signer(), local_id=other), centre()))
    assert verdict == "it says it is fqdn:branch-2.example, remote_id is 198.51.100.1"


@pytest.mark.parametrize("by_initiator", [True, False])
def test_an_authority_that_we_do_not_trust(*, by_initiator: bool) -> None:
    stranger = authority("Other CA")
    if by_initiator:
        pair = Pair(branch(), centre(stranger.issue("centre", [str(DATA_CENTRE)]).signer()))
        verdict = seen_by_the_initiator(pair)
    else:
        verdict = seen_by_the_responder(Pair(branch(stranger.issue("x", [str(CPE)]).signer()), centre()))
    assert "no authority of ours has issued its certificate" in verdict
    assert verdict.endswith("its issuer is CN=Other CA,O=Example")


@pytest.mark.parametrize(
    ("days", "reason"),
    [(101, "expired 2026-09-09 00:00 UTC"), (-11, "is not valid before 2026-05-22 00:00 UTC")],
)
def test_the_wall_clock_counts(days: int, reason: str) -> None:
    trust = ROOT.trusted(NOW + timedelta(days=days))
    assert seen_by_the_responder(Pair(branch(), centre(remote_trust=trust))) == (
        f"198.51.100.1: its certificate {reason}"
    )
    assert reason in seen_by_the_initiator(Pair(branch(remote_trust=trust), centre()))


def test_a_key_that_is_not_the_certificates() -> None:
    with pytest.raises(ValueError, match="the private key is not that of the certificate"):
        Issued(authority("x").key, BRANCH.parsed).signer()
    forged = object.__new__(Signer)
    object.__setattr__(forged, "key", signing_key("p256", "thief"))
    object.__setattr__(forged, "chain", (BRANCH.certificate,))
    verdict = seen_by_the_responder(Pair(branch(forged), centre()))
    assert verdict == "198.51.100.1: the signature (ECDSA with SHA-256) is wrong"


def test_a_bare_key_that_is_not_configured() -> None:
    signer, trust = Signer(signing_key("p256", "a")), trusted_keys("p256", "rsa", owner="b")
    verdict = seen_by_the_responder(Pair(branch(signer), centre(remote_trust=trust)))
    assert verdict == "198.51.100.1: its public key is not one that is configured"


def test_a_certificate_where_a_bare_key_is_expected() -> None:
    """The key counts, in whatever it comes; one that is not configured proves nothing."""
    verdict = seen_by_the_responder(Pair(branch(), centre(remote_trust=trusted_keys("p256", owner="b"))))
    assert verdict == "198.51.100.1: the signature (ECDSA with SHA-256) is wrong"
    pinned = trusted_keys("p256", owner="branch")
    Pair(branch(), centre(remote_trust=pinned)).establish().assert_one_tunnel()


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (initiator_config, centre, "it authenticates by SHARED_KEY_MIC, a digital signature with"),
        (branch, responder_config, "it knows no digital signatures (RFC 7427), and we have to sign"),
    ],
)
def test_one_end_signs_and_the_other_expects_a_secret(
    ours: Callable[[], PeerConfig], theirs: Callable[[], PeerConfig], verdict: str
) -> None:
    """A responder without signatures does not announce hashes: the initiator knows it cannot work."""
    assert any(verdict in error for error in errors(Pair(ours(), theirs())))


def test_a_responder_that_cannot_sign_for_this_peer() -> None:
    """The initiator verifies no signatures: the responder has nothing that it would take."""
    theirs = centre(remote_psk=initiator_config().local_psk, remote_trust=None)
    verdict = seen_by_the_responder(Pair(initiator_config(), theirs))
    assert verdict == "it knows no digital signatures (RFC 7427), and we have to sign"


@pytest.mark.parametrize("liar", ["a", "b"])
def test_hashes_that_we_do_not_have(monkeypatch: pytest.MonkeyPatch, liar: str) -> None:
    """A peer that takes SHA-1, and a hash that nobody knows."""
    genuine = authentication.init_payloads
    hashes = Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, data=bytes.fromhex("0001 00ff 07"))

    def lie(sa: IkeSa) -> list[Payload]:
        lies = sa.is_initiator is (liar == "a")
        return [hashes if lies and isinstance(each, Notify) else each for each in genuine(sa)]

    monkeypatch.setattr(authentication, "init_payloads", lie)
    texts = errors(Pair(branch(), centre()))
    verdict = "the peer accepts no signature with SHA2_256, SHA2_384, SHA2_512, which our ECDSA key needs"
    assert texts[1 if liar == "a" else 0].endswith(verdict)


def x509(data: bytes) -> Cert:
    return Cert(CertEncoding.X509_SIGNATURE, data)


def initiator_says(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Payload]], list[Payload]]) -> None:
    """Change the certificates that an initiator sends."""
    genuine = authentication.certificates

    def changed(sa: IkeSa) -> list[Payload]:
        payloads = genuine(sa)
        return change(payloads) if sa.is_initiator else payloads

    monkeypatch.setattr(authentication, "certificates", changed)


@pytest.mark.parametrize(
    ("certificates", "reason"),
    [
        ([], "it sent no certificate"),
        ([Cert(CertEncoding.CRL, b"x")], "it sent no certificate"),
        ([x509(b"\x30\x00")], "not an X.509 certificate"),
        ([x509(BRANCH.certificate.data)] * 9, "it sent 9 certificates, at most 8 are expected"),
        ([x509(CENTRE.certificate.data)], "the signature (ECDSA with SHA-256) is wrong"),
    ],
)
def test_what_is_no_chain(monkeypatch: pytest.MonkeyPatch, certificates: list[Payload], reason: str) -> None:
    initiator_says(monkeypatch, lambda _: certificates)
    assert seen_by_the_responder(Pair(branch(), centre())) == f"198.51.100.1: {reason}"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (Cert(CertEncoding.RAW_PUBLIC_KEY, b"x"), "198.51.100.1: not a public key (SubjectPublicKeyInfo)"),
        (None, None),
    ],
)
def test_bare_keys_that_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, certificate: Cert | None, reason: str | None
) -> None:
    """strongSwan sends none: the configured ones are tried."""
    initiator_says(monkeypatch, lambda _: [] if certificate is None else [certificate])
    ends = (
        branch(Signer(signing_key("p256", "a"))),
        centre(remote_trust=trusted_keys("rsa", "p384", "p256", owner="a")),
    )
    if reason is None:
        Pair(*ends).establish().assert_one_tunnel()
    else:
        assert seen_by_the_responder(Pair(*ends)) == reason


@pytest.mark.parametrize("method", [AuthMethod.RSA_SIGNATURE, AuthMethod.ECDSA_256, AuthMethod.NULL])
def test_other_methods(monkeypatch: pytest.MonkeyPatch, method: AuthMethod) -> None:
    genuine = authentication.prove

    def prove(sa: IkeSa, *rest: Any) -> Auth:
        auth = genuine(sa, *rest)
        return replace(auth, method=method) if sa.is_initiator else auth

    monkeypatch.setattr(authentication, "prove", prove)
    verdict = seen_by_the_responder(Pair(branch(), centre()))
    assert verdict == f"it authenticates by {method}, a digital signature with a certificate is expected"


def test_the_request_names_our_authorities() -> None:
    """RFC 7296 3.7: SHA-1 of the authority's public key, in CERTREQ of both ends."""
    assert ROOT.trusted().request.key_hashes == (ROOT.certificate.key_hash,)
    assert trusted_keys("p256").request.encoding == CertEncoding.RAW_PUBLIC_KEY


@pytest.mark.parametrize("changes", [{"local_psk": None}, {"remote_psk": None}])
def test_an_end_has_one_way_to_authenticate(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is expected"):
        initiator_config(**changes)
    with pytest.raises(ValueError, match="either local_psk or local_signer"):
        initiator_config(local_signer=BRANCH.signer())
    with pytest.raises(ValueError, match="either remote_psk or remote_trust"):
        initiator_config(remote_trust=TrustedAuthorities((), lambda: 0.0))
