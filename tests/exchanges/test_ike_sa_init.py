"""IKE_SA_INIT and IKE_AUTH, step by step."""

from tests.support.ike_pair import Pair
from vcstack.ikev2.events import IkeUp, InboundReady, OutboundReady


def test_regular() -> None:
    """Four messages, and both ends can send and receive."""
    pair = Pair().start()
    # a -> b  IKE_SA_INIT {SA, KEi, Ni, NAT-D}
    # a <- b  IKE_SA_INIT {SA, KEr, Nr, NAT-D}
    # a -> b  IKE_AUTH {IDi, IDr, AUTH, N(INITIAL_CONTACT), SA, TSi, TSr}
    # a <- b  IKE_AUTH {IDr, AUTH, SA, TSi, TSr}
    pair.run(1.0)
    assert [line.split("-> ")[1] for line in pair.history] == [
        "b IKE_SA_INIT request 0",
        "a IKE_SA_INIT response 0",
        "b IKE_AUTH request 1",
        "a IKE_AUTH response 1",
    ]
    assert [child.pfs_group for child, _ in pair.agree()] == [None]
    for node in pair.nodes:
        assert [type(event) for event in node.events] == [IkeUp, InboundReady, OutboundReady]
        assert node.endpoint.snapshot(pair.now).state == "up"
