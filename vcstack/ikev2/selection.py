"""Choosing a proposal as responder, and checking the choice as initiator (RFC 7296 2.7, 3.3.3, 3.3.6).

Our order of preference decides, first among proposals, then among the algorithms of each type. A transform
type that one side leaves out matches a 0 (NONE, No ESN) of the other: beside AES-GCM, NONE is taken
whether it is spelt out or not, and never sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from vcstack.ikev2.algorithms import Encryption, transform_name, type_label
from vcstack.ikev2.constants import IKE_SPI_LENGTH, NO_SPI
from vcstack.ikev2.errors import Difference, InvalidSyntax, Mismatch, NoProposalChosen
from vcstack.ikev2.iana import DhGroup, EncryptionId, EsnId, IntegrityId, PrfId, ProtocolId, TransformType
from vcstack.ikev2.proposal import EspProposal, EspSuite, IkeProposal, IkeSuite
from vcstack.ikev2.wire.sa import Proposal, Sa, Transform

S = TypeVar("S", IkeSuite, EspSuite)

_Configured = IkeProposal | EspProposal
_Choice = Mapping[TransformType, Transform]
_ByType = Mapping[TransformType, tuple[Transform, ...]]

_OMISSIBLE: Final = (TransformType.INTEGRITY, TransformType.DH_GROUP, TransformType.ESN)
_RESERVED_ESP_SPIS: Final = 256
"""RFC 4303 2.1."""
_MAX_NAMES: Final = 16
"""Of a peer's algorithms in a message; nobody offers more of one type in earnest."""


@dataclass(frozen=True, slots=True)
class Chosen(Generic[S]):
    """The outcome: the suite, and the peer's proposal with its number and SPI, reduced to what was chosen."""

    suite: S
    proposal: Proposal

    @property
    def spi(self) -> bytes:
        """The peer's SPI, empty in IKE_SA_INIT."""
        return self.proposal.spi

    def answer(self, spi: bytes = b"") -> Sa:
        """The SA payload of a responder: the chosen proposal under its number, with our SPI."""
        return Sa((replace(self.proposal, spi=spi),))


def select_ike(received: Sa, configured: Sequence[IkeProposal], *, rekey: bool = False) -> Chosen[IkeSuite]:
    """Choose as responder for an IKE SA: NoProposalChosen says what differs, InvalidSyntax for a bad SPI."""
    _check_ike_spis(received, rekey=rekey)
    choice, proposal = _select(received, configured, ProtocolId.IKE)
    return Chosen(_ike_suite(choice), proposal)


def select_esp(received: Sa, configured: Sequence[EspProposal], *, with_groups: bool) -> Chosen[EspSuite]:
    """Choose as responder for a Child SA: NoProposalChosen says what differs, InvalidSyntax for a bad SPI.

    `with_groups` is False in IKE_AUTH, where DH groups do not count on either side.
    """
    _check_esp_spis(received)
    if not with_groups:
        received, configured = _without_groups(received), [item.without_groups() for item in configured]
    choice, proposal = _select(received, configured, ProtocolId.ESP)
    return Chosen(_esp_suite(choice), proposal)


def accept_ike(received: Sa, offered: Sequence[IkeProposal], *, rekey: bool = False) -> Chosen[IkeSuite]:
    """Check the responder's choice for an IKE SA: NoProposalChosen when it is not one that we offered."""
    _check_ike_spis(received, rekey=rekey)
    choice, proposal = _accept(received, offered, ProtocolId.IKE)
    return Chosen(_ike_suite(choice), proposal)


def accept_esp(received: Sa, offered: Sequence[EspProposal], *, with_groups: bool) -> Chosen[EspSuite]:
    """Check the responder's choice for a Child SA: NoProposalChosen when it is not one that we offered.

    `with_groups` is False in IKE_AUTH, where DH groups do not count on either side.
    """
    _check_esp_spis(received)
    if not with_groups:
        received, offered = _without_groups(received), [item.without_groups() for item in offered]
    choice, proposal = _accept(received, offered, ProtocolId.ESP)
    return Chosen(_esp_suite(choice), proposal)


def _select(
    received: Sa, configured: Sequence[_Configured], protocol: ProtocolId
) -> tuple[_Choice, Proposal]:
    candidates = [proposal for proposal in received.proposals if proposal.protocol == protocol]
    if not candidates:
        names = ", ".join(str(proposal.protocol) for proposal in received.proposals)
        raise NoProposalChosen(f"we accept {protocol}, the peer offered {names}")
    for ours in configured:
        for theirs in candidates:
            choice, failing = _compare(_by_type(ours.transforms()), _by_type(theirs.transforms))
            if not failing:
                return choice, _reduced(theirs, choice)
    raise _no_match(configured, candidates, as_initiator=False)


def _accept(received: Sa, offered: Sequence[_Configured], protocol: ProtocolId) -> tuple[_Choice, Proposal]:
    answer = received.proposals[0]
    if len(received.proposals) != 1 or answer.protocol != protocol:
        raise InvalidSyntax(f"a responder chooses one proposal for {protocol}")
    if not 1 <= answer.number <= len(offered):
        raise NoProposalChosen(f"we offered proposals 1 to {len(offered)}, the peer chose {answer.number}")
    ours, theirs = offered[answer.number - 1], _by_type(answer.transforms)
    for kind, transforms in theirs.items():
        if len(transforms) > 1:
            raise InvalidSyntax(f"{type_label(kind)}: the peer chose {len(transforms)} at once")
    choice, failing = _compare(_by_type(ours.transforms()), theirs)
    if failing:
        raise _no_match([ours], [answer], as_initiator=True)
    return choice, _reduced(answer, choice)


