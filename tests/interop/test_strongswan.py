"""A data centre of strongSwan (libipsec), a GRE end of the tests and BIRD, against `vcstack up`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.netns import wait_until
from tests.support.strongswan_centre import CENTRE_TUNNEL, CPE_TUNNEL, HOST, LAN, SESSION, StrongswanCentre

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]


def check_the_road(site: StrongswanCentre) -> None:
    """Pings, routes, keepalives of both sides: everything that a data centre can see of us."""
    assert site.cpe_space.ping(CENTRE_TUNNEL)
    assert site.centre.ping(CPE_TUNNEL)
    assert site.cpe_space.ping(HOST, source=LAN)
    assert site.bird.learned() == {"0.0.0.0/0"}
    assert site.bird.refused() == set()
    routes = site.cpe_space.ip("route", "show", "proto", "176")
    assert "10.77.0.0/25 " in routes
    assert "10.77.0.0/24 " in routes
    before = site.gre_end()
    wait_until(lambda: site.gre_end()["replies"] > before["replies"] + 1, 5, "our answers to its keepalives")
    wait_until(lambda: site.gre_end()["reflected"] > before["reflected"] + 1, 5, "our keepalives")
    assert site.gre_end()["refused"] == 0


@pytest.mark.parametrize("nat", [False, True], ids=["direct", "nat"])
def test_we_initiate(tmp_path: Path, nat: bool) -> None:
    with StrongswanCentre(tmp_path, nat=nat) as site:
        site.start_centre()
        site.cpe.start()
        status = site.up()
        assert status["tunnels"]["dc-a"]["esp"]["udp_encapsulation"]
        check_the_road(site)
        wait_until(lambda: "PFS proven: ecp384" in reason(site, "esp"), 20, "the early proof of PFS")
        assert site.cpe_space.ping(HOST, source=LAN)


def test_the_peer_initiates(tmp_path: Path) -> None:
    with StrongswanCentre(tmp_path, ipsec="initiate = false") as site:
        site.start_centre()
        site.cpe.start()
        wait_until(lambda: site.cpe.ask("status"), 10, "the daemon")
        assert "completed successfully" in site.charon.initiate()
        site.up()
        check_the_road(site)


def test_a_gre_key(tmp_path: Path) -> None:
    with StrongswanCentre(tmp_path, gre="key = 77") as site:
        site.start_centre(key=77)
        site.cpe.start()
        site.up()
        check_the_road(site)


@pytest.mark.parametrize("nat", [False, True], ids=["direct", "nat"])
def test_rekeys_of_the_peer_lose_nothing(tmp_path: Path, nat: bool) -> None:
    with StrongswanCentre(tmp_path, nat=nat) as site:
        site.start_centre()
        site.cpe.start()
        site.up()
        ping = site.start_ping(600)
        for what in ("--child gre", "--ike peer", "--child gre"):
            watched = site.charon.child_spis if "child" in what else site.charon.ike_spis
            rekey(site, what, watched)
        assert site.lost(ping) == 0
        check_the_road(site)


def rekey(site: StrongswanCentre, what: str, spis: Callable[[], set[str]]) -> None:
    """Let charon rekey, and wait until it has a new SA."""
    old = spis()
    site.charon.swanctl("--rekey", *what.split())
    wait_until(lambda: spis() - old, 5, f"a new SA after --rekey {what}")


def test_our_rekeys_lose_nothing(tmp_path: Path) -> None:
    """Child SAs live 6 s and the IKE SA 9 s: both are rekeyed by us, with PFS, under a steady ping."""
    with StrongswanCentre(tmp_path, ipsec="child_lifetime_s = 6\nike_lifetime_s = 9") as site:
        site.start_centre()
        site.cpe.start()
        site.up()
        children, ikes = site.charon.child_spis(), site.charon.ike_spis()
        ping = site.start_ping(1200)
        wait_until(lambda: children.isdisjoint(site.charon.child_spis()), 12, "a child rekey of ours")
        wait_until(lambda: ikes.isdisjoint(site.charon.ike_spis()), 15, "an IKE rekey of ours")
        assert site.lost(ping) == 0
        assert "ESP:AES_GCM_16-256/ECP_384" in site.charon.sas()
        check_the_road(site)


def reason(site: StrongswanCentre, layer: str) -> str:
    """What the status says of a layer, with its last error."""
    answer: Any = site.cpe.ask("status")
    return str(answer["tunnels"]["dc-a"][layer]) if answer else ""


@pytest.mark.parametrize(
    ("changes", "layer", "words"),
    [
        ({"psk": "another secret"}, "ike", "AUTHENTICATION_FAILED"),
        ({"ike_proposal": "aes128-sha256-modp2048"}, "ike", "NO_PROPOSAL_CHOSEN"),
        ({"esp_proposal": "aes128gcm16"}, "esp", "NO_PROPOSAL_CHOSEN"),
        ({"remote_ts": "10.255.0.9/32[gre]"}, "esp", "TS_UNACCEPTABLE"),
        ({"local_id": "192.0.2.99"}, "ike", "AUTHENTICATION_FAILED"),
    ],
    ids=["psk", "ike-proposal", "esp-proposal", "selectors", "identity"],
)
def test_what_does_not_match_is_said_and_tried_again(
    tmp_path: Path, changes: dict[str, str], layer: str, words: str
) -> None:
    with StrongswanCentre(tmp_path) as site:
        right = site.connection
        site.variant(**changes)
        site.start_centre()
        site.cpe.start()
        wait_until(lambda: words in reason(site, layer), 15, f"{words} in the state of {layer}")
        site.charon.load(right)
        site.up(45)
        assert site.cpe_space.ping(CENTRE_TUNNEL)


def test_a_pfs_mismatch_is_said_while_the_tunnel_works(tmp_path: Path) -> None:
    with StrongswanCentre(tmp_path) as site:
        site.variant(esp_proposal="aes256gcm16")
        site.start_centre()
        site.cpe.start()
        site.up()
        verdict = "PFS mismatch: peer said NO_PROPOSAL_CHOSEN"
        wait_until(lambda: verdict in reason(site, "esp"), 20, "the early proof of PFS")
        check_the_road(site)


def test_a_wrong_as_number_is_said(tmp_path: Path) -> None:
    with StrongswanCentre(tmp_path, session=replace(SESSION, local_as=64999)) as site:
        site.start_centre()
        site.cpe.start()
        wait_until(lambda: "64999" in reason(site, "bgp"), 20, "the wrong AS number in the state of bgp")
        site.bird.reconfigure(SESSION)
        site.up(45)


def test_a_wrong_bgp_password_is_said(tmp_path: Path) -> None:
    with StrongswanCentre(tmp_path, session=replace(SESSION, password="not the same")) as site:
        site.start_centre()
        site.cpe.start()
        wait_until(lambda: "password" in reason(site, "bgp"), 30, "the password in the state of bgp")
        site.bird.reconfigure(SESSION)
        site.up(60)
