"""`vcstack show ikev2` as text."""

from __future__ import annotations

from tests.cli import samples
from tests.cli.views.printing import NARROW, WIDE, printed, widest
from vcstack.cli.views import ikev2

UP = """\
dc-a  up 00:12:34  203.0.113.10 authenticated

  IKE SA 22b2a1c2a0dac83d / b4f5a6871d03fe97  established
  local          198.51.100.1 port 4500, id cpe.example
  remote         203.0.113.10 port 4500, id 203.0.113.10
  role           initiator
  encryption     aes256gcm16, keysize 256, PRF sha384, hash none, DH group 20
  proposal       aes256gcm16-prfsha384-ecp384
  auth           sign pre-shared key, verify pre-shared key
  active time    00:12:34, rekey in 20:58:11, expires in 23:47:25
  message ids    next request 2, expected request 0, window of the peer 1
  liveness       DPD after 10 s, peer heard 00:00:03 ago
  NAT            this end behind a NAT; ESP in UDP: yes
  fragmentation  negotiated

  exchange     tx request  rx response  rx request  tx response
  IKE_SA_INIT           1            1           0            0
  IKE_AUTH              1            1           0            0
  counted        attempt 1
"""
REFUSED = """\
dc-b  waiting 00:00:08  peer said AUTHENTICATION_FAILED in IKE_AUTH
  attempts       5 failed in a row, the last 00:00:08 ago, next one in 00:00:10
  peer           203.0.113.10

  exchange  tx request  rx response  rx request  tx response
  IKE_AUTH           5            0           0            0
  counted        attempt 5, rx error AUTHENTICATION_FAILED 5
"""


def test_an_established_sa_fits_a_narrow_screen() -> None:
    assert printed(ikev2.render, {"dc-a": samples.IKEV2_UP}, width=NARROW) == UP


def test_a_refusal_is_in_the_first_line_with_the_next_attempt_below() -> None:
    assert printed(ikev2.render, {"dc-b": samples.IKEV2_REFUSED}, width=NARROW) == REFUSED


def test_an_sa_in_negotiation_shows_what_it_waits_for() -> None:
    text = printed(ikev2.render, {"dc-b": samples.IKEV2_UNANSWERED}, width=NARROW)
    for words in (
        "IKE SA 22b2a1c2a0dac83d / unknown  initiating",
        "id not known yet",
        "not negotiated yet",
        "IKE_SA_INIT unanswered; queued IKE_AUTH",
        "1 failed in a row",
    ):
        assert words in text
    assert "liveness" not in text


def test_what_was_last_wrong_stays_while_the_sa_is_up() -> None:
    trouble = {"last_error": "peer said TS_UNACCEPTABLE in CREATE_CHILD_SA", "last_error_age_s": 9.6}
    text = printed(ikev2.render, {"dc-a": samples.IKEV2_UP | trouble})
    assert "last error     peer said TS_UNACCEPTABLE in CREATE_CHILD_SA, 00:00:09 ago" in text


def test_cbc_a_ppk_vendors_and_a_limit_of_the_peer_are_named() -> None:
    more = {
        "encryption": "aes256",
        "integrity": "sha256",
        "ppk": True,
        "vendor_ids": ["CISCO-DELETE-REASON"],
        "peer_auth_lifetime_s": 3600,
        "nat_remote": True,
    }
    text = printed(
        ikev2.render, {"dc-a": samples.IKEV2_UP | {"ike_sas": [samples.IKE_SA | more]}}, width=WIDE
    )
    for words in (
        "aes256, keysize 256, PRF sha384, hash sha256, DH group 20",
        "verify pre-shared key; with a PPK",
        "vendor ids     CISCO-DELETE-REASON",
        "the peer wants reauthentication every 01:00:00",
        "this end and the peer behind a NAT",
    ):
        assert words in text
    assert widest(text) <= WIDE


def test_the_verdict_on_pfs_is_shown_once() -> None:
    proven = {"dc-a": samples.IKEV2_UP | {"pfs": "PFS proven: ecp384"}}
    assert "  PFS            proven: ecp384\n" in printed(ikev2.render, proven, width=WIDE)
    said = "PFS mismatch: peer said NO_PROPOSAL_CHOSEN"
    refused = {"dc-a": samples.IKEV2_UP | {"pfs": said, "last_error": said, "last_error_age_s": 1.0}}
    assert printed(ikev2.render, refused, width=WIDE).count("mismatch") == 1
