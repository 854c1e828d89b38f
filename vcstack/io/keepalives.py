"""What a forwarder tells control about the keepalives of its tunnel."""

from vcstack.gre.keepalive import Prober
from vcstack.gre.reflector import Reflector
from vcstack.gre.verdict import judge
from vcstack.io.channel import KeepaliveInfo

COUNTS_EVERY_S = 0.1
"""Counts alone are told no more often, so that a peer which floods us does not flood control."""


class KeepaliveReporter:
    """Makes a report of what has changed since the last one."""

    def __init__(self) -> None:
        self._shown: KeepaliveInfo | None = None
        self._counts_due = 0.0

    def report(self, prober: Prober, reflector: Reflector, now: float) -> KeepaliveInfo | None:
        """How keepalives stand; None while there is nothing to tell."""
        info, shown = keepalive_info(prober, reflector, now), self._shown
        if info == shown or (shown is not None and _news(info) == _news(shown) and now < self._counts_due):
            return None
        self._shown = info
        self._counts_due = now + COUNTS_EVERY_S
        return info


def keepalive_info(prober: Prober, reflector: Reflector, now: float) -> KeepaliveInfo:
    """Both directions as they are at that time."""
    probed, reflected = prober.snapshot(), reflector.snapshot()
    return KeepaliveInfo(
        sent=probed.sent,
        received=probed.received,
        reflected=reflected.reflected,
        missed=probed.unanswered,
        up=probed.line_up,
        verdict=judge(probed, reflected, now),
        on_hold_for=probed.on_hold_for,
        went_down=probed.went_down,
        round_trip_ms=None if probed.round_trip_s is None else round(probed.round_trip_s * 1000, 1),
        dialect=reflected.dialect,
        requests={dialect.value: count for dialect, count in reflected.requests.items()},
        refused={refusal.value: count for refusal, count in reflected.refused.items()},
    )


def _news(info: KeepaliveInfo) -> tuple[object, ...]:
    return info.up, info.verdict, info.dialect, info.on_hold_for
