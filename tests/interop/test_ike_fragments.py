"""IKE fragments with charon (RFC 7383), cut so small that even messages with a pre-shared key need them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.charon_site import CharonSite, Peer
from tests.support.ike_process import LiveEnd
from tests.support.netns import Network
from vcstack.ikev2.config import RetransmitPolicy
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.iana import PayloadType

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from vcstack.ikev2.wire.header import Header

pytestmark = [pytest.mark.netns, pytest.mark.interop]

ROLES = ("we", "charon")
LONG_ID = f"fqdn:{'branch' * 20}.example"
CHARON_SIZE, OUR_SIZE = 220, 256
"""Bytes of the largest IP packet."""
GCM = Peer(name="frag-gcm", index=0, branch_id=LONG_ID)
CBC = Peer(name="frag-cbc", index=1, ike="aes256-sha384-ecp384", branch_id=LONG_ID)
WHOLE = Peer(name="frag-none", index=2, branch_id=LONG_ID)
LOSSY = [Peer(name=f"frag-loss-{index}", index=3 + index, branch_id=LONG_ID) for index in range(12)]
QUICK = RetransmitPolicy(base_s=0.3, tries=8)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    settings = f"fragment_size = {CHARON_SIZE}\n  retransmit_timeout = 0.5"
    with Network() as network:
        folder = tmp_path_factory.mktemp("charon")
        site = CharonSite(network, folder, [GCM, CBC, WHOLE, *LOSSY], settings)
        yield site
        site.close()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


@pytest.mark.parametrize("initiator", ROLES)
@pytest.mark.parametrize("peer", [GCM, CBC], ids=lambda peer: peer.name)
def test_both_cut(site: CharonSite, peer: Peer, initiator: str) -> None:
    """IKE_AUTH and all rekeyings, whoever asks."""

    async def scenario() -> None:
        async with site.tunnel(peer, initiator, fragment_size=OUR_SIZE) as end:
            counters = end.endpoint.counters
            for by in ROLES:
                await site.rekey_child(peer, end, by)
                await site.rekey_ike(peer, end, by)
            assert counters["tx message in fragments"] >= 5
            assert counters["rx fragment"] >= 2 * 5
            assert end.saw(IkeDown) == []
            (ike,) = end.endpoint.snapshot(0.0).ike_sas
            assert ike.fragmentation

    run(scenario())


@pytest.mark.parametrize("initiator", ROLES)
def test_not_agreed_on(site: CharonSite, initiator: str) -> None:
    """We do not offer it, so charon sends whole messages as well."""

    async def scenario() -> None:
        async with site.tunnel(WHOLE, initiator, fragment_size=None) as end:
            await site.rekey_child(WHOLE, end, "charon")
            assert end.endpoint.counters["rx fragment"] == 0

    run(scenario())


def losing(number: int) -> Callable[[Header], bool]:
    """Loses one fragment: the first, the second, ..."""
    counter = itertools.count()
    return lambda header: header.next_payload != PayloadType.SKF or next(counter) != number


def test_every_fragment_may_be_lost_once(site: CharonSite) -> None:
    """Of IKE_AUTH and a child rekey, in either direction: what is repeated is the whole message."""

    async def live(peer: Peer, role: str, way: str, number: int) -> None:
        policy = {"retransmit": QUICK, "init_retransmit": QUICK}
        config = peer.config(initiate=role == "we", fragment_size=OUR_SIZE, **policy)
        end = LiveEnd(site.branch, config)
        setattr(end, way, losing(number))
        async with site.tunnel_of(peer, end, role):
            setattr(end, way, losing(number))
            await site.rekey_child(peer, end, role)
            assert end.saw(IkeDown) == []

    async def scenario() -> None:
        cases = itertools.product(ROLES, ("before_message", "before_sending"), range(3))
        # One after the other: with several at once 5.9.8 sometimes falls silent on one of them.
        for peer, case in zip(LOSSY, cases, strict=True):
            await live(peer, *case)

    run(scenario())
