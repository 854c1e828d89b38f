"""How the ends prove their identities in IKE_AUTH (RFC 7296 section 2.15, RFC 7427, RFC 7670, RFC 8784).

```
 IKE_SA_INIT   HDR, SA, KE, Nonce, [N(SIGNATURE_HASH_ALGORITHMS),] [N(USE_PPK)]  -->
               <--  HDR, SA, KE, Nonce, [CERTREQ,] [N(SIGNATURE_HASH_ALGORITHMS),] [N(USE_PPK)]
 IKE_AUTH      HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, ..., [N(PPK_IDENTITY), [N(NO_PPK_AUTH)]]}  -->
               <--  HDR, SK {IDr, [CERT,] AUTH, ..., [N(PPK_IDENTITY)]}
```
Each end chooses for itself: one may prove a pre-shared key, the other sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vcstack.crypto.certificate import MAX_CHAIN, Certificate
from vcstack.crypto.errors import CryptoError
from vcstack.crypto.signature import HashAlgorithm, VerifyingKey
from vcstack.ikev2.credentials import TrustedAuthorities
from vcstack.ikev2.errors import AuthenticationFailed
from vcstack.ikev2.iana import AuthMethod, CertEncoding, NotifyType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.keymat import psk_auth, signed_octets, verify_psk_auth
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.certificate import Cert
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.credentials import Signer, Trust, TrustedKeys
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.keymat import IkeKeys
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.identity import IdI, IdR
    from vcstack.ikev2.wire.message import Message

_PSK: Final = "pre-shared key"
_HASH_ALGORITHMS: Final = b"".join(kind.to_bytes(2) for kind in HashAlgorithm)


# -- IKE_SA_INIT -----------------------------------------------------------------------------


def init_payloads(sa: IkeSa) -> list[Payload]:
    """What this end says of authentication in IKE_SA_INIT; a responder has noted the request before."""
    config = sa.host.config
    payloads: list[Payload] = []
    if config.remote_trust is not None and not sa.is_initiator:
        payloads.append(config.remote_trust.request)
    if config.local_signer is not None or config.remote_trust is not None:
        payloads.append(Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, data=_HASH_ALGORITHMS))
    if config.ppk is not None and (sa.is_initiator or sa.peer.agrees_on_ppk):
        payloads.append(Notify(NotifyType.USE_PPK))
    return payloads


def note_init(sa: IkeSa, message: Message) -> None:
    """Remember what the peer said of authentication in IKE_SA_INIT."""
    sa.peer.hash_algorithms = _hash_algorithms(message)
    sa.peer.agrees_on_ppk = sa.host.config.ppk is not None and _knows_ppk(message)


def check_init(config: PeerConfig, message: Message) -> None:
    """AuthenticationFailed when, by its answer to IKE_SA_INIT, the peer cannot authenticate as it must."""
    if config.ppk is not None and config.ppk.is_mandatory and not _knows_ppk(message):
        raise AuthenticationFailed("it does not use a PPK, and ours is mandatory")
    if config.local_signer is not None:
        _check_signable(config.local_signer, _hash_algorithms(message))


def _hash_algorithms(message: Message) -> tuple[int, ...]:
    notify = message.notify(NotifyType.SIGNATURE_HASH_ALGORITHMS)
    data = b"" if notify is None else notify.data
    return tuple(int.from_bytes(data[at : at + 2]) for at in range(0, len(data) - 1, 2))


def _knows_ppk(message: Message) -> bool:
    return message.notify(NotifyType.USE_PPK) is not None


def _check_signable(signer: Signer, accepted: tuple[int, ...]) -> None:
    if not accepted:
        raise AuthenticationFailed("it knows no digital signatures (RFC 7427), and we have to sign")
    try:
        signer.key.choose(accepted)
    except CryptoError as error:
        raise AuthenticationFailed(str(error)) from None


# -- IKE_AUTH, this end ----------------------------------------------------------------------


def certificates(sa: IkeSa) -> list[Payload]:
    """CERT of this end, and CERTREQ if it initiates and the peer has to sign."""
    config = sa.host.config
    own = () if config.local_signer is None else config.local_signer.payloads
    wanted = config.remote_trust if sa.is_initiator else None
    return [*own, *([] if wanted is None else [wanted.request])]


def prove(sa: IkeSa, own: IdI | IdR, keys: IkeKeys) -> Auth:
    """AUTH of this end over its own IKE_SA_INIT message.

    AuthenticationFailed when the peer takes no signature of ours. `keys` may be others than those of the IKE
    SA: while a PPK is not yet agreed on, there are two sets.
    """
    assert sa.protection is not None
    signed = _signed_octets(sa, own, keys, by_initiator=sa.is_initiator)
    signer, psk = sa.host.config.local_signer, sa.host.config.local_psk
    if signer is None:
        assert psk is not None
        return Auth(AuthMethod.SHARED_KEY_MIC, psk_auth(sa.protection.prf, psk, signed))
    _check_signable(signer, sa.peer.hash_algorithms)
    return Auth(AuthMethod.DIGITAL_SIGNATURE, signer.key.sign(signed, sa.peer.hash_algorithms))


def describe_local(config: PeerConfig) -> str:
    """How this end proves its identity, in words."""
    return _PSK if config.local_signer is None else str(config.local_signer)


# -- IKE_AUTH, the peer ----------------------------------------------------------------------


def verify(sa: IkeSa, message: Message, theirs: IdI | IdR, proof: bytes) -> None:
    """AuthenticationFailed unless the identity is the configured one and `proof` is its owner's.

    `proof` is the data of AUTH, or that of NO_PPK_AUTH; the method is in any case that of AUTH.
    """
    assert sa.protection is not None
    config, identity, method = sa.host.config, Identity.of(theirs), message.require(Auth).method
    if config.remote_id is not None and not config.remote_id.matches(identity):
        raise AuthenticationFailed(f"it says it is {identity}, remote_id is {config.remote_id}")
    signed = _signed_octets(sa, theirs, sa.protection.keys, by_initiator=not sa.is_initiator)
    if config.remote_trust is not None:
        _expect(method, AuthMethod.DIGITAL_SIGNATURE, f"a digital signature with {config.remote_trust.name}")
        sa.peer.authentication = _verify_signature(config.remote_trust, message, identity, proof, signed)
    else:
        _expect(method, AuthMethod.SHARED_KEY_MIC, "a pre-shared key")
        assert config.remote_psk is not None
        if not verify_psk_auth(proof, sa.protection.prf, config.remote_psk, signed):
            doubt = ", or not our PPK" if sa.peer.uses_ppk else ""
            raise AuthenticationFailed(f"{identity} does not know our pre-shared key{doubt}")
        sa.peer.authentication = _PSK
    sa.peer.identity = identity


def _expect(method: AuthMethod, expected: AuthMethod, what: str) -> None:
    if method != expected:
        raise AuthenticationFailed(f"it authenticates by {method}, {what} is expected")


def _verify_signature(trust: Trust, message: Message, identity: Identity, proof: bytes, signed: bytes) -> str:
    try:
        if not isinstance(trust, TrustedAuthorities):
            return f"public key, {_verify_bare(trust, message, proof, signed)}"
        chain = _chain(message)
        algorithm = chain[0].key.verify(proof, signed)
        trust.check(chain, identity)
    except CryptoError as error:
        raise AuthenticationFailed(f"{identity}: {error}") from None
    return f"certificate, {algorithm}"


def _chain(message: Message) -> list[Certificate]:
    """The peer's certificates; those of other encodings do not count."""
    found = [cert.data for cert in message.all(Cert) if cert.encoding == CertEncoding.X509_SIGNATURE]
    if not found:
        raise CryptoError("it sent no certificate")
    if len(found) > MAX_CHAIN:
        raise CryptoError(f"it sent {len(found)} certificates, at most {MAX_CHAIN} are expected")
    return [Certificate.parse(data) for data in found]


def _verify_bare(trust: TrustedKeys, message: Message, proof: bytes, signed: bytes) -> str:
    """Verify with the key that the peer shows; one that shows none has to own any of the configured ones."""
    shown = next((cert for cert in message.all(Cert) if cert.encoding == CertEncoding.RAW_PUBLIC_KEY), None)
    candidates = trust.keys if shown is None else (VerifyingKey.load(shown.data),)
    if shown is not None and candidates[0] not in trust.keys:
        raise CryptoError("its public key is not one that is configured")
    failure = CryptoError("no public key is configured")
    for key in candidates:
        try:
            return str(key.verify(proof, signed))
        except CryptoError as error:
            failure = error
    raise failure


def _signed_octets(sa: IkeSa, identity: IdI | IdR, keys: IkeKeys, *, by_initiator: bool) -> bytes:
    assert sa.protection is not None
    init, prf, body = sa.init, sa.protection.prf, identity.build()
    if by_initiator:
        return signed_octets(prf, keys.pi, init.request, init.responder_nonce, body)
    return signed_octets(prf, keys.pr, init.response, init.initiator_nonce, body)
