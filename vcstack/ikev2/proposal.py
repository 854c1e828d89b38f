"""Proposals in the form that operators write, and what two ends make of them (RFC 7296 2.7, 3.3).

    IKE   aes256gcm16-prfsha384-ecp384      aes256-aes128-sha256-modp3072-modp2048 (the PRF follows)
    ESP   aes256gcm16-ecp384                aes256gcm16 (no group: rekeyed without PFS)
          aes256gcm16-ecp384-none           (with PFS, without it if the peer wants none)

Several algorithms of one kind stand in order of preference, and a list of proposals does too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeVar

from vcstack.ikev2.algorithms import (
    PRF_OF_INTEGRITY,
    Algorithm,
    Encryption,
    algorithm,
    name_of,
    transform,
)
from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import DhGroup, EsnId, IntegrityId, PrfId, ProtocolId
from vcstack.ikev2.wire.sa import Proposal, Sa, Transform

_A = TypeVar("_A", Encryption, PrfId, IntegrityId, DhGroup, EsnId)


@dataclass(frozen=True, slots=True)
class IkeSuite:
    """What two ends agreed on for an IKE SA; `integrity` is None with an AEAD."""

    encryption: Encryption
    prf: PrfId
    integrity: IntegrityId | None
    group: DhGroup

    def __str__(self) -> str:
        return _text(
            item for item in (self.encryption, self.integrity, self.prf, self.group) if item is not None
        )


@dataclass(frozen=True, slots=True)
class EspSuite:
    """What two ends agreed on for a Child SA; `group` is None when its keys come without a DH exchange."""

    encryption: Encryption
    integrity: IntegrityId | None
    group: DhGroup | None
    esn: bool

    def __str__(self) -> str:
        esn = EsnId.ESN if self.esn else None
        return _text(item for item in (self.encryption, self.integrity, self.group, esn) if item is not None)


@dataclass(frozen=True, slots=True)
class IkeProposal:
    """Algorithms for an IKE SA, in order of preference; no integrity algorithms with AEAD ciphers."""

    protocol: ClassVar[ProtocolId] = ProtocolId.IKE

    encryption: tuple[Encryption, ...]
    integrity: tuple[IntegrityId, ...]
    prf: tuple[PrfId, ...]
    groups: tuple[DhGroup, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form; ConfigurationError says what is wrong with it and what to write."""
        chosen = _parse_names(text)
        encryption, integrity = _of(Encryption, chosen), _of(IntegrityId, chosen)
        prf, groups = _of(PrfId, chosen), _of(DhGroup, chosen)
        _refuse(text, "in an IKE proposal", _of(EsnId, chosen))
        _check_encryption(text, encryption, integrity)
        if encryption[0].is_aead and not prf:
            raise ConfigurationError(f"proposal {text!r}: a PRF is missing, such as prfsha384")
        if not groups or DhGroup.NONE in groups:
            raise ConfigurationError(f"proposal {text!r}: an IKE SA needs a DH group, such as ecp384")
        return cls(encryption, integrity, prf or tuple(PRF_OF_INTEGRITY[item] for item in integrity), groups)

    def transforms(self) -> tuple[Transform, ...]:
        """Everything it offers."""
        return _transforms((*self.encryption, *self.integrity, *self.prf, *self.groups))

    def __str__(self) -> str:
        derived = self.prf == tuple(PRF_OF_INTEGRITY[item] for item in self.integrity)
        return _text((*self.encryption, *self.integrity, *(() if derived else self.prf), *self.groups))


