"""Who may start an IKE SA with this end, and what strangers get to hear (RFC 7296 sections 2.6, 2.21.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.constants import MAJOR_VERSION, NO_SPI
from vcstack.ikev2.cookie import CookieSecrets, is_valid_cookie, make_cookie
from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges import ike_sa_init
from vcstack.ikev2.iana import NotifyType
from vcstack.ikev2.limits import TokenBucket
from vcstack.ikev2.wire.header import Header, read_header
from vcstack.ikev2.wire.message import Message, build_message, parse_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from vcstack.ikev2.host import Host
    from vcstack.ikev2.path import Path

_SECRET_LENGTH = 32
_SECRET_LIFETIME_S = 60.0


class Admission:
    """The door for IKE_SA_INIT requests, and for everything that no IKE SA here knows."""

    def __init__(self, host: Host, now: float) -> None:
        self._host = host
        self._replies = TokenBucket(host.config.unauthenticated_replies_per_s, now)
        self._secrets = CookieSecrets(Secret(host.entropy(_SECRET_LENGTH)))
        self._rotated_at = now

    def admit(self, header: Header, data: bytes, path: Path, half_open: int, now: float) -> None:
        """Answer an IKE_SA_INIT request, of which there are `half_open` unfinished ones."""
        config = self._host.config
        if config.remote_address is not None and path.remote != config.remote_address:
            self._host.count("rx IKE_SA_INIT from a foreign address")
            return
        if half_open >= config.half_open_limit:
            self._host.count("rx IKE_SA_INIT beyond the half-open limit")
            return
        try:
            message = parse_message(data)
            has_cookie = self._has_cookie(message, path, now)
            wants_cookie = half_open >= config.cookie_threshold and not has_cookie
            if wants_cookie or not ike_sa_init.respond(
                self._host, message, data, path, now, may_grow=has_cookie
            ):
                self._ask_for_cookie(message, data, path)
        except RemoteProtocolError as error:
            self._refuse(header, data, error, path, now)

    def unknown_spi(self, header: Header, data: bytes, path: Path, now: float) -> None:
        """Tell the sender of a request that its IKE SA is not known here: perhaps this end was restarted."""
        self._host.count("rx unknown IKE SPI")
        if not header.is_response:
            self._reply(header, data, Notify(NotifyType.INVALID_IKE_SPI), path, now)

    def wrong_version(self, data: bytes, path: Path, now: float) -> None:
        """Tell the sender of a request which version is spoken here (RFC 7296 section 2.5)."""
        self._host.count("rx major version not supported")
        header = read_header(data)
        if not header.is_response:
            notify = Notify(NotifyType.INVALID_MAJOR_VERSION, data=bytes([MAJOR_VERSION]))
            self._reply(header, data, notify, path, now)

    def _refuse(
        self, header: Header, data: bytes, error: RemoteProtocolError, path: Path, now: float
    ) -> None:
        self._host.count(f"rx IKE_SA_INIT refused: {error.notify}")
        if error.notify is None:
            return
        if error.notify != NotifyType.INVALID_KE_PAYLOAD:
            self._host.report(f"we refused the peer's IKE_SA_INIT ({error.notify}): {error.reason}", now)
        self._reply(header, data, Notify(error.notify, data=error.data), path, now)

    def _has_cookie(self, message: Message, path: Path, now: float) -> bool:
        if now - self._rotated_at >= _SECRET_LIFETIME_S:
            self._secrets = self._secrets.rotated(Secret(self._host.entropy(_SECRET_LENGTH)))
            self._rotated_at = now
        cookie = message.notify(NotifyType.COOKIE)
        nonce = message.require(Nonce).data
        return cookie is not None and is_valid_cookie(
            self._secrets, cookie.data, nonce, path.remote, message.header.initiator_spi
        )

    def _ask_for_cookie(self, message: Message, data: bytes, path: Path) -> None:
        self._host.count("tx COOKIE")
        nonce = message.require(Nonce).data
        cookie = make_cookie(self._secrets, nonce, path.remote, message.header.initiator_spi)
        self._send(message.header, data, Notify(NotifyType.COOKIE, data=cookie), path)

    def _reply(self, header: Header, data: bytes, notify: Notify, path: Path, now: float) -> None:
        if self._replies.take(now):
            self._send(header, data, notify, path)
        else:
            self._host.count("unauthenticated reply suppressed")

    def _send(self, request: Header, data: bytes, notify: Notify, path: Path) -> None:
        header = Header(
            request.initiator_spi,
            request.responder_spi,
            request.exchange,
            is_initiator=not request.is_initiator,
            is_response=True,
            message_id=request.message_id,
        )
        reply = build_message(header, [notify])
        if len(reply) > len(data):
            # The sender's address may be somebody else's: nobody gets more than was sent in his name.
            self._host.count("unauthenticated reply larger than the request")
            return
        self._host.transmit((reply,), path)


def is_first_request(header: Header) -> bool:
    """Whether a message asks for a new IKE SA."""
    return not header.is_response and header.is_initiator and header.responder_spi == NO_SPI
