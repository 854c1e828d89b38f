"""With charon when things go wrong: lost messages, exchanges that cross, ends that forget everything."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.charon_site import CharonSite, Peer
from tests.support.ike_process import LiveEnd
from tests.support.netns import Network
from vcstack.ikev2.config import BackoffPolicy, RetransmitPolicy
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.iana import ExchangeType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vcstack.ikev2.wire.header import Header

pytestmark = [pytest.mark.netns, pytest.mark.interop]

ROLES = ("we", "charon")
MESSAGES = range(4)
"""How many of the messages of one kind are lost one after the other, each in a tunnel of its own."""
LOSSY = [
    Peer(name=f"lossy-{index}", index=index, ike="aes128-sha256-ecp256", esp="aes256gcm16-ecp256")
    for index in range(2 * 2 * len(MESSAGES))
]
FIRST = len(LOSSY)
MIXED = Peer(name="mixed", index=FIRST)
BOTH_START = Peer(name="both-start", index=FIRST + 1)
RESTART = Peer(name="restart", index=FIRST + 2)
PEERS = [*LOSSY, MIXED, BOTH_START, RESTART]
QUICK = RetransmitPolicy(base_s=0.3, tries=8)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    with (
        Network() as network,
        closing(
            CharonSite(network, tmp_path_factory.mktemp("charon"), PEERS, "retransmit_timeout = 0.5")
        ) as site,
    ):
        yield site


def losing(number: int) -> Callable[[Header], bool]:
    """Loses one message: the first, the second, ..."""
    counter = itertools.count()
    return lambda _: next(counter) != number


async def live(site: CharonSite, peer: Peer, role: str, way: str, number: int) -> None:
    """The life of a tunnel, less one message."""
    end = LiveEnd(site.branch, peer.config(initiate=role == "we", retransmit=QUICK, init_retransmit=QUICK))
    setattr(end, way, losing(number))
    async with site.tunnel_of(peer, end, role):
        by = role
        setattr(end, way, losing(number))
        await site.rekey_child(peer, end, by)
        setattr(end, way, losing(number))
        await site.rekey_ike(peer, end, by)
        assert end.saw(IkeDown) == []


def test_every_message_may_be_lost_once(site: CharonSite) -> None:
    """One by one of IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA and the DELETEs, of either direction."""

    async def scenario() -> None:
        ways = ("before_message", "before_sending")
        cases = zip(LOSSY, itertools.product(ROLES, ways, MESSAGES), strict=True)
        async with asyncio.TaskGroup() as group:
            for peer, case in cases:
                group.create_task(live(site, peer, *case))

    asyncio.run(scenario())


def once(end: LiveEnd, exchange: ExchangeType, act: Callable[[], None]) -> Callable[[Header], bool]:
    """Does something just before the peer's first request of a kind is seen."""

    def before_message(header: Header) -> bool:
        if header.exchange == exchange and not header.is_response:
            end.before_message = lambda _: True
            act()
        return True

    return before_message


@pytest.mark.parametrize("ours", ["child", "ike"])
def test_a_child_rekey_crosses_an_ike_rekey(site: CharonSite, ours: str) -> None:
    """We refuse with TEMPORARY_FAILURE, and charon does if it was not told yet (RFC 7296 section 2.25).

    Ours is repeated then, and nothing is lost meanwhile.
    """

    async def scenario() -> None:
        async with site.tunnel(MIXED, rekey_retry=BackoffPolicy(floor_s=0.5)) as end:
            rekey, spis = (end.rekey_child, "child_spis") if ours == "child" else (end.rekey_ike, "ike_spis")
            old = getattr(end, spis)
            end.before_message = once(end, ExchangeType.CREATE_CHILD_SA, rekey)
            await site.swanctl("--rekey", "--ike" if ours == "child" else "--child", MIXED.name)
            counters = end.endpoint.counters
            await end.until(lambda: counters["tx error TEMPORARY_FAILURE"], "our refusal")
            await site.carries(MIXED, end)
            await end.replaced(partial(getattr, end, spis), old, "the second attempt")
            await site.carries(MIXED, end)
            assert end.saw(IkeDown) == []

    asyncio.run(scenario())


def test_both_ends_initiate_at_once(site: CharonSite) -> None:
    """Both IKE SAs come up, and charon deletes none: we do, after a while."""

    async def scenario() -> None:
        config = BOTH_START.config(redundant_child_s=1.0)
        async with LiveEnd(site.branch, config) as end:
            end.before_message = once(end, ExchangeType.IKE_SA_INIT, end.start)
            await site.initiate(BOTH_START)
            await end.until(lambda: end.endpoint.counters["simultaneous IKE SA resolved"], "both IKE SAs")
            await site.carries(BOTH_START, end, by_newest=False)
            await end.until(lambda: len(end.ike_spis) == len(end.child_spis) == 1, "a single tunnel")
            await site.settled(BOTH_START)
            await site.carries(BOTH_START, end)
            assert end.saw(IkeDown) == []
            await end.close()

    asyncio.run(scenario())


def test_we_forget_everything(site: CharonSite) -> None:
    """INITIAL_CONTACT makes charon drop what it still has (RFC 7296 section 2.4)."""

    async def scenario() -> None:
        async with LiveEnd(site.branch, RESTART.config()) as end:
            end.start()
            await end.until(lambda: end.is_up, "the tunnel")
        async with site.tunnel(RESTART):
            await site.settled(RESTART)

    asyncio.run(scenario())


@pytest.mark.parametrize("initiator", ROLES)
def test_charon_forgets_everything(tmp_path: Path, initiator: str) -> None:
    """We notice by its silence and start anew, or it does: the new tunnel takes the old one's place."""

    async def scenario(site: CharonSite) -> None:
        impatient = replace(QUICK, tries=3)
        config = RESTART.config(dpd_interval_s=0.5 if initiator == "we" else 60.0, dpd_retransmit=impatient)
        async with LiveEnd(site.branch, config) as end:
            end.start()
            await end.until(lambda: end.is_up, "the tunnel")
            old = end.child_spis
            site.restart()
            if initiator == "charon":
                await site.initiate(RESTART)
            await end.replaced(lambda: end.child_spis, old, "the restart")
            await site.settled(RESTART)
            await site.carries(RESTART, end)
            assert len(end.saw(IkeDown)) == (initiator == "we")
            await end.close()

    with Network() as network, closing(CharonSite(network, tmp_path / "charon", [RESTART])) as site:
        asyncio.run(scenario(site))
