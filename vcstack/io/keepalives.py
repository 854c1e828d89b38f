"""What a forwarder tells control about the keepalives of its tunnel."""

from vcstack.gre.keepalive import Prober
from vcstack.gre.reflector import Reflector
from vcstack.gre.verdict import judge
from vcstack.io.channel import KeepaliveInfo


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
