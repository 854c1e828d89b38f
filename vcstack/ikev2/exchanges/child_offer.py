"""The payloads that make a child SA, in IKE_AUTH and CREATE_CHILD_SA alike (RFC 7296 sections 1.2, 1.3, 2.9).

```
 initiator:  SA(ESP, SPIi), [Ni, [KEi,]] TSi, TSr   -->
 responder:                 <--   SA(ESP, SPIr), [Nr, [KEr,]] TSi, TSr
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vcstack.crypto import dh
from vcstack.crypto.errors import CryptoError
from vcstack.ikev2.child_sa import Child, ChildSa
from vcstack.ikev2.collision import Nonces
from vcstack.ikev2.errors import InvalidKePayload, InvalidSyntax, TsUnacceptable
from vcstack.ikev2.iana import DhGroup, ExchangeType
from vcstack.ikev2.proposal import EspProposal, EspSuite, offer
from vcstack.ikev2.selection import accept_esp, select_esp
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.sa import Sa
from vcstack.ikev2.wire.ts import TsI, TsR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vcstack.ikev2.ike_sa import IkeSa
    from vcstack.ikev2.protection import Protection
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.message import Message
    from vcstack.wire.secret import Secret
    from vcstack.wire.selector import TrafficSelector

NONCE_LENGTH = 32
"""At least half the key size of every PRF offered (RFC 7296 section 2.10)."""


@dataclass(slots=True)
class ChildOffer:
    """What this end proposed, until the answer comes. `private` is None without perfect forward secrecy."""

    spi_in: int
    proposals: tuple[EspProposal, ...]
    nonce: bytes
    private: dh.PrivateKey | None

    def selectors(self, sa: IkeSa) -> list[Payload]:
        """SA, TSi and TSr, as they stand in IKE_AUTH."""
        config = sa.host.config
        return [
            offer(self.proposals, self.spi_in.to_bytes(4, "big")),
            TsI(config.local_ts),
            TsR(config.remote_ts),
        ]

    def payloads(self, sa: IkeSa) -> list[Payload]:
        """The same with nonce and public value, as they stand in CREATE_CHILD_SA."""
        proposal, *selectors = self.selectors(sa)
        ke = [] if self.private is None else [Ke(DhGroup(self.private.group), self.private.public)]
        return [proposal, Nonce(self.nonce), *ke, *selectors]


def offer_first_child(sa: IkeSa) -> ChildOffer:
    """The child that IKE_AUTH makes: without a Diffie-Hellman exchange of its own (RFC 7296 section 1.2)."""
    proposals = tuple(dict.fromkeys(proposal.without_groups() for proposal in sa.host.config.esp_proposals))
    return ChildOffer(sa.host.new_child_spi(), proposals, sa.init.initiator_nonce, None)


def offer_child(sa: IkeSa, group: DhGroup | None) -> ChildOffer:
    """A child for CREATE_CHILD_SA, with a public value of that group."""
    private = None if group is None else dh.generate(group, sa.host.entropy)
    nonce = sa.host.entropy(NONCE_LENGTH)
    return ChildOffer(sa.host.new_child_spi(), sa.host.config.esp_proposals, nonce, private)


def preferred_group(proposals: Sequence[EspProposal]) -> DhGroup | None:
    """The group that this end asks for first, None when it wants no perfect forward secrecy."""
    first = proposals[0].groups[:1]
    return first[0] if first and first[0] != DhGroup.NONE else None


def accept_answer(sa: IkeSa, offered: ChildOffer, message: Message, now: float) -> tuple[Child, Nonces]:
    """The child that the peer's answer makes; RemoteProtocolError when it is not what was offered."""
    with_groups = message.header.exchange != ExchangeType.IKE_AUTH
    chosen = accept_esp(message.require(Sa), offered.proposals, with_groups=with_groups)
    suite, spi_out = chosen.suite, int.from_bytes(chosen.spi, "big")
    theirs = message.get(Nonce)
    nonces = Nonces(offered.nonce, theirs.data if theirs is not None else sa.init.responder_nonce)
    shared = _shared_secret(offered.private, message.get(Ke), suite)
    config = sa.host.config
    local_ts = _within(message.require(TsI).selectors, config.local_ts, "TSi")
    remote_ts = _within(message.require(TsR).selectors, config.remote_ts, "TSr")
    keys = _protection(sa).child_keys(suite, shared, nonces)
    value = _child_sa(sa, suite, offered.spi_in, spi_out, keys, local_ts, remote_ts)
    return _record(sa, value, now, is_initiator=True), nonces


