# ruff: noqa: N818 (errors bear the names that RFC 7296 gives their notifications)
"""Errors of IKEv2: whose fault it is and, where RFC 7296 2.21 asks for an answer, which notification.

One tree, so that a door can catch what came from the peer and nothing else:

ProtocolError
|-- RemoteProtocolError       the peer sent it; a value, a counter and perhaps a reply come of it
|   |-- InvalidHeader         not an IKEv2 message at all: dropped without an answer
|   |-- IntegrityCheckFailed  does not open under our keys: dropped without an answer
|   |-- InvalidMajorVersion, InvalidSyntax, UnsupportedCriticalPayload
|   |-- NoProposalChosen, InvalidKePayload, TsUnacceptable, AuthenticationFailed
|-- LocalProtocolError        our own code asked for what the protocol forbids
|-- ConfigurationError        the operator wrote what cannot work
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vcstack.ikev2.iana import DhGroup, NotifyType, PayloadType


class ProtocolError(Exception):
    """Base of all errors of this package."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for what the protocol forbids: a bug, not the peer's doing."""


class ConfigurationError(ProtocolError, ValueError):
    """A configured value cannot work; the message says which and what to write instead."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol or asked for what we do not accept.

    `notify` is the notification that tells it so (None: say nothing) and `data` that notification's data.
    `authenticated` is True once the message that caused it had passed the integrity check of an IKE SA:
    only then may the error end an SA (RFC 7296 2.21.2).
    """

    notify: ClassVar[NotifyType | None] = None

    def __init__(self, reason: str, *, data: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.data = data
        self.authenticated = False


class InvalidHeader(RemoteProtocolError):
    """Not a message of IKEv2: too short, of IKEv1, of the wrong length."""


class IntegrityCheckFailed(RemoteProtocolError):
    """An encrypted payload that does not open under the keys of its IKE SA."""


class InvalidMajorVersion(RemoteProtocolError):
    """A major version above ours (RFC 7296 2.5); the answer's header names ours."""

    notify = NotifyType.INVALID_MAJOR_VERSION


class InvalidSyntax(RemoteProtocolError):
    """A type, length or value out of range, or a payload missing or out of place."""

    notify = NotifyType.INVALID_SYNTAX


class UnsupportedCriticalPayload(RemoteProtocolError):
    """A payload we do not know that its sender marked critical (RFC 7296 2.5)."""

    notify = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD

    def __init__(self, payload_type: PayloadType) -> None:
        super().__init__(
            f"critical payload of unknown type {payload_type.value}", data=bytes([payload_type.value])
        )
        self.payload_type = payload_type


@dataclass(frozen=True, slots=True)
class Difference:
    """A transform type on which two ends do not meet, with the names of what each has (none: left out)."""

    type: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why nothing could be chosen: the transform types that differ between the two closest proposals."""

    differences: tuple[Difference, ...]
    as_initiator: bool

    def __str__(self) -> str:
        we, peer = (
            ("we offered", "the peer chose") if self.as_initiator else ("we accept", "the peer offered")
        )
        return "; ".join(
            f"{item.type}: {we} {_listed(item.ours)}, {peer} {_listed(item.theirs)}"
            for item in self.differences
        )


class NoProposalChosen(RemoteProtocolError):
    """None of the peer's proposals is ours, or its choice is none that we offered (RFC 7296 2.7).

    `mismatch` names the transform types that differed, where it is about those.
    """

    notify = NotifyType.NO_PROPOSAL_CHOSEN

    def __init__(self, reason: str, *, mismatch: Mismatch | None = None) -> None:
        super().__init__(reason)
        self.mismatch = mismatch


class InvalidKePayload(RemoteProtocolError):
    """The public value is of another group than the one chosen, which the answer names (RFC 7296 1.2)."""

    notify = NotifyType.INVALID_KE_PAYLOAD

    def __init__(self, wanted: DhGroup, received: DhGroup | None) -> None:
        got = "no public value" if received is None else f"a public value of group {received.value}"
        super().__init__(f"DH group {wanted.value} is chosen, {got} came", data=wanted.to_bytes(2, "big"))
        self.wanted = wanted


class TsUnacceptable(RemoteProtocolError):
    """The peer's traffic selectors do not overlap ours (RFC 7296 2.9)."""

    notify = NotifyType.TS_UNACCEPTABLE


class AuthenticationFailed(RemoteProtocolError):
    """Wrong identity, wrong key or a method we do not take (RFC 7296 2.21.2)."""

    notify = NotifyType.AUTHENTICATION_FAILED


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
