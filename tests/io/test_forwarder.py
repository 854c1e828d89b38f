"""A forwarder and its peer, in memory."""

import pytest

from tests.support.forwarding import two_ends, udp_packet


@pytest.mark.parametrize("udp", [True, False])
@pytest.mark.parametrize("key", [None, 7])
@pytest.mark.parametrize("esn", [True, False])
def test_packets_arrive_as_they_left(udp: bool, key: int | None, esn: bool) -> None:
    one, other = two_ends(udp=udp, gre_key=key, esn=esn)
    sent = [udp_packet(bytes([size % 256]) * size, port=size) for size in (0, 1, 160, 160, 161, 1300, 3, 2)]
    for packet in sent:
        one.tun.inject(packet)
    one.step()
    other.step()
    assert other.tun.packets() == sent
    assert other.count("inbound_authenticated") == len(sent)