def answer_offer(
    sa: IkeSa, message: Message, now: float, *, first: bool
) -> tuple[Child, Nonces, list[Payload]]:
    """The child that the peer asks for, and what to answer; RemoteProtocolError says why it is refused."""
    config, ke = sa.host.config, message.get(Ke)
    chosen = select_esp(message.require(Sa), config.esp_proposals, with_groups=not first)
    remote_ts = _narrow(message.require(TsI).selectors, config.remote_ts, "TSi")
    local_ts = _narrow(message.require(TsR).selectors, config.local_ts, "TSr")
    private, shared = _answer_ke(sa, ke, chosen.suite)
    nonces, nonce_payload = _answer_nonce(sa, message, first=first)
    spi_in = sa.host.new_child_spi()
    key_in, key_out = _protection(sa).child_keys(chosen.suite, shared, nonces)
    spi_out = int.from_bytes(chosen.spi, "big")
    value = _child_sa(sa, chosen.suite, spi_in, spi_out, (key_out, key_in), local_ts, remote_ts)
    child = _record(sa, value, now, is_initiator=False)
    ke_payload: list[Payload] = [] if private is None else [Ke(DhGroup(private.group), private.public)]
    answer = chosen.answer(spi_in.to_bytes(4, "big"))
    return child, nonces, [answer, *nonce_payload, *ke_payload, TsI(remote_ts), TsR(local_ts)]


def _answer_nonce(sa: IkeSa, message: Message, *, first: bool) -> tuple[Nonces, list[Payload]]:
    if first:
        return Nonces(sa.init.initiator_nonce, sa.init.responder_nonce), []
    nonce = sa.host.entropy(NONCE_LENGTH)
    return Nonces(message.require(Nonce).data, nonce), [Nonce(nonce)]


def _answer_ke(sa: IkeSa, ke: Ke | None, suite: EspSuite) -> tuple[dh.PrivateKey | None, Secret | None]:
    if suite.group is None:
        return None, None
    if ke is None or ke.group != suite.group:
        raise InvalidKePayload(suite.group, ke.group if ke is not None else None)
    private = dh.generate(suite.group, sa.host.entropy)
    return private, shared_secret(private, ke)


def shared_secret(private: dh.PrivateKey, ke: Ke) -> Secret:
    """g^ir; InvalidSyntax when the peer's public value is none of the group."""
    try:
        return private.shared_secret(ke.data)
    except CryptoError as error:
        raise InvalidSyntax(str(error)) from error


def _shared_secret(private: dh.PrivateKey | None, ke: Ke | None, suite: EspSuite) -> Secret | None:
    if suite.group is None:
        return None
    if private is None or ke is None or suite.group != private.group or ke.group != suite.group:
        raise InvalidSyntax(f"DH group {suite.group.value} chosen without a public value of that group")
    return shared_secret(private, ke)


def _narrow(
    proposed: Sequence[TrafficSelector], ours: Sequence[TrafficSelector], what: str
) -> tuple[TrafficSelector, ...]:
    """What both ends want, the peer's first choice first (RFC 7296 section 2.9)."""
    both = [common for theirs in proposed for own in ours if (common := theirs.intersect(own)) is not None]
    if not both:
        raise TsUnacceptable(f"{what} {_text(proposed)} has nothing in common with {_text(ours)}")
    kept: list[TrafficSelector] = []
    for index, selector in enumerate(both):
        others = both[:index] + both[index + 1 :]
        if selector not in kept and not any(other != selector and other.covers(selector) for other in others):
            kept.append(selector)
    return tuple(kept)


def _within(
    answered: Sequence[TrafficSelector], ours: Sequence[TrafficSelector], what: str
) -> tuple[TrafficSelector, ...]:
    """A responder may narrow, never widen."""
    if not answered or not all(any(own.covers(selector) for own in ours) for selector in answered):
        raise TsUnacceptable(f"{what} {_text(answered)} goes beyond {_text(ours)}")
    return tuple(answered)


def _text(selectors: Sequence[TrafficSelector]) -> str:
    return " ".join(str(selector) for selector in selectors) or "nothing"


def _child_sa(
    sa: IkeSa,
    suite: EspSuite,
    spi_in: int,
    spi_out: int,
    keys: tuple[Secret, Secret],
    local_ts: tuple[TrafficSelector, ...],
    remote_ts: tuple[TrafficSelector, ...],
) -> ChildSa:
    key_out, key_in = keys
    return ChildSa(
        spi_in=spi_in,
        spi_out=spi_out,
        encryption="aes-gcm-16",
        key_bits=suite.encryption.key_bits,
        key_in=key_in,
        key_out=key_out,
        esn=suite.esn,
        udp_encapsulation=sa.encapsulates,
        path=sa.path,
        local_ts=local_ts,
        remote_ts=remote_ts,
        pfs_group=None if suite.group is None else suite.group.value,
        lifetime_s=sa.host.config.child_lifetime_s,
    )


def _protection(sa: IkeSa) -> Protection:
    assert sa.protection is not None
    return sa.protection


def _record(sa: IkeSa, value: ChildSa, now: float, *, is_initiator: bool) -> Child:
    config = sa.host.config
    margin = config.rekey_margin + config.rekey_jitter * sa.host.random()
    return Child(
        sa=value,
        owner=sa,
        is_initiator=is_initiator,
        created_at=now,
        rekey_at=now + config.child_lifetime_s * (1 - margin),
        expires_at=now + config.child_lifetime_s,
    )
