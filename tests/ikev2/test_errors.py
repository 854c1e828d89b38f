import pytest

from vcstack.ikev2.errors import (
    AuthenticationFailed,
    IntegrityCheckFailed,
    InvalidHeader,
    InvalidKePayload,
    InvalidMajorVersion,
    InvalidSyntax,
    LocalProtocolError,
    NoProposalChosen,
    RemoteProtocolError,
    TsUnacceptable,
    UnsupportedCriticalPayload,
)
from vcstack.ikev2.iana import DhGroup, NotifyType, PayloadType


@pytest.mark.parametrize(
    ("error", "notify", "data"),
    [
        (InvalidHeader("x"), None, b""),
        (IntegrityCheckFailed("x"), None, b""),
        (InvalidMajorVersion("x"), NotifyType.INVALID_MAJOR_VERSION, b""),
        (InvalidSyntax("x"), NotifyType.INVALID_SYNTAX, b""),
        (UnsupportedCriticalPayload(PayloadType(200)), NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8"),
        (NoProposalChosen("x"), NotifyType.NO_PROPOSAL_CHOSEN, b""),
        (InvalidKePayload(DhGroup.ECP_384, None), NotifyType.INVALID_KE_PAYLOAD, b"\0\x14"),
        (InvalidKePayload(DhGroup.ECP_384, DhGroup.ECP_256), NotifyType.INVALID_KE_PAYLOAD, b"\0\x14"),
        (TsUnacceptable("x"), NotifyType.TS_UNACCEPTABLE, b""),
        (AuthenticationFailed("x"), NotifyType.AUTHENTICATION_FAILED, b""),
    ],
)
def test_each_error_of_a_peer_knows_its_answer(
    error: RemoteProtocolError, notify: NotifyType | None, data: bytes
) -> None:
    assert (error.notify, error.data) == (notify, data)
    assert not error.authenticated
    assert str(error) == error.reason


def test_our_own_errors_are_not_the_peers() -> None:
    assert not issubclass(LocalProtocolError, RemoteProtocolError)


def test_a_wrong_group_is_named() -> None:
    assert str(InvalidKePayload(DhGroup.ECP_384, DhGroup.ECP_256)) == (
        "DH group 20 is chosen, a public value of group 19 came"
    )
    assert str(InvalidKePayload(DhGroup.ECP_384, None)) == "DH group 20 is chosen, no public value came"
