"""The peer may use an SA as soon as it is told of it: its first packet is not lost."""

import socket
import time
from contextlib import closing
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.forwarding import (
    KEYS,
    LOCAL,
    OUTER_LOCAL,
    OUTER_REMOTE,
    REMOTE,
    End,
    capture,
    forwarder_config,
    install,
    sa_parameters,
    two_ends,
    udp_packet,
)
from tests.support.scalar_path import sealed
from vcstack.dataplane.counters import Counters
from vcstack.gre.packet import encapsulate
from vcstack.io import channel
from vcstack.io.forwarder import Forwarder
from vcstack.io.inbox import Inbox
from vcstack.io.memory import MemoryTun, join
from vcstack.io.udp import UdpTransport
from vcstack.io.worker import Worker, open_transport

NEW = channel.InstallInbound(sa_parameters(0x3003, KEYS[0], REMOTE, LOCAL))
PATH = channel.SetPath(OUTER_REMOTE, 4500, OUTER_LOCAL, 4500, True)


def packets_on_new_sa(count: int, first: int = 1) -> list[bytes]:
    inner = udp_packet(bytes(100))
    return sealed([encapsulate(inner, LOCAL, REMOTE)] * count, KEYS[0], 0x3003, first=first)


class Waiting:
    """A channel that commands wait in."""

    def __init__(self, *commands: channel.Command) -> None:
        self.commands = list(commands)
        self.looks = 0

    def receive(self) -> list[channel.Command]:
        self.looks += 1
        taken, self.commands = self.commands[:1], self.commands[1:]
        return taken


def receiver(waiting: Waiting) -> tuple[End, Inbox]:
    """An end at `REMOTE` without an SA, to which the commands in `waiting` have not yet come."""
    _, transport = join()
    end = End(forwarder_config(REMOTE, LOCAL), transport)
    inbox = Inbox(waiting.receive)
    end.forwarder = Forwarder(end.config, end.tun, lambda *_: transport, end.counters, 0.0, inbox)
    end.forwarder.apply(PATH, 0.0)
    return end, inbox


def test_a_packet_fetches_its_sa_from_the_channel() -> None:
    other_command = channel.Retire(0x9999, 0.0, inbound=True)
    waiting = Waiting(other_command, NEW, channel.Stop())
    end, inbox = receiver(waiting)
    for datagram in packets_on_new_sa(3):
        end.transport.deliver(datagram)
    end.step()
    assert len(end.tun.packets()) == 3
    assert end.count("esp_drop_unknown_spi") == 0
    assert channel.InboundUsed(0x3003) in end.reports
    assert [inbox.next(), inbox.next(), inbox.next()] == [other_command, channel.Stop(), None]


def test_esp_by_way_of_control_fetches_it_too() -> None:
    end, _ = receiver(Waiting(NEW))
    (datagram,) = packets_on_new_sa(1)
    end.forwarder.apply(channel.SlowPathEsp(datagram, OUTER_LOCAL, 7777), 0.0)
    assert len(end.tun.packets()) == 1


def test_foreign_spis_cost_one_look_per_batch() -> None:
    waiting = Waiting()
    end, _ = receiver(waiting)
    for spi in range(0x5000, 0x5020):
        end.transport.deliver(spi.to_bytes(4) + bytes(60))
    end.step()
    assert waiting.looks == 1
    assert end.count("esp_drop_unknown_spi") == 32
    waiting.commands.append(NEW)
    for datagram in (bytes([9]) * 64, *packets_on_new_sa(1), bytes([8]) * 64):
        end.transport.deliver(datagram)
    end.step()
    assert len(end.tun.packets()) == 1
    assert end.count("esp_drop_unknown_spi") == 34


def test_an_sa_that_is_known_costs_no_look() -> None:
    one, other = two_ends()
    waiting = Waiting()
    again = Forwarder(
        other.config, other.tun, lambda *_: other.transport, other.counters, 0.0, Inbox(waiting.receive)
    )
    again.apply(PATH, 0.0)
    other.forwarder = again
    datagrams: list[bytes] = []
    one.transport.tap = capture(datagrams)
    install(one, other, 0x1111, 0x2222)
    one.tun.inject(udp_packet(b"x"))
    one.step()
    other.step()
    assert len(datagrams) == len(other.tun.packets()) == 1
    assert waiting.looks == 0


@pytest.mark.parametrize("noticed", [False, True], ids=["channel unread", "channel last"])
def test_the_worker_obeys_control_before_it_reads_packets(noticed: bool) -> None:
    """`noticed`: epoll tells of the channel, but behind the socket."""
    control, theirs = channel.pair()
    end = channel.ForwarderEnd(theirs)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    device, counters = MemoryTun(), Counters()
    inbox = Inbox(end.receive)
    now = time.monotonic()
    forwarder = Forwarder(forwarder_config(REMOTE, LOCAL), device, open_transport, counters, now, inbox)
    tun: Any = SimpleNamespace(fileno=peer.fileno, name="vc0", control_queue=-1)
    worker = Worker(end, tun, forwarder, inbox)
    loopback = IPv4Address("127.0.0.1")
    forwarder.apply(channel.SetPath(loopback, 0, loopback, peer.getsockname()[1], True), now)
    worker._follow_transport()
    transport = forwarder.transport
    assert isinstance(transport, UdpTransport)
    with closing(peer), closing(transport):
        control.send(NEW, channel.InstallOutbound(sa_parameters(0x4004, KEYS[1], REMOTE, LOCAL)))
        for datagram in packets_on_new_sa(2):
            peer.sendto(datagram, transport._socket.getsockname())
        answer = [(transport.fileno(), 1)] + [(end.fileno(), 1)] * noticed
        polls: Any = SimpleNamespace(poll=lambda _timeout: answer, register=lambda *_: None)
        worker._epoll = polls
        worker._turn()
        assert len(device.packets()) == 2
        assert counters.snapshot()["esp_drop_unknown_spi"] == 0
        assert forwarder._sad.current is not None  # what stood behind it was obeyed in the same turn
    control.close()
    end.close()
