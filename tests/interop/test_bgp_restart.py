"""Restarts, resets, refreshes, key changes and flap storms with BIRD 2 and FRR: in the end both sides agree.

The networks are those of test_bgp_bird.py and test_bgp_frr.py.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.test_bgp_bird import OURS, THEIRS, Lab, is_up, lab
from tests.interop.test_bgp_frr import PEER, Frr, frr
from tests.interop.test_bgp_frr import is_up as is_up_with_frr
from tests.support.bgp_process import Speaker
from tests.support.netns import Namespace, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["frr", "lab"]  # fixtures

pytestmark = [pytest.mark.netns, pytest.mark.interop]

GRACEFUL: dict[str, Any] = {"graceful": {"restart_time_s": 20}, "enhanced_refresh": True}
RESTARTED: dict[str, Any] = {**GRACEFUL, "graceful": {"restart_time_s": 20, "restarting": True}}
FRR_RESTARTS = "bgp graceful-restart\n bgp graceful-restart preserve-fw-state"
STORM_S = 2.5


def withdrawn(speaker: Speaker) -> list[str]:
    """The routes that a speaker has given up so far."""
    return [text for name, text in speaker.told if name == "RouteChanged" and "next_hop=None" in text]


def watch(probe: Callable[[], bool], seconds: float) -> None:
    """Fail as soon as something is not so, within this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert probe()


def test_our_restart_is_not_noticed_by_what_bird_forwards(lab: Lab) -> None:
    """RFC 4724: BIRD helps; its route through us stays in use while our process is replaced."""
    lab.bird.start(THEIRS)

    def in_use() -> bool:
        return lab.bird.learned() == {"0.0.0.0/0"}

    with lab.speaker(**GRACEFUL) as speaker:
        speaker.wait_for(is_up)
        wait_until(in_use, 5, "our route at BIRD")
        speaker.tell("suspend")
        wait_until(lambda: not lab.established(), 5, "the end of the session")
        assert in_use()
    watch(in_use, 0.5)
    with lab.speaker(**RESTARTED) as speaker:
        watch(in_use, 0.5)
        assert "the peer has sent all its routes" in speaker.wait_event("EndOfRib")
        watch(in_use, 0.5)
        seen = speaker.snapshot()
        assert (seen["prefixes_accepted"], seen["restarting"]) == (2, False)


def test_a_restart_of_bird_is_not_noticed_by_what_we_forward(lab: Lab) -> None:
    """RFC 4724: we help, also when the routes that come back are fewer."""
    lab.bird.start(replace(THEIRS, restarts=True))
    with lab.speaker(**GRACEFUL) as speaker:
        assert speaker.wait_for(is_up)["graceful_restart"]
        speaker.wait_event("EndOfRib")
        lab.bird.kill()
        assert "routes_kept_s=120" in speaker.wait_event("Down")
        assert speaker.snapshot()["prefixes_stale"] == 3
        lab.bird.start(replace(THEIRS, restarts=True, announce=THEIRS.announce[:1]), "-R")
        speaker.wait_event("Up")
        assert withdrawn(speaker) == []
        speaker.wait_for(lambda seen: not seen["prefixes_stale"])
        assert [route["prefix"] for route in speaker.snapshot()["received"]] == ["10.77.0.0/25"]
        assert len(withdrawn(speaker)) == 1


def test_enhanced_refresh_both_ways(lab: Lab) -> None:
    """RFC 7313."""
    lab.bird.start(THEIRS)
    with lab.speaker(**GRACEFUL) as speaker:
        seen = speaker.wait_for(is_up)
        assert "enhanced route refresh" in seen["capabilities_received"]
        speaker.wait_event("EndOfRib")
        before = seen["counters"]["messages_received"]["route_refresh"]
        speaker.tell("refresh")
        speaker.wait_for(lambda now: now["counters"]["messages_received"]["route_refresh"] == before + 2)
        lab.bird.birdc("reload", "in", "peer")
        speaker.wait_for(lambda now: now["counters"]["messages_sent"]["route_refresh"] == 3)
        seen = speaker.snapshot()
        assert (seen["prefixes_received"], seen["prefixes_stale"]) == (3, 0)
        assert lab.bird.learned() == {"0.0.0.0/0"}
        assert withdrawn(speaker) == []


