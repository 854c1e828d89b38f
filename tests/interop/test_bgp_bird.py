"""Our speaker and BIRD 2, in two namespaces on one link, with TCP MD5.

cpe 100.64.1.2 AS 64512 (vcstack) ------ 100.64.1.1 AS 64600 dc (BIRD)
    announces 0.0.0.0/0                  announces 10.77.0.0/25, 10.77.0.0/24, 192.0.2.0/24
    accepts the region's three           accepts 0.0.0.0/0
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bgp_process import Speaker
from tests.support.bird import Bird, Session
from tests.support.netns import Namespace, Network, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

PASSWORD = "lab-md5-a"
REGION = ("10.77.0.0/24", "10.77.0.0/25", "10.77.0.128/25")
OURS: dict[str, Any] = {
    "local_as": 64512,
    "remote_as": 64600,
    "local": "100.64.1.2",
    "remote": "100.64.1.1",
    "announce": ["0.0.0.0/0"],
    "accept": REGION,
    "password": PASSWORD,
    "interface": "eth0",
    "tunnel_mtu": 1422,
}
THEIRS = Session(
    local="100.64.1.1",
    remote="100.64.1.2",
    local_as=64600,
    remote_as=64512,
    announce=("10.77.0.0/25", "10.77.0.0/24", "192.0.2.0/24"),
    password=PASSWORD,
)


@dataclass
class Lab:
    cpe: Namespace
    dc: Namespace
    bird: Bird

    @contextmanager
    def speaker(self, **changes: Any) -> Iterator[Speaker]:
        with Speaker(self.cpe, **(OURS | changes)) as speaker:
            yield speaker

    def established(self) -> bool:
        return self.bird.established()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Network() as network:
        cpe, dc = network.namespace("cpe"), network.namespace("dc")
        network.link(cpe, "eth0", dc, "eth0")
        cpe.address("eth0", "100.64.1.2/30")
        dc.address("eth0", "100.64.1.1/30")
        yield Lab(cpe, dc, Bird(dc, tmp_path / "bird"))


def is_up(snapshot: dict[str, Any]) -> bool:
    return bool(snapshot["state"] == "Established" and snapshot["prefixes_received"] == 3)


@pytest.mark.parametrize(
    ("ours_passive", "theirs_passive", "we_opened"),
    [(False, True, True), (True, False, False), (False, False, None)],
    ids=["we connect", "bird connects", "both connect"],
)
def test_session_with_md5(lab: Lab, ours_passive: bool, theirs_passive: bool, we_opened: bool | None) -> None:
    lab.bird.start(replace(THEIRS, passive=theirs_passive))
    with lab.speaker(passive=ours_passive) as speaker:
        seen = speaker.wait_for(is_up)
        denied = {route["prefix"]: route["denied"] for route in seen["received"]}
        assert denied == {
            "10.77.0.0/24": None,
            "10.77.0.0/25": None,
            "192.0.2.0/24": "not permitted by the import policy accept",
        }
        assert we_opened is None or seen["outbound"] is we_opened
        assert seen["tcp"]["md5"]
        assert seen["hold_time_s"] == 30
        assert "four-octet AS" in seen["capabilities_received"]
        wait_until(lambda: lab.bird.learned() == {"0.0.0.0/0"}, 5, "our route at BIRD")
        assert lab.bird.refused() == set()


def test_refresh_both_ways_and_a_shutdown_with_words(lab: Lab) -> None:
    lab.bird.start(THEIRS)
    with lab.speaker() as speaker:
        speaker.wait_for(is_up)
        lab.bird.birdc("reload", "in", "peer")
        speaker.wait_for(lambda seen: seen["counters"]["messages_received"]["route_refresh"] == 1)
        before = speaker.snapshot()["counters"]["messages_received"]["update"]
        speaker.tell("refresh")
        speaker.wait_for(lambda seen: seen["counters"]["messages_received"]["update"] > before)
        assert lab.bird.learned() == {"0.0.0.0/0"}
        lab.bird.birdc("disable", "peer", '"ticket 7"')
        assert "Administrative Shutdown (6/2)" in speaker.wait_event("Down")
        assert speaker.snapshot()["reset_text"].endswith('(6/2): "ticket 7"')
        lab.bird.birdc("enable", "peer")
        speaker.wait_for(is_up)
        speaker.tell("stop going home")
        wait_until(lambda: "going home" in lab.bird.birdc("show", "protocols", "all", "peer"), 5, "our words")


def test_wrong_password_is_named(lab: Lab) -> None:
    lab.bird.start(replace(THEIRS, password="another"))
    with lab.speaker(connect_retry_s=0.5) as speaker:
        assert "BGP password differs" in speaker.wait_event("Failed")
        seen = speaker.snapshot()
        assert seen["state"] in {"Connect", "Active"}
        assert not lab.established()
        lab.bird.reconfigure(THEIRS)
        speaker.wait_for(is_up)


def test_wrong_as_is_named_by_both_sides(lab: Lab) -> None:
    lab.bird.start(replace(THEIRS, remote_as=64999, passive=True))
    with lab.speaker() as speaker:
        assert "OPEN Message Error/Bad Peer AS (2/2)" in speaker.wait_event("Failed")
        assert speaker.snapshot()["last_reset"]["side"] == "peer said"
    lab.bird.reconfigure(replace(THEIRS, passive=True))
    with lab.speaker(remote_as=64999) as speaker:
        expected = (
            "we said: OPEN Message Error/Bad Peer AS (2/2): the peer is AS 64600, AS 64999 is configured"
        )
        assert expected in speaker.wait_event("Failed")
    with lab.speaker() as speaker:
        speaker.wait_for(is_up)


def test_hold_timer_expires_and_the_session_comes_back(lab: Lab) -> None:
    lab.bird.start(replace(THEIRS, hold_time_s=3))
    with lab.speaker(hold_time_s=3) as speaker:
        speaker.wait_for(is_up)
        lab.dc.ip("link", "set", "eth0", "down")
        assert "we said: Hold Timer Expired (4/0)" in speaker.wait_event("Down")
        assert speaker.snapshot()["received"] == []
        lab.dc.ip("link", "set", "eth0", "up")
        speaker.wait_for(is_up)


def test_nobody_listens(lab: Lab) -> None:
    """Where a password is set the kernel ignores a reset without a signature, and only silence is left."""
    with lab.speaker(password=None) as speaker:
        assert "connection refused" in speaker.wait_event("Failed")
    with lab.speaker(connect_retry_s=0.5) as speaker:
        assert "no answer to our SYN" in speaker.wait_event("Failed")
