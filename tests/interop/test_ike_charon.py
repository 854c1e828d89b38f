"""What charon may ask of us, or we of charon, on the way to a tunnel and while it is up."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.charon_site import CENTRE_TRANSPORT, CharonSite, Peer
from tests.support.ike_process import LiveEnd
from tests.support.netns import Network
from vcstack.ikev2.events import ChildRetired, IkeDown, IkeUp, InboundReady
from vcstack.ikev2.iana import ExchangeType
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from vcstack.ikev2.wire.header import Header

pytestmark = [pytest.mark.netns, pytest.mark.interop]

BOTH_ROLES = pytest.mark.parametrize("initiator", ["we", "charon"])
GCM = "aes256gcm16"

FIRST_GROUP_REFUSED = Peer(
    name="init-ke",
    index=0,
    ike=f"{GCM}-prfsha384-curve25519-ecp384",
    charon_ike=f"{GCM}-prfsha384-ecp384",
    esp=f"{GCM}-curve25519-ecp256",
    charon_esp=f"{GCM}-ecp256",
)
CHARONS_FIRST_GROUP_REFUSED = Peer(
    name="init-ke-back",
    index=1,
    ike=f"{GCM}-prfsha384-ecp384",
    charon_ike=f"{GCM}-prfsha384-modp3072-ecp384",
    esp=f"{GCM}-ecp256",
    charon_esp=f"{GCM}-modp2048-ecp256",
)
SECRETS = [
    Peer(name="psk-1", index=2, psk=b"k"),
    Peer(name="psk-65", index=3, ike="aes256gcm16-prfsha256-ecp256", psk=b"k" * 65),
    Peer(name="psk-129", index=4, ike="aes256gcm16-prfsha512-ecp256", psk=bytes(range(129))),
    Peer(name="psk-1000", index=5, ike="aes256-sha384-ecp256", psk=bytes(range(250)) * 4),
]
IDENTITIES = [
    Peer(name="fqdn", index=6, branch_id="fqdn:branch-1.example", centre_id="fqdn:dc-a.example"),
    Peer(name="key-id", index=7, branch_id="keyid:branch-1", centre_id="keyid:centre"),
    Peer(name="mixed", index=8, branch_id="keyid:branch-2"),
    Peer(name="inside", index=9, branch_id="192.168.1.2", centre_id="fqdn:dc-b.example"),
]
NO_IDR = Peer(name="no-idr", index=10, charon_branch_id="%any")
WIDE_CENTRE = Peer(name="wide-centre", index=11, centre_ts="10.255.1.0/24")
NARROW_CENTRE = Peer(name="narrow-centre", index=12)
CROSSING = Peer(name="crossing", index=13)
TERMINATED = Peer(name="terminated", index=14)
IDLE = Peer(name="idle", index=15, charon_dpd="1s")
COOKIE, HALF_OPEN = Peer(name="cookie", index=16), Peer(name="half-open", index=17)
WRONG_SECRET = Peer(name="wrong-secret", index=18)
PEERS = [
    *(FIRST_GROUP_REFUSED, CHARONS_FIRST_GROUP_REFUSED, *SECRETS, *IDENTITIES, NO_IDR, WIDE_CENTRE),
    *(NARROW_CENTRE, CROSSING, TERMINATED, IDLE, COOKIE, HALF_OPEN, WRONG_SECRET),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    with Network() as network, closing(CharonSite(network, tmp_path_factory.mktemp("charon"), PEERS)) as site:
        yield site


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def pfs_groups(end: LiveEnd) -> list[int | None]:
    """Of all children so far, in order."""
    return [ready.child.pfs_group for ready in end.saw(InboundReady)]


def test_charon_refuses_our_first_group(site: CharonSite) -> None:
    """INVALID_KE_PAYLOAD in IKE_SA_INIT, and in the child rekeys of ours (RFC 7296 sections 1.2, 1.3)."""

    async def scenario() -> None:
        peer = FIRST_GROUP_REFUSED
        async with site.tunnel(peer) as end:
            assert end.endpoint.counters["rx INVALID_KE_PAYLOAD"] == 1
            await site.rekey_child(peer, end, "we")
            await site.rekey_ike(peer, end, "we")
            await site.rekey_child(peer, end, "we")
            assert pfs_groups(end) == [None, 19, 19]

    run(scenario())


def test_we_refuse_the_first_group_of_charon(site: CharonSite) -> None:
    async def scenario() -> None:
        peer = CHARONS_FIRST_GROUP_REFUSED
        async with site.tunnel(peer, "charon") as end:
            assert end.endpoint.counters["rx IKE_SA_INIT refused: INVALID_KE_PAYLOAD"] == 1
            await site.rekey_child(peer, end, "charon")
            await site.rekey_ike(peer, end, "charon")
            await site.rekey_child(peer, end, "charon")
            assert pfs_groups(end) == [None, 19, 19]

    run(scenario())


@BOTH_ROLES
@pytest.mark.parametrize("peer", SECRETS, ids=lambda peer: peer.name)
def test_secrets_of_any_length_and_content(site: CharonSite, peer: Peer, initiator: str) -> None:
    """HMAC hashes a key that is longer than its block: 64 bytes with SHA2-256, 128 with the others."""

    async def scenario() -> None:
        async with site.tunnel(peer, initiator):
            pass

    run(scenario())


@BOTH_ROLES
@pytest.mark.parametrize("peer", IDENTITIES, ids=lambda peer: peer.name)
def test_identities(site: CharonSite, peer: Peer, initiator: str) -> None:
    async def scenario() -> None:
        async with site.tunnel(peer, initiator) as end:
            (up,) = end.saw(IkeUp)
            assert up.peer_id == end.config.remote_id
            sas = await site.swanctl("--list-sas", "--ike", peer.name)
            for identity in (peer.branch_id, peer.centre_id):
                assert f"'{identity.split(':')[-1]}'" in sas

    run(scenario())


@BOTH_ROLES
def test_the_initiator_sends_no_idr(site: CharonSite, initiator: str) -> None:
    async def scenario() -> None:
        before = len(site.charon.log())
        async with site.tunnel(NO_IDR, initiator, remote_id=None):
            log = site.charon.log()[before:]
            said = "parsed" if initiator == "we" else "generating"
            assert f"{said} IKE_AUTH request 1 [ IDi AUTH " in log

    run(scenario())


@BOTH_ROLES
def test_a_wrong_secret_is_refused(site: CharonSite, initiator: str) -> None:
    async def scenario() -> None:
        wrong = Secret(b"another secret")
        config = WRONG_SECRET.config(initiate=initiator == "we", local_psk=wrong, remote_psk=wrong)
        async with LiveEnd(site.branch, config) as end:
            end.start()
            if initiator == "charon":
                assert "AUTHENTICATION_FAILED" in await site.initiate(WRONG_SECRET, check=False)
            error = await end.until(lambda: end.endpoint.status.last_error, "an error")
            assert error is not None
            assert (
                "peer said AUTHENTICATION_FAILED" if initiator == "we" else "we refused the peer"
            ) in error
            assert end.inbound == {}

    run(scenario())


@BOTH_ROLES
def test_one_end_narrows_what_the_other_offers(site: CharonSite, initiator: str) -> None:
    """Ours is GRE between two hosts; charon offers and takes all protocols and a /24."""

    async def scenario() -> None:
        async with site.tunnel(WIDE_CENTRE, initiator) as end:
            (ready,) = end.saw(InboundReady)
            assert ready.child.remote_ts == end.config.remote_ts
            assert f"{CENTRE_TRANSPORT}/32[gre]" in await site.swanctl(
                "--list-sas", "--ike", WIDE_CENTRE.name
            )
            await site.rekey_child(WIDE_CENTRE, end, "we")
            await site.rekey_child(WIDE_CENTRE, end, "charon")

    run(scenario())


@BOTH_ROLES
def test_we_are_narrowed(site: CharonSite, initiator: str) -> None:
    async def scenario() -> None:
        network = IPv4Address("10.255.1.0"), IPv4Address("10.255.1.255")
        wide = TrafficSelector(protocol=0, start=network[0], end=network[1])
        async with site.tunnel(NARROW_CENTRE, initiator, remote_ts=(wide,)) as end:
            (ready,) = end.saw(InboundReady)
            assert ready.child.remote_ts == (TrafficSelector.host(CENTRE_TRANSPORT, 47),)
            await site.rekey_child(NARROW_CENTRE, end, "we")

    run(scenario())


@pytest.mark.parametrize(("what", "rounds"), [("child", 4), ("ike", 2)])
def test_rekeys_that_cross(site: CharonSite, what: str, rounds: int) -> None:
    """Our request leaves before we see charon's (RFC 7296 sections 2.8.1, 2.8.2): one SA is left, and works.

    Where our request arrives while charon works, 5.9.8 drops our answer to its own. It repeats its request
    after a second, unless our DELETE of the old IKE SA was faster: then it never deletes what it lost.
    """

    async def scenario() -> None:
        async with site.tunnel(CROSSING) as end:
            spis = partial(getattr, end, "child_spis" if what == "child" else "up_ike_spis")
            for _ in range(rounds):
                old = spis()
                end.before_message = partial(cross, end, what)
                await site.swanctl("--rekey", f"--{what}", CROSSING.name)
                await end.replaced(spis, old, "crossing rekeys")
                await site.settled(CROSSING)
                await site.carries(CROSSING, end)
            requests = (f"{way} request CREATE_CHILD_SA" for way in ("tx", "rx"))
            assert [end.endpoint.counters[request] for request in requests] == [rounds, rounds]
            assert end.saw(IkeDown) == []

    run(scenario())


def cross(end: LiveEnd, what: str, header: Header) -> bool:
    """Rekey just before charon's rekey is seen, once."""
    if header.exchange == ExchangeType.CREATE_CHILD_SA and not header.is_response:
        end.before_message = lambda _: True
        end.rekey_child() if what == "child" else end.rekey_ike()
    return True


