"""Every algorithm with charon: any two values of two columns of the matrix meet in one case at least.

A case brings the tunnel up, rekeys the child, the IKE SA, and the child once more under the new SK_d; packets
of both directions prove the keys of each child.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.charon_site import CharonSite, Peer
from tests.support.netns import Network
from tests.support.pairwise import Case, pairwise
from vcstack.ikev2.events import IkeDown, InboundReady

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.interop]

GROUPS = {
    "modp2048": 14,
    "modp3072": 15,
    "modp4096": 16,
    "ecp256": 19,
    "ecp384": 20,
    "ecp521": 21,
    "curve25519": 31,
}
FOLLOWING = dict(zip(GROUPS, [*list(GROUPS)[1:], next(iter(GROUPS))], strict=True))
FACTORS = {
    "cipher": (
        *("aes128gcm16", "aes256gcm16"),
        *("aes128-sha256", "aes128-sha384", "aes128-sha512"),
        *("aes256-sha256", "aes256-sha384", "aes256-sha512"),
    ),
    "prf": ("prfsha256", "prfsha384", "prfsha512"),
    "group": tuple(GROUPS),
    "esp": ("aes128gcm16", "aes256gcm16"),
    "pfs": ("none", "same group", "next group"),
    "initiator": ("we", "charon"),
    "child": ("we", "charon"),
    "ike": ("we", "charon"),
}
CASES = pairwise(FACTORS)


def pfs_group(case: Case) -> str | None:
    return {"none": None, "same group": case["group"], "next group": FOLLOWING[case["group"]]}[case["pfs"]]


def peer_of(index: int, case: Case) -> Peer:
    group = pfs_group(case)
    return Peer(
        name=f"case-{index}",
        index=index,
        ike=f"{case['cipher']}-{case['prf']}-{case['group']}",
        esp=case["esp"] if group is None else f"{case['esp']}-{group}",
    )


PEERS = [peer_of(index, case) for index, case in enumerate(CASES)]


def title(index: int) -> str:
    case, peer = CASES[index], PEERS[index]
    return f"{peer.ike}_{peer.esp}_{case['initiator']}-{case['child']}-{case['ike']}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    with Network() as network, closing(CharonSite(network, tmp_path_factory.mktemp("charon"), PEERS)) as site:
        yield site


@pytest.mark.parametrize("index", range(len(CASES)), ids=title)
def test_case(site: CharonSite, index: int) -> None:
    case, peer = CASES[index], PEERS[index]

    async def scenario() -> None:
        async with site.tunnel(peer, case["initiator"]) as end:
            await site.rekey_child(peer, end, case["child"])
            await site.rekey_ike(peer, end, case["ike"])
            await site.rekey_child(peer, end, "charon" if case["child"] == "we" else "we")
            group = pfs_group(case)
            rekeyed = None if group is None else GROUPS[group]
            assert [ready.child.pfs_group for ready in end.saw(InboundReady)] == [None, rekeyed, rekeyed]
            assert end.saw(IkeDown) == []

    asyncio.run(scenario())
