"""`vcstack show ipsec` as text."""

from __future__ import annotations

from tests.cli import samples
from tests.cli.views.printing import NARROW, printed
from vcstack.cli.views import ipsec

UP = """\
dc-a  up 00:12:34  1 child SA
  interface      vc-dc-a
  endpoints      local 198.51.100.1, remote 203.0.113.10
  path           198.51.100.1:4500-203.0.113.10:4500
  MTU            path 1500, plaintext 1438, tunnel 1414
  replay window  4,096 packets

  child SA SPI in 0xf4e746eb, out 0x433ae85b  active, carrying, initiator
  local ident    192.0.2.1/32[47]
  remote ident   192.0.2.10/32[47]
  transform      aes-gcm-16, keysize 256; tunnel mode, in UDP; ESN no
  PFS            no; the first child SA never has it
  active time    00:12:34, rekey in 00:39:33, expires in 00:47:25
  packets in              1,094   bytes             79,014    79.0 kB
  packets out            21,690   bytes         29,289,402    29.3 MB

  encapsulated   21,703 packets, 30,030,060 bytes (30.0 MB) on the wire
  decapsulated   1,104 packets of 1,107 datagrams, 119,332 bytes (119.3 kB)
  beside ESP     IKE 3
  dropped        none
"""
REFUSED = """\
dc-b  down 00:00:23  peer said TS_UNACCEPTABLE in CREATE_CHILD_SA
  interface      vc-dc-a
  endpoints      local 198.51.100.1, remote 203.0.113.10
  MTU            path not measured yet, tunnel 1414
  replay window  4,096 packets

  encapsulated   0 packets, 0 bytes on the wire
  decapsulated   0 packets of 0 datagrams, 0 bytes
  dropped        outbound no sa 12, esp authentication failed 3
"""


def test_a_child_sa_that_carries_traffic_fits_a_narrow_screen() -> None:
    assert printed(ipsec.render, {"dc-a": samples.IPSEC_UP}, width=NARROW) == UP


def test_a_refusal_is_in_the_first_line_and_drops_of_esp_in_the_last() -> None:
    assert printed(ipsec.render, {"dc-b": samples.IPSEC_REFUSED}, width=NARROW) == REFUSED


def test_during_a_rekey_both_child_sas_are_shown() -> None:
    old = samples.CHILD_SA | {"is_carrying": False, "state": "superseded", "rekey_in_s": None}
    new = samples.CHILD_SA | {
        "spi_in": "0x00000abc",
        "is_initiator": False,
        "pfs_group": 20,
        "esn": True,
        "udp_encapsulation": False,
        "rekey_failures": 2,
    }
    text = printed(ipsec.render, {"dc-a": samples.IPSEC_UP | {"child_sas": [old, new]}})
    for words in (
        "dc-a  up 00:12:34  2 child SAs",
        "child SA SPI in 0xf4e746eb, out 0x433ae85b  superseded, initiator",
        "child SA SPI in 0x00000abc, out 0x433ae85b  active, carrying, responder",
        "00:12:34, expires in 00:47:25",
        "tunnel mode, as protocol 50; ESN yes",
        "yes, DH group 20",
        "2 failed rekeys",
    ):
        assert words in text
