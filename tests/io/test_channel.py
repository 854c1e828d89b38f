"""The channel between control and a forwarder."""

import os
from ipaddress import IPv4Address

import pytest

from vcstack.dataplane.counters import COUNTERS_BYTES, Counter, Counters
from vcstack.esp.lifetime import Lifetime
from vcstack.esp.parameters import SaParameters
from vcstack.io import channel
from vcstack.io.shared import create_counters, map_counters
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector


def connected() -> tuple[channel.ControlEnd, channel.ForwarderEnd]:
    control, theirs = channel.pair()
    return control, channel.ForwarderEnd(theirs)


def test_messages_arrive_in_order_and_whole() -> None:
    control, forwarder = connected()
    path = channel.SetPath(IPv4Address("198.51.100.1"), 4500, IPv4Address("198.51.100.10"), 4500, True)
    esp = channel.SlowPathEsp(bytes(65_000), IPv4Address("198.51.100.10"), 4500)
    control.send(path, esp, channel.Stop())
    assert forwarder.receive() == [path, esp, channel.Stop()]
    assert forwarder.receive() == []
    report = channel.LineState(False, "3 keepalives unanswered")
    forwarder.send(report, channel.Offloads(("udp-segment",)))
    assert control.receive() == [report, channel.Offloads(("udp-segment",))]


def test_end_of_file_is_told_apart_from_silence() -> None:
    control, forwarder = connected()
    control.send(channel.Stop())
    control.close()
    assert forwarder.receive() == [channel.Stop()]
    with pytest.raises(channel.ChannelClosed):
        forwarder.receive()
    with pytest.raises(channel.ChannelClosed):
        forwarder.send(channel.Fault("late"))


def test_what_the_kernel_does_not_take_waits() -> None:
    control, forwarder = connected()
    sent = [channel.IkeDatagram(bytes(60_000), IPv4Address(index), 500) for index in range(40)]
    forwarder.send(*sent)
    assert forwarder.wants_write
    received: list[channel.Report] = []
    while len(received) < len(sent):
        received += control.receive()
        forwarder.flush()
    assert received == sent
    assert not forwarder.wants_write


def test_counters_are_read_through_another_mapping() -> None:
    descriptor = create_counters("test")
    writer, reader = map_counters(descriptor, writable=True), map_counters(descriptor, writable=False)
    os.close(descriptor)
    writer.add(Counter.INBOUND_AUTHENTICATED, 7)
    writer.add(Counter.INBOUND_AUTHENTICATED)
    assert reader[Counter.INBOUND_AUTHENTICATED] == 8
    assert reader.snapshot()["inbound_authenticated"] == 8
    with pytest.raises(TypeError):
        reader.add(Counter.INBOUND_AUTHENTICATED)


def test_counters_have_a_cell_each() -> None:
    counters = Counters(bytearray(COUNTERS_BYTES))
    for counter in Counter:
        counters.set(counter, counter + 1)
    assert list(counters.snapshot().values()) == [counter + 1 for counter in Counter]


def test_a_security_association_crosses_with_its_key() -> None:
    control, forwarder = connected()
    host = TrafficSelector.host(IPv4Address("192.0.2.1"), 47)
    sa = SaParameters(
        spi=0x1000,
        key=Secret(bytes(range(36))),
        key_bits=256,
        local_selectors=(host,),
        remote_selectors=(host, host),
        esn=True,
        lifetime=Lifetime(soft_s=3000.0, hard_s=3600.0, soft_bytes=1 << 40),
    )
    control.send(channel.InstallInbound(sa), channel.InstallOutbound(sa), channel.Retire(0x1000, 5.0, True))
    assert forwarder.receive() == [
        channel.InstallInbound(sa),
        channel.InstallOutbound(sa),
        channel.Retire(0x1000, 5.0, True),
    ]


def test_configuration_crosses() -> None:
    config = channel.ForwarderConfig(
        name="dc-a", gre_local=IPv4Address("192.0.2.1"), gre_remote=IPv4Address("192.0.2.2"), gre_key=7
    )
    assert channel.decode_command(channel.encode(channel.Configure(config))) == channel.Configure(config)