def test_charon_deletes_the_child(site: CharonSite) -> None:
    async def scenario() -> None:
        async with site.tunnel(TERMINATED) as end:
            old = end.spi_in
            await site.swanctl("--terminate", "--child", TERMINATED.name)
            await end.until(lambda: end.saw(ChildRetired) != [], "the end of the child")
            await end.until(lambda: end.spi_in not in (0, old), "another child")
            await site.carries(TERMINATED, end)
            assert end.saw(IkeDown) == []

    run(scenario())


def test_charon_deletes_the_ike_sa(site: CharonSite) -> None:
    async def scenario() -> None:
        async with site.tunnel(TERMINATED) as end:
            await site.swanctl("--terminate", "--ike", TERMINATED.name)
            await end.until(lambda: end.saw(IkeDown) != [], "the end of the IKE SA")
            await end.until(lambda: len(end.saw(IkeUp)) == 2 and end.is_up, "another one")
            await site.carries(TERMINATED, end)

    run(scenario())


def test_both_ends_ask_whether_the_other_lives(site: CharonSite) -> None:
    async def scenario() -> None:
        async with site.tunnel(IDLE, dpd_interval_s=0.6) as end:
            counters = end.endpoint.counters
            await end.until(lambda: counters["rx response INFORMATIONAL"] >= 2, "answers to our checks")
            end.endpoint.config = replace(end.config, dpd_interval_s=0.0)
            await end.until(lambda: counters["rx request INFORMATIONAL"] >= 2, "charon's checks")
            assert end.saw(IkeDown) == []

    run(scenario())


