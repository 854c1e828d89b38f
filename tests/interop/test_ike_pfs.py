"""The early proof of PFS with charon: what it agrees to and refuses, and a tunnel that works throughout."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.charon_site import CharonSite, Peer
from tests.support.netns import Network
from vcstack.ikev2.events import IkeDown, InboundReady, PfsJudged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.interop]

GCM = "aes256gcm16"
AGREED = Peer(name="pfs-agreed", index=0, esp=f"{GCM}-ecp384")
OTHER = Peer(name="pfs-other", index=1, esp=f"{GCM}-ecp384-ecp256", charon_esp=f"{GCM}-ecp256")
WITHOUT = Peer(name="pfs-without", index=2, esp=f"{GCM}-ecp384", charon_esp=GCM)
FOREIGN = Peer(name="pfs-foreign", index=3, esp=f"{GCM}-ecp384", charon_esp=f"{GCM}-modp3072")
REFUSED = "PFS mismatch: peer said NO_PROPOSAL_CHOSEN"
CASES = [
    (AGREED, PfsJudged(is_proven=True, verdict="PFS proven: ecp384")),
    (OTHER, PfsJudged(is_proven=True, verdict="PFS proven: ecp256")),
    (WITHOUT, PfsJudged(is_proven=False, verdict=REFUSED)),
    (FOREIGN, PfsJudged(is_proven=False, verdict=REFUSED)),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    with Network() as network:
        site = CharonSite(network, tmp_path_factory.mktemp("charon"), [peer for peer, _ in CASES])
        yield site
        site.close()


@pytest.mark.parametrize(("peer", "verdict"), CASES, ids=lambda value: getattr(value, "name", ""))
def test_verdict(site: CharonSite, peer: Peer, verdict: PfsJudged) -> None:
    """A second after bring-up; a mismatch leaves the first child in use."""

    async def scenario() -> None:
        async with site.tunnel(peer, early_pfs_proof_s=1.0) as end:
            first = end.spi_in
            assert await end.until(lambda: end.saw(PfsJudged), "a verdict") == [verdict]
            await end.until(lambda: len(end.child_spis) == 1, "a single child")
            assert (end.spi_in != first) == verdict.is_proven
            assert len(end.saw(InboundReady)) == 1 + verdict.is_proven
            await site.carries(peer, end)
            assert end.endpoint.snapshot(0.0).pfs == verdict.verdict
            assert end.saw(IkeDown) == []

    asyncio.run(scenario())