def _compare(ours: _ByType, theirs: _ByType) -> tuple[_Choice, tuple[TransformType, ...]]:
    """Our most preferred common transform per type, and the types that have none."""
    choice: dict[TransformType, Transform] = {}
    failing: list[TransformType] = []
    for kind in sorted(ours.keys() | theirs.keys()):
        mine, offered = ours.get(kind, ()), theirs.get(kind, ())
        common = next((transform for transform in mine if transform in offered), None)
        if common is not None:
            choice[kind] = common
        elif not _may_be_left_out(kind, mine, offered):
            failing.append(kind)
    return choice, tuple(failing)


def _may_be_left_out(kind: TransformType, mine: Sequence[Transform], offered: Sequence[Transform]) -> bool:
    none = Transform(kind, 0)
    return kind in _OMISSIBLE and ((not mine and none in offered) or (not offered and none in mine))


def _no_match(
    configured: Sequence[_Configured], candidates: Sequence[Proposal], *, as_initiator: bool
) -> NoProposalChosen:
    pairs = [
        (_by_type(ours.transforms()), _by_type(theirs.transforms))
        for ours in configured
        for theirs in candidates
    ]
    ours, theirs = min(pairs, key=lambda pair: len(_compare(*pair)[1]))
    _, failing = _compare(ours, theirs)
    # What the other proposals of each end have counts too, unless it is what only another cipher goes with.
    all_ours, all_theirs = _union(pair[0] for pair in pairs), _union(pair[1] for pair in pairs)
    differences: list[Difference] = []
    for kind in failing:
        mine, offered = all_ours.get(kind, ()), all_theirs.get(kind, ())
        if set(mine) & set(offered):
            mine, offered = ours.get(kind, ()), theirs.get(kind, ())
        differences.append(Difference(type_label(kind), _names(mine), _names(offered)))
    mismatch = Mismatch(tuple(differences), as_initiator)
    return NoProposalChosen(str(mismatch), mismatch=mismatch)


def _union(groups: Iterable[_ByType]) -> _ByType:
    return _by_type(transform for by_type in groups for found in by_type.values() for transform in found)


def _by_type(transforms: Iterable[Transform]) -> _ByType:
    found: dict[TransformType, dict[Transform, None]] = {}
    for transform in transforms:
        found.setdefault(transform.type, {})[transform] = None
    return {kind: tuple(items) for kind, items in found.items()}


def _names(transforms: Sequence[Transform]) -> tuple[str, ...]:
    named = tuple(transform_name(transform) for transform in transforms[:_MAX_NAMES])
    rest = len(transforms) - len(named)
    return (*named, f"{rest} more") if rest else named


def _reduced(proposal: Proposal, choice: _Choice) -> Proposal:
    return replace(proposal, transforms=tuple(choice.values()))


def _without_groups(received: Sa) -> Sa:
    return Sa(tuple(_without_group(proposal) for proposal in received.proposals))


def _without_group(proposal: Proposal) -> Proposal:
    kept = (item for item in proposal.transforms if item.type != TransformType.DH_GROUP)
    return replace(proposal, transforms=tuple(kept))


def _check_ike_spis(received: Sa, *, rekey: bool) -> None:
    expected = IKE_SPI_LENGTH if rekey else 0
    for proposal in received.proposals:
        if proposal.protocol == ProtocolId.IKE and (len(proposal.spi) != expected or proposal.spi == NO_SPI):
            raise InvalidSyntax(
                f"proposal {proposal.number}: an SPI of {expected} octets, not zero, belongs here"
            )


def _check_esp_spis(received: Sa) -> None:
    for proposal in received.proposals:
        if proposal.protocol == ProtocolId.ESP and int.from_bytes(proposal.spi) < _RESERVED_ESP_SPIS:
            raise InvalidSyntax(
                f"proposal {proposal.number}: SPI {proposal.spi.hex()} is reserved (RFC 4303 2.1)"
            )


def _ike_suite(choice: _Choice) -> IkeSuite:
    return IkeSuite(
        encryption=_encryption(choice),
        prf=PrfId(choice[TransformType.PRF].id),
        integrity=_integrity(choice),
        group=DhGroup(choice[TransformType.DH_GROUP].id),
    )


def _esp_suite(choice: _Choice) -> EspSuite:
    group, esn = choice.get(TransformType.DH_GROUP), choice.get(TransformType.ESN)
    return EspSuite(
        encryption=_encryption(choice),
        integrity=_integrity(choice),
        group=DhGroup(group.id) if group is not None and group.id != DhGroup.NONE else None,
        esn=esn is not None and esn.id == EsnId.ESN,
    )


def _encryption(choice: _Choice) -> Encryption:
    chosen = choice[TransformType.ENCRYPTION]
    return Encryption(EncryptionId(chosen.id), chosen.key_length or 0)


def _integrity(choice: _Choice) -> IntegrityId | None:
    chosen = choice.get(TransformType.INTEGRITY)
    return None if chosen is None else IntegrityId(chosen.id)
