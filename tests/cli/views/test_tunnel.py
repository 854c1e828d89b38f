"""`vcstack show tunnel` as text."""

from __future__ import annotations

from tests.cli import samples
from tests.cli.views.printing import NARROW, printed
from vcstack.cli.views import tunnel

UP = """\
dc-a  vc-dc-a is up, line protocol is up  00:12:34  keepalive answered
  address        100.64.1.2/30, peer 100.64.1.1
  MTU            1414 bytes; path 1500, path MTU discovery on; TCP MSS 1350
  GRE            source 192.0.2.1, destination 192.0.2.10, key none, TTL 255
  protection     ipsec dc-a
  forwarder      pid 16428; csum, tso4, udp-gso
  keepalive      set (10 s), retries 3
                 both ends send keepalives and answer them
  ours           sent 25, answered 20, unanswered in a row 1, RTT 16.6 ms, line
                 went down 1 time
  the peer's     Cisco 21; reflected 21
  last packet    input 00:00:00, output 00:00:03
  input                   1,066 packets             52,652 bytes    52.7 kB
  output                 21,657 packets         27,780,824 bytes    27.8 MB
  counted        MSS lowered out 1
  dropped        none
"""


def test_a_line_that_is_up_fits_a_narrow_screen() -> None:
    assert printed(tunnel.render, {"dc-a": samples.TUNNEL_UP}, width=NARROW) == UP


def test_a_line_that_is_down_says_why_and_what_was_dropped() -> None:
    text = printed(tunnel.render, {"dc-b": samples.TUNNEL_DOWN})
    for words in (
        "vc-dc-a is up, line protocol is down  00:01:01  3 keepalives unanswered",
        "path not measured yet",
        "key 77",
        "set (10 s), retries 3, damping on",
        "unanswered in a row 9",
        "on hold for 2 answers more",
        "refused: rate limit 4",
        "input never",
        "outbound no sa 12, gre key mismatch 1, esp authentication failed 3",
    ):
        assert words in text


def test_a_forwarder_that_died_takes_the_interface_down() -> None:
    text = printed(tunnel.render, {"dc-a": samples.TUNNEL_UP | {"forwarder_pid": None, "offloads": []}})
    assert "vc-dc-a is down" in text
    assert "forwarder      not running" in text


def test_keepalives_that_are_not_set_and_none_of_the_peer() -> None:
    quiet = {"keepalive": False, "keepalives": samples.KEEPALIVES | {"requests": {}, "reflected": 0}}
    text = printed(tunnel.render, {"dc-a": samples.TUNNEL_UP | quiet})
    assert "keepalive      not set" in text
    assert "the peer's     none" in text
    assert "the peer's" not in printed(tunnel.render, {"dc-a": samples.TUNNEL_UP | {"keepalives": None}})
