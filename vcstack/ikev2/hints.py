"""What nobody has proven: unprotected notifications that an SA is unknown (RFC 7296 1.5, 2.4, 2.21.4).

```
 HDR(SPIi, SPIr), SK {..}  -->
                           <--  HDR(SPIi, SPIr), N(INVALID_IKE_SPI)     a peer that was restarted, or anybody
 ESP(SPI)                  -->
                           <--  HDR(..), N(INVALID_SPI, SPI)
```
They are never answered and end nothing. A genuine one means that the peer does not live any longer as we
know it: it is asked for a sign of life, and that it does not answer counts. Not more often than now and then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.errors import RemoteProtocolError
from vcstack.ikev2.exchanges.informational import Liveness
from vcstack.ikev2.iana import ExchangeType, NotifyType, PayloadType
from vcstack.ikev2.ike_sa import IkeSa
from vcstack.ikev2.limits import TokenBucket
from vcstack.ikev2.wire.message import Message, parse_message

if TYPE_CHECKING:
    from vcstack.ikev2.host import Host
    from vcstack.ikev2.wire.header import Header


def is_hint(header: Header) -> bool:
    """Whether a message is an unprotected notification outside of IKE_SA_INIT."""
    return header.exchange != ExchangeType.IKE_SA_INIT and header.next_payload == PayloadType.NOTIFY


class Hints:
    """Turns them into liveness checks."""

    def __init__(self, host: Host, now: float) -> None:
        self._host = host
        self._checks = TokenBucket(host.config.hinted_checks_per_s, now)

    def take(self, data: bytes, sa: IkeSa | None, now: float) -> None:
        """Look into a message with the SPIs of `sa`, or of no IKE SA here."""
        try:
            message = parse_message(data)
        except RemoteProtocolError as error:
            self._host.count(f"rx dropped: {type(error).__name__}")
            return
        doubted = self._doubted(message, sa)
        if doubted is None or not doubted.is_up:
            self._host.count("rx unprotected notification ignored")
        elif doubted.current is not None:
            self._host.count("rx hint while a request is unanswered")
        elif self._checks.take(now):
            self._host.count("liveness check after a hint")
            doubted.submit(Liveness(), now)
        else:
            self._host.count("rx hint beyond the limit")

    def _doubted(self, message: Message, sa: IkeSa | None) -> IkeSa | None:
        if message.notify(NotifyType.INVALID_IKE_SPI) is not None:
            return sa
        notify = message.notify(NotifyType.INVALID_SPI)
        if notify is None:
            return None
        named = [child for child in self._host.children if child.sa.spi_out.to_bytes(4, "big") == notify.data]
        return next((child.owner for child in named if isinstance(child.owner, IkeSa)), None)
