"""What a forwarder tells control: the line, keepalives, SAs and their use, in the order of the events."""

from vcstack.esp.sa import Expired, FirstUse, InboundSa
from vcstack.esp.sad import Sad
from vcstack.gre.keepalive import Prober
from vcstack.gre.reflector import Reflector
from vcstack.io import channel
from vcstack.io.channel import Report
from vcstack.io.keepalives import KeepaliveReporter

USAGE_S = 1.0
"""How old the counts of an SA may be in control: an operator who asks twice wants to see them move."""


class Reports:
    """Reports that wait to be sent."""

    def __init__(self, now: float) -> None:
        self._waiting: list[Report] = []
        self._keepalives = KeepaliveReporter()
        self._offloads_shown: tuple[str, ...] | None = None
        self._usage_shown: dict[tuple[int, bool], int] = {}
        self.usage_due = now + USAGE_S
        """When `usage` is to be told next."""

    def add(self, *reports: Report) -> None:
        """Tell something."""
        self._waiting += reports

    def take(self) -> list[Report]:
        """What waits, oldest first; nothing waits then."""
        taken, self._waiting = self._waiting, []
        return taken

    def offloads(self, names: tuple[str, ...]) -> None:
        """Tell what is in use, when that is new."""
        if names != self._offloads_shown:
            self._offloads_shown = names
            self.add(channel.Offloads(names))

    def line(self, prober: Prober, reflector: Reflector, now: float) -> None:
        """Tell what has happened to the line, and how keepalives stand."""
        while (line := prober.next_event()) is not None:
            self.add(channel.LineState(line.up, line.reason))
        info = self._keepalives.report(prober, reflector, now)
        if info is not None:
            self.add(info)

    def sa_events(self, sad: Sad) -> None:
        """Tell what has happened to SAs."""
        while (event := sad.next_event()) is not None:
            self.add(_report_of(event))

    def usage(self, sad: Sad, now: float) -> None:
        """Tell the packets and bytes of the SAs that carried some since the last time."""
        self.usage_due = now + USAGE_S
        usage = {(sa.spi, isinstance(sa, InboundSa)): sa.meter for sa in sad}
        for (spi, inbound), meter in usage.items():
            if self._usage_shown.get((spi, inbound)) != meter.packets:
                self.add(channel.SaUsage(spi, inbound, meter.packets, meter.octets))
        self._usage_shown = {key: meter.packets for key, meter in usage.items()}


def _report_of(event: Expired | FirstUse) -> Report:
    if isinstance(event, FirstUse):
        return channel.InboundUsed(event.spi)
    if event.expiry.hard:
        return channel.HardExpired(event.spi, event.expiry.limit)
    return channel.SoftExpired(event.spi, event.expiry.limit)