@dataclass(frozen=True, slots=True)
class EspProposal:
    """Algorithms for a Child SA, in order of preference; `groups` count in rekeys only (RFC 7296 1.2)."""

    protocol: ClassVar[ProtocolId] = ProtocolId.ESP

    encryption: tuple[Encryption, ...]
    integrity: tuple[IntegrityId, ...] = ()
    groups: tuple[DhGroup, ...] = ()
    esn: tuple[EsnId, ...] = (EsnId.NO_ESN,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form; ConfigurationError says what is wrong with it and what to write."""
        chosen = _parse_names(text)
        encryption, integrity = _of(Encryption, chosen), _of(IntegrityId, chosen)
        _refuse(text, "in an ESP proposal", _of(PrfId, chosen))
        _check_encryption(text, encryption, integrity)
        if not encryption[0].is_aead:
            raise ConfigurationError(f"proposal {text!r}: ESP takes aes256gcm16 and aes128gcm16 only")
        return cls(encryption, integrity, _of(DhGroup, chosen), _of(EsnId, chosen) or (EsnId.NO_ESN,))

    def transforms(self) -> tuple[Transform, ...]:
        """Everything it offers."""
        return _transforms((*self.encryption, *self.integrity, *self.groups, *self.esn))

    def without_groups(self) -> "EspProposal":
        """The same for IKE_AUTH, where no DH group may be offered (RFC 7296 1.2)."""
        return EspProposal(self.encryption, self.integrity, (), self.esn)

    def __str__(self) -> str:
        esn = () if self.esn == (EsnId.NO_ESN,) else self.esn
        return _text((*self.encryption, *self.integrity, *self.groups, *esn))


def offer(proposals: Sequence[IkeProposal | EspProposal], spi: bytes = b"") -> Sa:
    """The SA payload of an initiator, numbered from 1; `spi` is empty in IKE_SA_INIT."""
    return Sa(
        tuple(
            Proposal(number, proposal.protocol, spi, proposal.transforms())
            for number, proposal in enumerate(proposals, start=1)
        )
    )


def describe(proposals: Sequence[IkeProposal | EspProposal]) -> str:
    """A list of proposals in one line, for messages."""
    return ", ".join(str(proposal) for proposal in proposals)


def _parse_names(text: str) -> tuple[Algorithm, ...]:
    try:
        named = [algorithm(name) for name in text.split("-")]
    except ConfigurationError as error:
        raise ConfigurationError(f"proposal {text!r}: {error}") from error
    # Numbers of different registries compare equal, transforms do not.
    return tuple({transform(item): item for item in named}.values())


def _check_encryption(text: str, encryption: Sequence[Encryption], integrity: Sequence[IntegrityId]) -> None:
    aead = [item for item in encryption if item.is_aead]
    if not encryption:
        raise ConfigurationError(f"proposal {text!r}: a cipher is missing, such as aes256gcm16")
    if aead and len(aead) < len(encryption):
        raise ConfigurationError(
            f"proposal {text!r}: write GCM and CBC ciphers as two proposals (RFC 5282 8)"
        )
    if aead and integrity:
        names = _text(integrity)
        raise ConfigurationError(
            f"proposal {text!r}: GCM authenticates by itself, leave out {names} (for a PRF write prf{names})"
        )
    if not aead and not integrity:
        raise ConfigurationError(f"proposal {text!r}: a CBC cipher needs integrity, such as sha256")


def _refuse(text: str, where: str, items: Sequence[Algorithm]) -> None:
    if items:
        raise ConfigurationError(f"proposal {text!r}: {_text(items)} has no place {where}")


def _of(kind: type[_A], items: Iterable[Algorithm]) -> tuple[_A, ...]:
    return tuple(item for item in items if isinstance(item, kind))


def _transforms(items: Iterable[Algorithm]) -> tuple[Transform, ...]:
    return tuple(transform(item) for item in items)


def _text(items: Iterable[Algorithm]) -> str:
    return "-".join(name_of(item) for item in items)


_GROUPS: Final = "ecp384-ecp256-ecp521-curve25519-modp3072-modp4096-modp2048"

DEFAULT_IKE_PROPOSALS: Final = (
    IkeProposal.parse(f"aes256gcm16-aes128gcm16-prfsha384-prfsha256-prfsha512-{_GROUPS}"),
    IkeProposal.parse(f"aes256-aes128-sha384-sha256-sha512-{_GROUPS}"),
)
DEFAULT_ESP_PROPOSALS: Final = (EspProposal.parse(f"aes256gcm16-aes128gcm16-{_GROUPS}-noesn-esn"),)
