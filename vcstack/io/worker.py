"""The process of one tunnel: `python -m vcstack.io.worker --channel-fd N --tun-fd N --counters-fd N`.

It inherits three descriptors: its end of the channel, the TUN, which therefore outlives it, and the memory of
the counters. The first command is `Configure`. It leaves when control says so or is gone.

One epoll loop, asleep when nothing happens. The garbage collector never runs while packets wait: the data
path makes no cycles, and what start-up left is frozen. It runs when the loop has been idle.
"""

import argparse
import gc
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence

from vcstack.io import channel
from vcstack.io.channel import ChannelClosed, ForwarderConfig, ForwarderEnd, SetPath
from vcstack.io.forwarder import Forwarder
from vcstack.io.inbox import Inbox
from vcstack.io.rawesp import RawEspTransport
from vcstack.io.shared import map_counters
from vcstack.io.transport import Transport
from vcstack.io.tun import Tun
from vcstack.io.udp import UdpTransport

_COLLECT_EVERY_S = 60.0
_START_S = 30.0
_LONGEST_SLEEP_S = 60.0
_GONE = select.EPOLLERR | select.EPOLLHUP


def open_transport(path: SetPath, config: ForwarderConfig) -> Transport:
    """Open the sockets for a path. Raises `OSError`."""
    if path.udp_encapsulation:
        return UdpTransport(
            (path.local, path.local_port),
            (path.remote, path.remote_port),
            segment=config.udp_segment,
            gro=config.udp_gro,
            sendmmsg=config.sendmmsg,
            path_mtu_discovery=config.path_mtu_discovery,
        )
    return RawEspTransport(
        path.local, path.remote, sendmmsg=config.sendmmsg, path_mtu_discovery=config.path_mtu_discovery
    )


class Worker:
    """Turns readiness and time into calls of one forwarder."""

    def __init__(self, end: ForwarderEnd, tun: Tun, forwarder: Forwarder, inbox: Inbox | None = None) -> None:
        self._end = end
        self._inbox = inbox or Inbox(end.receive)
        self._tun = tun
        self._forwarder = forwarder
        self._epoll = select.epoll()
        self._epoll.register(end.fileno(), select.EPOLLIN)
        self._epoll.register(tun.fileno(), select.EPOLLIN)
        if tun.control_queue >= 0:
            self._epoll.register(tun.control_queue, select.EPOLLIN)
        self._channel_events = select.EPOLLIN
        self._transport_descriptor = -1
        self._collected_at = time.monotonic()

    def start(self, commands: Sequence[channel.Command], now: float) -> None:
        """Do what control asked for before the loop runs; from here on the collector only runs when idle."""
        for command in commands:
            self._obey(command, now)
        self._tell()
        gc.collect()
        gc.freeze()
        gc.disable()

    def run(self) -> None:
        """Forward until control says to stop. Raises `ChannelClosed` when control is gone."""
        while not self._forwarder.stopped:
            self._turn()

    def _turn(self) -> None:
        now = time.monotonic()
        deadline = self._forwarder.next_timeout()
        sleep = _LONGEST_SLEEP_S if deadline is None else min(_LONGEST_SLEEP_S, deadline.at - now)
        # epoll sleeps in whole milliseconds and would wake just before a deadline that it rounds down.
        ready = dict(self._epoll.poll(max(0.0, sleep + 0.001)))
        now = time.monotonic()
        if ready.pop(self._end.fileno(), 0):
            self._read_commands(now)
        if self._tun.control_queue in ready:
            self._dispatch(self._tun.control_queue, ready.pop(self._tun.control_queue), now)
        for descriptor, events in ready.items():
            self._dispatch(descriptor, events, now)
        if self._inbox.waits:
            self._read_commands(now)  # a packet had the channel read while it looked for its SA
        if deadline is not None and deadline.at <= now:
            self._forwarder.handle_timeout(now)
        self._tell()
        if not ready and now - self._collected_at > _COLLECT_EVERY_S:
            self._collected_at = now
            gc.collect()

    def _dispatch(self, descriptor: int, events: int, now: float) -> None:
        forwarder = self._forwarder
        queues = {self._tun.fileno(), self._tun.control_queue}
        if descriptor in queues and events & _GONE and not events & select.EPOLLIN:
            self._epoll.unregister(descriptor)
            if descriptor == self._tun.fileno():
                self._end.send(channel.Fault(f"interface {self._tun.name} is gone"))
        elif descriptor == self._tun.fileno():
            forwarder.device_readable(now)
        elif descriptor == self._tun.control_queue:
            forwarder.control_queue_readable(now)
        elif descriptor == self._transport_descriptor:
            forwarder.transport_readable(now)

    def _read_commands(self, now: float) -> None:
        self._inbox.fill()
        while (command := self._inbox.next()) is not None:
            self._obey(command, now)

    def _obey(self, command: channel.Command, now: float) -> None:
        if isinstance(command, channel.Ping):
            self._end.send(channel.Pong())
            return
        self._forwarder.apply(command, now)
        self._follow_transport()

    def _follow_transport(self) -> None:
        """A closed descriptor left the epoll set by itself; its number may be in use again."""
        transport = self._forwarder.transport
        descriptor = -1 if transport is None else transport.fileno()
        self._transport_descriptor = descriptor
        if descriptor >= 0:
            try:
                self._epoll.register(descriptor, select.EPOLLIN)
            except FileExistsError:
                return

    def _tell(self) -> None:
        reports = self._forwarder.reports_to_send()
        if reports:
            self._end.send(*reports)
        elif self._end.wants_write:
            self._end.flush()
        events = select.EPOLLIN | (select.EPOLLOUT if self._end.wants_write else 0)
        if events != self._channel_events:
            self._channel_events = events
            self._epoll.modify(self._end.fileno(), events)


def first_configuration(end: ForwarderEnd) -> tuple[ForwarderConfig, list[channel.Command]]:
    """Wait for the configuration; returns it and what came behind it. Raises `ChannelClosed`."""
    select.select([end.fileno()], [], [], _START_S)
    commands = end.receive()
    if not commands or not isinstance(commands[0], channel.Configure):
        raise ChannelClosed("control sent no configuration")
    return commands[0].config, commands[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker; returns the exit status."""
    parser = argparse.ArgumentParser(prog="vcstack.io.worker")
    for name in ("--channel-fd", "--tun-fd", "--counters-fd"):
        parser.add_argument(name, type=int, required=True)
    options = parser.parse_args(arguments)
    # Ctrl-C reaches the whole process group: control decides when forwarding ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = ForwarderEnd(socket.socket(fileno=options.channel_fd))
    try:
        config, waiting = first_configuration(end)
        tun = Tun.adopt(options.tun_fd)
        if config.interface_local is not None:
            tun.separate_control(config.interface_local)
        counters = map_counters(options.counters_fd, writable=True)
        now = time.monotonic()
        inbox = Inbox(end.receive)
        forwarder = Forwarder(config, tun, open_transport, counters, now, inbox)
        worker = Worker(end, tun, forwarder, inbox)
        worker.start(waiting, now)
        worker.run()
    except ChannelClosed:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
