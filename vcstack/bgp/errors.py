"""Errors that carry the NOTIFICATION that RFC 4271 6 asks for."""

from vcstack.bgp.iana import ErrorCode, HeaderSubcode, OpenSubcode, RefreshSubcode, UpdateSubcode


class RemoteProtocolError(Exception):
    """The peer sent something that ends the session; raised inside, never through the door of Peer.

    `code`, `subcode` and `data` are those of the NOTIFICATION to answer with, `detail` is for people.
    """

    def __init__(self, code: ErrorCode, subcode: int, detail: str, data: bytes = b"") -> None:
        super().__init__(detail)
        self.code = code
        self.subcode = subcode
        self.detail = detail
        self.data = data


class HeaderError(RemoteProtocolError):
    """RFC 4271 6.1: the message header, or a length that its type cannot have."""

    def __init__(self, subcode: HeaderSubcode, detail: str, data: bytes = b"") -> None:
        super().__init__(ErrorCode.MESSAGE_HEADER_ERROR, subcode, detail, data)


class OpenError(RemoteProtocolError):
    """RFC 4271 6.2: an OPEN that is malformed or that we must not accept."""

    def __init__(self, subcode: OpenSubcode, detail: str, data: bytes = b"") -> None:
        super().__init__(ErrorCode.OPEN_MESSAGE_ERROR, subcode, detail, data)


class UpdateError(RemoteProtocolError):
    """RFC 4271 6.3 where RFC 7606 still demands a session reset."""

    def __init__(self, subcode: UpdateSubcode, detail: str, data: bytes = b"") -> None:
        super().__init__(ErrorCode.UPDATE_MESSAGE_ERROR, subcode, detail, data)


class RefreshError(RemoteProtocolError):
    """RFC 7313 5: a malformed marker of a route refresh."""

    def __init__(self, subcode: RefreshSubcode, detail: str, data: bytes = b"") -> None:
        super().__init__(ErrorCode.ROUTE_REFRESH_MESSAGE_ERROR, subcode, detail, data)
