"""Extended sequence numbers from the proposal to the packets (RFC 7296 3.3.2, RFC 4303 2.2.1)."""

import pytest

from tests.support.forwarding import End, forwarder_config, udp_packet
from tests.support.ike_pair import CPE, DATA_CENTRE, Pair, initiator_config, responder_config
from vcstack.control.translate import SaLimits, inbound_sa, outbound_sa
from vcstack.crypto.aead import gcm
from vcstack.crypto.errors import AuthenticationFailed
from vcstack.esp import packet
from vcstack.ikev2.child_sa import ChildSa
from vcstack.ikev2.proposal import DEFAULT_ESP_PROPOSALS, EspProposal
from vcstack.io.channel import InstallInbound, InstallOutbound, SetPath
from vcstack.io.memory import join

BASE = "aes256gcm16-curve25519"
LIMITS = SaLimits(replay_window=1024, bytes=None, packets=None)


def pair_with(ours: str, theirs: str) -> Pair:
    """Two ends with these proposals."""
    return Pair(
        initiator_config(esp_proposals=(EspProposal.parse(BASE + ours),)),
        responder_config(esp_proposals=(EspProposal.parse(BASE + theirs),)),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "esn"),
    [
        ("-esn-noesn", "-esn-noesn", True),
        ("-esn-noesn", "-noesn-esn", False),
        ("-noesn-esn", "-esn-noesn", True),
        ("-esn-noesn", "", False),
        ("", "-esn-noesn", False),
        ("-esn-noesn", "-esn", True),
        ("-esn", "-noesn-esn", True),
    ],
)
def test_negotiation(ours: str, theirs: str, esn: bool) -> None:
    """VPP-1910, VyOS PR 5284: peers with ESN only, with both, without; the responder chooses."""
    pair = pair_with(ours, theirs).establish()
    assert pair.assert_one_tunnel().esn is esn
    pair.rekey_child(pair.b)
    pair.run(1.0)
    assert pair.assert_one_tunnel().pfs_group == 31
    (child,) = pair.a.endpoint.snapshot(pair.now).child_sas
    assert child.esn is pair.assert_one_tunnel().esn


def test_no_agreement() -> None:
    """One end insists, the other refuses: the verdict names ESN."""
    pair = pair_with("-esn", "").start()
    pair.run(3.0)
    assert pair.a.data.outbound is None
    assert "ESN: we accept noesn, the peer offered esn" in str(pair.b.endpoint.snapshot(pair.now).last_error)


def test_the_default_takes_either() -> None:
    """Peers that offer only one of the two find it."""
    for text in ("-esn", "-noesn"):
        pair = Pair(
            initiator_config(esp_proposals=(EspProposal.parse(BASE + text),)),
            responder_config(esp_proposals=DEFAULT_ESP_PROPOSALS),
        ).establish()
        assert pair.assert_one_tunnel().esn is (text == "-esn")


def forwarders(one: ChildSa, other: ChildSa) -> tuple[End, End]:
    """What control makes of the negotiated child at both ends."""
    transports = join(udp=True)
    ends = (
        End(forwarder_config(CPE, DATA_CENTRE), transports[0]),
        End(forwarder_config(DATA_CENTRE, CPE), transports[1]),
    )
    for end, child, ways in zip(ends, (one, other), ((CPE, DATA_CENTRE), (DATA_CENTRE, CPE)), strict=True):
        end.forwarder.apply(SetPath(ways[0], 4500, ways[1], 4500, True), 0.0)
        end.forwarder.apply(InstallInbound(inbound_sa(child, LIMITS)), 0.0)
        end.forwarder.apply(InstallOutbound(outbound_sa(child, LIMITS)), 0.0)
    return ends


@pytest.mark.parametrize("esn", [True, False])
def test_packets_of_a_negotiated_child(esn: bool) -> None:
    """Both forwarders understand each other, and the upper half of the number is authenticated."""
    text = "-esn-noesn" if esn else ""
    pair = pair_with(text, text).establish()
    ((child, twin),) = pair.agree()
    one, other = forwarders(child, twin)
    seen: list[bytes] = []

    def tap(data: bytes) -> list[bytes]:
        seen.append(data)
        return [data]

    one.transport.tap = tap
    inner = [udp_packet(bytes([number]) * 100) for number in range(20)]
    for item in inner:
        one.tun.inject(item)
    one.step()
    other.step()
    assert other.tun.packets() == inner
    cipher = gcm(twin.key_in.reveal())
    assert packet.open(cipher, seen[0], esn_high=0 if esn else None).sequence == 1
    with pytest.raises(AuthenticationFailed):
        packet.open(cipher, seen[0], esn_high=None if esn else 0)
