"""Two IKEv2 endpoints that rekey over a network which loses, repeats, delays, reorders and corrupts.

Invariants: every packet that the network delivers can be opened; there is always an SA to send on whose
other half is installed at the peer; IKE never goes down; and when the network is good again both ends
have the same single IKE SA and child, with keys that match.
"""

import pytest

from tests.support.ike_pair import (
    ESP,
    ESP_PFS,
    Network,
    Pair,
    initiator_config,
    responder_config,
)
from vcstack.ikev2.config import RetransmitPolicy
from vcstack.ikev2.events import IkeDown
from vcstack.ikev2.proposal import EspProposal

PATIENT = RetransmitPolicy(base_s=0.5, tries=14, ceiling_s=4.0)


def rekeying_pair(seed: int) -> Pair:
    """Short lifetimes; with even seeds both ends tend to rekey at the same time."""
    changes = {
        "child_lifetime_s": 60.0,
        "ike_lifetime_s": 150.0,
        "rekey_margin": 0.5,
        "rekey_jitter": 0.1 if seed % 2 else 0.0,
        "retransmit": PATIENT,
        "dpd_retransmit": PATIENT,
        "esp_proposals": (EspProposal.parse(ESP if seed % 3 else ESP_PFS),),
    }
    return Pair(initiator_config(**changes), responder_config(**changes), seed=seed).establish()


def assert_both_can_send(pair: Pair) -> None:
    """What each end sends on is installed at the other."""
    for node in pair.nodes:
        assert node.data.outbound is not None
        assert pair.other(node).data.can_receive(node.data.outbound.spi_out, pair.now)


@pytest.mark.parametrize("seed", range(16))
def test_rekeying_over_a_bad_network(seed: int) -> None:
    """Ten minutes with a rekeying every half minute."""
    pair = rekeying_pair(seed)
    pair.packet_interval_s = 0.25
    pair.check = lambda: assert_both_can_send(pair)
    pair.network = Network(delay_s=0.02, jitter_s=0.6, loss=0.2, duplication=0.1, corruption=0.05)
    pair.run(600.0)
    pair.network = Network()
    pair.run(60.0)
    for node in pair.nodes:
        assert node.data.refused == []
        assert node.data.unsent == []
        assert node.data.sent > 2000
        assert node.saw(IkeDown) == 0
        assert node.endpoint.counters["IKE SA rekeyed"] >= 5
    pair.assert_one_tunnel()


@pytest.mark.parametrize("seed", range(8))
def test_recovery_from_outages(seed: int) -> None:
    """The network goes and comes back; whatever was lost, one tunnel comes of it."""
    pair = rekeying_pair(seed)
    for round_ in range(4):
        pair.network = Network(loss=1.0)
        pair.run(20.0 + 40.0 * ((seed + round_) % 4))
        pair.network = Network(loss=0.3, jitter_s=0.3)
        pair.run(30.0)
    pair.network = Network()
    pair.run(240.0)
    assert_both_can_send(pair)
    assert len(list(pair.agree())) == 1


@pytest.mark.parametrize("seed", range(8))
def test_both_initiate_over_a_bad_network(seed: int) -> None:
    """Both ends call, lose packets, and are restarted; in the end there is one tunnel."""
    pair = Pair(
        initiator_config(),
        responder_config(initiate=True),
        seed=seed,
        network=Network(delay_s=0.05, jitter_s=0.5, loss=0.3, duplication=0.1),
    ).start()
    pair.run(60.0)
    pair.act(pair.nodes[seed % 2], lambda endpoint: endpoint.reinitiate(pair.now, "test"))
    pair.run(60.0)
    pair.network = Network()
    pair.run(240.0)
    pair.assert_one_tunnel()