def test_a_key_change(lab: Lab) -> None:
    """BIRD begins a new session with its new key; we need not restart for ours."""
    lab.bird.start(THEIRS)
    with lab.speaker() as speaker:
        speaker.wait_for(is_up)
        lab.bird.reconfigure(replace(THEIRS, password="another"))
        speaker.wait_event("Down")
        speaker.tell("password another")
        speaker.wait_for(is_up)
        wait_until(lambda: lab.bird.learned() == {"0.0.0.0/0"}, 5, "our route at BIRD")


def test_a_storm_of_resets_with_bird(lab: Lab) -> None:
    """Both operators reset, refresh and flap at will; afterwards both sides have every route, once."""
    lab.bird.start(THEIRS)
    with lab.speaker(idle_hold_floor_s=0.1) as speaker:
        speaker.wait_for(is_up)
        storm(speaker, lambda: lab.bird.birdc("restart", "peer"), lambda: lab.bird.birdc("reload", "peer"))
        speaker.wait_for(is_up)
        wait_until(lambda: lab.bird.learned() == {"0.0.0.0/0"}, 5, "our route at BIRD")
        assert speaker.snapshot()["counters"]["connections_established"] >= 3


def test_a_storm_of_resets_with_frr(frr: tuple[Namespace, Frr]) -> None:
    cpe, bgpd = frr
    bgpd.start(FRR_RESTARTS)
    with Speaker(cpe, **OURS, gtsm=True, idle_hold_floor_s=0.1, **GRACEFUL) as speaker:
        speaker.wait_for(is_up_with_frr)
        storm(speaker, lambda: bgpd.vtysh("clear bgp *"), lambda: bgpd.vtysh("clear bgp 100.64.1.2 soft"))
        speaker.wait_for(lambda seen: is_up_with_frr(seen) and not seen["prefixes_stale"])
        wait_until(lambda: "0.0.0.0/0" in bgpd.routes(), 5, "our route at FRR")


def storm(speaker: Speaker, restart: Callable[[], object], refresh: Callable[[], object]) -> None:
    """Some seconds of resets of both sides, with refreshes between them; then quiet."""
    end = time.monotonic() + STORM_S
    while time.monotonic() < end:
        for blow in (restart, refresh, lambda: speaker.tell("refresh"), lambda: speaker.tell("reset storm")):
            blow()
            speaker.snapshot()
            time.sleep(0.25)


def test_our_restart_and_one_of_frr(frr: tuple[Namespace, Frr]) -> None:
    """RFC 4724 and RFC 8538 with FRR on either side of a restart."""
    cpe, bgpd = frr
    bgpd.start(FRR_RESTARTS)

    def in_use() -> bool:
        return "0.0.0.0/0" in bgpd.vtysh("show bgp ipv4 unicast")

    with Speaker(cpe, **OURS, gtsm=True, **GRACEFUL) as speaker:
        assert speaker.wait_for(is_up_with_frr)["graceful_restart"]
        wait_until(in_use, 5, "our route at FRR")
        speaker.tell("suspend")
        wait_until(lambda: "Established" not in bgpd.neighbor(), 5, "the end of the session")
        assert in_use()
    with Speaker(cpe, **OURS, gtsm=True, **RESTARTED) as speaker:
        watch(in_use, 1.0)
        assert "the peer has sent all its routes" in speaker.wait_event("EndOfRib")
        assert in_use()
        bgpd.restart(FRR_RESTARTS)
        assert "routes_kept_s=120" in speaker.wait_event("Down")
        speaker.wait_event("Up", 15)
        assert withdrawn(speaker) == []
        speaker.wait_for(lambda seen: is_up_with_frr(seen) and not seen["prefixes_stale"])


def test_a_hold_timer_that_expires_is_a_graceful_restart(frr: tuple[Namespace, Frr]) -> None:
    """RFC 8538 4: FRR sets the N bit, so the routes of a path that was down for a while stay in use."""
    cpe, bgpd = frr
    bgpd.start(f"{FRR_RESTARTS}\n {PEER} timers 1 3")
    with Speaker(cpe, **OURS, gtsm=True, hold_time_s=3, **GRACEFUL) as speaker:
        speaker.wait_for(is_up_with_frr)
        bgpd.namespace.ip("link", "set", "eth0", "down")
        down = speaker.wait_event("Down")
        assert "we said: Hold Timer Expired (4/0)" in down
        assert "routes_kept_s=120" in down
        bgpd.namespace.ip("link", "set", "eth0", "up")
        speaker.wait_event("Up")
        speaker.wait_for(lambda seen: is_up_with_frr(seen) and not seen["prefixes_stale"])
        assert withdrawn(speaker) == []
