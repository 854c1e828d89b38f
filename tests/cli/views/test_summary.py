"""One screen of `vcstack status`."""

from __future__ import annotations

import pytest

from tests.cli import samples
from tests.cli.views.printing import NARROW, WIDE, printed, widest
from vcstack.cli.views import summary

UP_AND_REFUSED = """\
branch-1 (cpe)  running for 01:06:40; dc-b ike connecting
warning: net.ipv4.ip_forward is 0: nothing is forwarded between the LAN and the
         tunnels

dc-a  10.77.0.0/25 through vc-dc-a, MTU 1414
  ike  up         00:12:34  198.51.100.1:4500-203.0.113.10:4500
  esp  up         00:12:34  aes-gcm-16-256 in UDP, SPI 0xf4e746eb/0x433ae85b
  gre  up         00:12:34  both ends send keepalives and answer them
  bgp  up         00:12:34  established with 100.64.1.1, 2 routes in, 1 out
  data out 21,657 packets, 27.8 MB; in 1,066 packets, 52.7 kB

dc-b  10.77.0.128/25 through vc-dc-b, MTU 1414
  ike  connecting 00:00:23  peer said AUTHENTICATION_FAILED in IKE_AUTH; next
                            attempt in 00:00:18
  esp  down       00:00:23  IKE is not up
  gre  down       00:00:23  no child SA yet
  bgp  down       00:00:23  no child SA: IKE is not up
  data out 0 packets, 0 B; in 0 packets, 0 B
  drop outbound no sa 12, esp authentication failed 3, gre key mismatch 1

     prefix        through      interface  metric  table
  *  10.77.0.0/24  dc-a         vc-dc-a       196  main
     10.77.0.0/24  unreachable  -            4196  main
  *  10.77.0.0/25  dc-a         vc-dc-a       196  177
"""


def test_both_tunnels_on_one_narrow_screen() -> None:
    assert printed(summary.render, samples.STATUS, width=NARROW) == UP_AND_REFUSED


def test_a_wide_screen_has_a_line_for_each_layer() -> None:
    text = printed(summary.render, samples.STATUS, width=WIDE)
    assert widest(text) <= WIDE
    assert len(text.splitlines()) == len(UP_AND_REFUSED.splitlines()) - 2


def test_all_is_well_in_the_first_line() -> None:
    well = samples.STATUS | {"tunnels": {"dc-a": samples.STATUS_UP, "dc-b": samples.STATUS_UP}}
    assert (
        printed(summary.render, well).splitlines()[0] == "branch-1 (cpe)  running for 01:06:40; 2 tunnels up"
    )


def test_a_tunnel_that_restarts_says_so_in_every_layer() -> None:
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": samples.RESTARTING}})
    assert text.count("restarting after a fault of vcstack") == len(summary.LAYERS)


@pytest.mark.parametrize("layer", summary.LAYERS)
@pytest.mark.parametrize("state", ["connecting", "down"])
def test_the_reason_of_a_layer_that_is_not_up_is_shown(layer: str, state: str) -> None:
    tunnel = samples.STATUS_UP | {layer: samples.STATUS_UP[layer] | samples.layer(state, "for this reason")}
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": tunnel}})
    assert f"dc-a {layer} {state}" in text.splitlines()[0]
    assert "for this reason" in text


@pytest.mark.parametrize("layer", ["ike", "bgp"])
def test_the_last_error_is_shown_while_another_attempt_is_made(layer: str) -> None:
    trouble = samples.layer("connecting", "trying again") | {"last_error": "peer said NO_PROPOSAL_CHOSEN"}
    tunnel = samples.STATUS_UP | {layer: samples.STATUS_UP[layer] | trouble}
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": tunnel}})
    assert "trying again; last error: peer said NO_PROPOSAL_CHOSEN" in text


def test_a_request_that_nobody_answers_is_named() -> None:
    ike = samples.layer("connecting", "starting") | {"outstanding": "IKE_SA_INIT"}
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": samples.STATUS_UP | {"ike": ike}}})
    assert "starting; IKE_SA_INIT unanswered" in text


def test_a_line_that_is_down_tells_the_verdict_on_keepalives() -> None:
    gre = samples.layer("down", "3 keepalives unanswered") | {
        "keepalives": samples.KEEPALIVES | {"verdict": "the peer never answers"}
    }
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": samples.STATUS_UP | {"gre": gre}}})
    assert "3 keepalives unanswered; the peer never answers" in text


def test_denied_routes_and_another_identity_are_named() -> None:
    tunnel = samples.STATUS_UP | {
        "bgp": samples.STATUS_UP["bgp"] | {"prefixes_denied": 2},
        "ike": samples.STATUS_UP["ike"] | {"peer_id": "dc-a.example"},
    }
    text = printed(summary.render, samples.STATUS | {"tunnels": {"dc-a": tunnel}})
    assert "2 routes in, 2 denied, 1 out" in text
    assert "dc-a.example, 198.51.100.1:4500-203.0.113.10:4500" in text


def test_a_pfs_mismatch_is_shown_where_the_child_sa_is_up_and_a_proof_is_not() -> None:
    for verdict, shown in (
        ("PFS mismatch: peer said NO_PROPOSAL_CHOSEN", True),
        ("PFS proven: ecp384", False),
    ):
        esp = samples.STATUS_UP["esp"] | {"pfs": verdict}
        status = samples.STATUS | {"tunnels": {"dc-a": samples.STATUS_UP | {"esp": esp}}}
        assert (verdict in printed(summary.render, status, width=WIDE)) is shown