def test_charon_has_to_return_our_cookie(site: CharonSite) -> None:
    async def scenario() -> None:
        async with site.tunnel(COOKIE, "charon", cookie_threshold=0) as end:
            assert end.endpoint.counters["tx COOKIE"] == 1

    run(scenario())


@pytest.mark.parametrize("peer", [COOKIE, FIRST_GROUP_REFUSED], ids=lambda peer: peer.name)
def test_charon_asks_for_a_cookie(tmp_path: Path, peer: Peer) -> None:
    """With one half-open IKE SA it does; with INVALID_KE_PAYLOAD on top of it (RFC 7296 section 2.6.1)."""

    async def scenario(site: CharonSite) -> None:
        async with LiveEnd(site.branch, HALF_OPEN.config()) as other:
            other.before_message = lambda _: False
            other.start()
            await other.until(lambda: "IKE_SA_INIT response" in site.charon.log(), "a half-open IKE SA")
            async with site.tunnel(peer) as end:
                assert end.endpoint.counters["rx COOKIE"] >= 1
                assert end.endpoint.counters["rx INVALID_KE_PAYLOAD"] == (peer is FIRST_GROUP_REFUSED)

    with (
        Network() as network,
        closing(CharonSite(network, tmp_path / "charon", PEERS, settings="cookie_threshold = 1")) as site,
    ):
        asyncio.run(scenario(site))
