"""Commands of control, in their order; but an inbound SA that a packet asks for is had at once.

Control writes `InstallInbound` into the channel before it sends the IKE message with which the peer may use
the SA. The peer's first packet can still be read first: it waits in another socket. So a packet with an
unknown SPI is no drop before the channel has been read up to its end.
"""

from collections import deque
from collections.abc import Callable

from vcstack.esp.sa import InboundSa
from vcstack.esp.sad import Sad
from vcstack.io.channel import Command, InstallInbound


class Inbox:
    """Commands that were read and not yet obeyed; `receive` reads some, without waiting."""

    def __init__(self, receive: Callable[[], list[Command]]) -> None:
        self._receive = receive
        self._waiting: deque[Command] = deque()
        self._may_look = True

    @property
    def waits(self) -> bool:
        """Whether commands were read that are to be obeyed."""
        return bool(self._waiting)

    def fill(self) -> None:
        """Read what the channel holds. Raises what `receive` raises."""
        while commands := self._receive():
            self._waiting += commands

    def next(self) -> Command | None:
        """Take the oldest command."""
        return self._waiting.popleft() if self._waiting else None

    def new_batch(self) -> None:
        """From now on one look into the channel is allowed again: foreign SPIs cost one per batch."""
        self._may_look = True

    def look_for(self, spi: int) -> InstallInbound | None:
        """Take the command that installs the inbound SA with this SPI, ahead of those before it."""
        if self._may_look:
            self._may_look = False
            self.fill()
        for command in self._waiting:
            if isinstance(command, InstallInbound) and command.sa.spi == spi:
                self._waiting.remove(command)
                return command
        return None


class PromptSad(Sad):
    """Asks for an SA that it misses; `missing` may install it."""

    __slots__ = ("_missing",)

    def __init__(self, missing: Callable[[int], None]) -> None:
        super().__init__()
        self._missing = missing

    def inbound(self, spi: int) -> InboundSa | None:
        """Return the SA for an SPI of ours, one included that only now becomes known."""
        if spi not in self._inbound:
            self._missing(spi)
        return self._inbound.get(spi)
