"""`vcstack show bgp` as text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli import samples
from tests.cli.views.printing import NARROW, WIDE, printed, widest
from vcstack.cli.views import bgp
from vcstack.cli.views.bgp_routes import as_path

UP = """\
router identifier 100.64.1.2, local AS 64512

  Neighbor    V     AS  MsgRcvd  MsgSent  TblVer   Up/Down  State/PfxRcd  Tunnel
  100.64.1.1  4  64600       12       15       6  00:12:34             2  dc-a

dc-a  up 00:12:34  established with 100.64.1.1, hold time 180 s
  neighbor       100.64.1.1, remote AS 64600, external, router ID 100.64.1.1
  last reset     00:12:42 ago: we said: Cease/Administrative Shutdown (6/2):
                 "line down: 3 keepalives unanswered"
  timers         hold 180 s, keepalive 60 s, last read 00:00:01, write 00:00:00
  capabilities   ipv4 unicast, route refresh, four-octet AS (sent), graceful
                 restart (received)
  connections    2 established, 1 dropped
  TCP            100.64.1.2:46743 to 100.64.1.1:179, TTL 1, MD5 on, MSS 1350
  prefixes       3 received of at most 100, 1 denied by policy, 1 advertised
  received       12 messages, open 2, update 2, notification 0, keepalive 8
  sent           15 messages, open 2, update 2, notification 1, keepalive 10
  in total       announced 4

  received routes
     Network         Next Hop    Metric  Path     Status
  *  10.77.0.0/24    100.64.1.1          64600 i  used
  *  10.77.0.0/25    100.64.1.1      20  64600 ?  used
     192.168.0.0/16  100.64.1.1          64600 i  denied: no rule of the policy
                                                  accepts it

  advertised routes  total 1
     Network    Next Hop    Metric  Path     Status
  *  0.0.0.0/0  100.64.1.2          64512 i  advertised
"""


def test_an_established_session_with_its_routes() -> None:
    assert printed(bgp.render, {"dc-a": samples.BGP_UP}, width=NARROW) == UP


def test_a_session_that_fails_says_which_side_said_what() -> None:
    both = {"dc-a": samples.BGP_UP, "dc-b": samples.BGP_REFUSED}
    assert widest(printed(bgp.render, both, width=WIDE)) <= WIDE
    text = printed(bgp.render, both)
    for words in (
        "100.64.1.5  4  64999       12       15       6  00:00:23        Active  dc-b",
        f"dc-b  connecting 00:00:23  active: {samples.WRONG_AS}",
        "3 refused, 5 failed attempts",
        "not connected",
        "not listening: Address already in use",
        "the peer restarts, its routes stay for now",
        f"ORIGIN is missing (40 bytes: {'ff' * 32}...)",
        "2 stale",
        "UPDATEs treated as withdraw 1",
        "last read never",
        "advertised routes  total 0",
        "waits for the session",
        "denied: only 0.0.0.0/0 is announced",
    ):
        assert words in text
    assert text.count(samples.WRONG_AS) == 1


def test_a_session_that_the_peer_opened() -> None:
    tcp = samples.TCP | {
        "local": ["100.64.1.2", 179],
        "remote": ["100.64.1.1", 40000],
        "md5": False,
        "gtsm": True,
    }
    text = printed(bgp.render, {"dc-a": samples.BGP_UP | {"outbound": False, "tcp": tcp}})
    assert "100.64.1.2:179 from 100.64.1.1:40000, TTL 1, GTSM, MD5 off" in text


def test_a_stale_route_is_still_used() -> None:
    stale = samples.BGP_UP | {"received": [samples.route("10.77.0.0/24") | {"stale": True}]}
    assert "64600 i  used, stale" in printed(bgp.render, {"dc-a": stale})


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ([], ""),
        ([{"type": 2, "asns": [64600, 64601]}], "64600 64601"),
        ([{"type": 2, "asns": [64600]}, {"type": 1, "asns": [64512, 64513]}], "64600 {64512,64513}"),
        ([{"type": 3, "asns": [65001, 65002]}], "(65001 65002)"),
        ([{"type": 4, "asns": [65001, 65002]}], "[65001,65002]"),
        ([{"type": 9, "asns": [1]}], "<1>"),
    ],
)
def test_as_paths(segments: list[dict[str, Any]], text: str) -> None:
    assert as_path({"segments": segments}) == text
