"""Postquantum preshared keys: who records the tunnel today cannot read it with a quantum computer (RFC 8784).

```
 initiator has     responder has                    keys of the IKE SA
 the same PPK      the same PPK                     with it
 a PPK             none, or another identifier      without, if both call theirs optional; else none
 none              a PPK                            without, if it is optional; else none
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2 import authentication
from vcstack.ikev2.errors import AuthenticationFailed
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.keymat import keys_with_ppk
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.notify import Notify

if TYPE_CHECKING:
    from vcstack.ikev2.credentials import Ppk
    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.keymat import IkeKeys
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.identity import IdI
    from vcstack.ikev2.wire.message import Message


def agreed(sa: IkeSa) -> Ppk | None:
    """The PPK that both ends said in IKE_SA_INIT to have, None without."""
    return sa.host.config.ppk if sa.peer.agrees_on_ppk else None


def keys_of_request(sa: IkeSa) -> IkeKeys:
    """With what an initiator proves its identity, before it knows whether the responder has the same PPK."""
    assert sa.protection is not None
    ppk = agreed(sa)
    if ppk is None:
        return sa.protection.keys
    return keys_with_ppk(sa.protection.prf, sa.protection.keys, ppk.key)


def request_payloads(sa: IkeSa, own: IdI) -> list[Payload]:
    """N(PPK_IDENTITY), and unless the PPK is mandatory N(NO_PPK_AUTH), a proof without it."""
    assert sa.protection is not None
    ppk = agreed(sa)
    if ppk is None:
        return []
    payloads: list[Payload] = [Notify(NotifyType.PPK_IDENTITY, data=ppk.identifier)]
    if not ppk.is_mandatory:
        proof = authentication.prove(sa, own, sa.protection.keys)
        payloads.append(Notify(NotifyType.NO_PPK_AUTH, data=proof.data))
    return payloads


def take_request(sa: IkeSa, message: Message) -> bytes:
    """Decide as a responder, and return the proof to verify; AuthenticationFailed without an agreement."""
    proof, own, ppk = message.require(Auth).data, sa.host.config.ppk, agreed(sa)
    if ppk is None:
        if own is not None and own.is_mandatory:
            raise AuthenticationFailed("it does not use a PPK, and ours is mandatory")
        return proof
    wanted, fallback = message.notify(NotifyType.PPK_IDENTITY), message.notify(NotifyType.NO_PPK_AUTH)
    if wanted is None:
        raise AuthenticationFailed("it does not say which PPK it uses")
    if wanted.data == ppk.identifier:
        _mix(sa, ppk)
        return proof
    if fallback is None or ppk.is_mandatory:
        raise AuthenticationFailed(f"it uses the PPK {_shown(wanted.data)}, ours is {ppk.id!r}")
    sa.host.count("PPK of another identifier not used")
    return fallback.data


def response_payloads(sa: IkeSa) -> list[Payload]:
    """N(PPK_IDENTITY) without data: the PPK is used."""
    return [Notify(NotifyType.PPK_IDENTITY)] if sa.peer.uses_ppk else []


def take_response(sa: IkeSa, message: Message) -> None:
    """Decide as an initiator; AuthenticationFailed when the responder does not use a mandatory PPK."""
    ppk = agreed(sa)
    if ppk is None:
        return
    if message.notify(NotifyType.PPK_IDENTITY) is not None:
        _mix(sa, ppk)
    elif ppk.is_mandatory:
        raise AuthenticationFailed(f"it does not use our PPK {ppk.id!r}, which is mandatory")
    else:
        sa.host.count("PPK not used by the responder")


def _mix(sa: IkeSa, ppk: Ppk) -> None:
    assert sa.protection is not None
    sa.protection.keys = keys_with_ppk(sa.protection.prf, sa.protection.keys, ppk.key)
    sa.peer.uses_ppk = True


def _shown(identifier: bytes) -> str:
    """The identifier after its type; of what a peer sends only what can be printed."""
    return repr(identifier[1:].decode("ascii", "backslashreplace"))
