"""The TCP driver: two of them over loopback, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.bgp.pair import CPE, DC
from tests.bgp.script import KEEPALIVE, their_open
from vcstack.bgp.config import Graceful
from vcstack.bgp.events import Down, Event, Failed, Up
from vcstack.bgp.fsm import State
from vcstack.bgp.peer import Peer
from vcstack.bgp.wire.refresh import RouteRefresh
from vcstack.io import clock
from vcstack.io.entropy import entropy
from vcstack.io.tcp import BgpDriver
from vcstack.io.tcp_socket import describe
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

_NETS = itertools.count(1)
LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


class End:
    """One driver and what its peer has told."""

    def __init__(self, cpe: bool, net: int, password: str | None = None, **changes: Any) -> None:
        local, remote = (f"127.{net}.0.{host}" for host in ((2, 1) if cpe else (1, 2)))
        config = replace(
            CPE if cpe else DC,
            local_address=IPv4Address(local),
            remote_address=IPv4Address(remote),
            connect_retry_s=0.3,
            idle_hold_floor_s=0.05,
            **changes,
        )
        self.events: list[Event] = []
        self.ahead_s = 0.0
        self.bugs: list[Exception] = []
        self.driver = BgpDriver(
            Peer(config, entropy),
            config.local_address,
            config.remote_address,
            None,
            Secret(password.encode()) if password else None,
            now=lambda: clock.now() + self.ahead_s,
            on_event=self.events.append,
            failed=self.bugs.append,
            tunnel_mtu=1422,
            port=1790,
        )

    @property
    def state(self) -> State:
        return self.driver.peer.state

    @property
    def blocked(self) -> bool:
        session = self.driver.peer._sessions.established
        return session is not None and session.blocked

    @property
    def answers(self) -> int:
        return self.driver.peer.snapshot().counters.messages_sent["update"]

    def received(self, kind: str) -> int:
        return self.driver.peer.snapshot().counters.messages_received[kind]

    async def until(self, condition: Callable[[], object], timeout_s: float = 8.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                assert not self.bugs
                await asyncio.sleep(0.01)

    async def up(self) -> None:
        await self.until(lambda: self.state is State.ESTABLISHED)

    async def failure(self) -> str:
        failures: Iterator[Failed] = (event for event in self.events if isinstance(event, Failed))
        await self.until(lambda: any(isinstance(event, Failed) for event in self.events))
        return next(failures).reason


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[End, End], Awaitable[None]]], None]:
    """Run a test's coroutine with both ends, and stop them whatever happens."""

    def runner(test: Callable[[End, End], Awaitable[None]], **dc: Any) -> None:
        net = next(_NETS)
        password = dc.pop("password", "secret")

        async def body() -> None:
            both = {key: value for key, value in dc.items() if key != "passive"}
            cpe = End(cpe=True, net=net, password="secret", **both)
            centre = End(False, net, password, **dc)
            try:
                await test(cpe, centre)
            finally:
                for end in (cpe, centre):
                    end.driver.stop()
                await asyncio.gather(cpe.driver.drained(), centre.driver.drained())
            assert not cpe.bugs
            assert not centre.bugs

        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(body())

    return runner


def test_session_with_md5_and_a_stop_that_is_heard(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        cpe.driver.start()
        await cpe.up()
        await cpe.until(lambda: cpe.driver.peer.snapshot().counters.messages_received["update"])
        seen = cpe.driver.snapshot()
        assert (seen.ttl, seen.gtsm, seen.md5, seen.max_segment_bytes) == (1, False, True, 1382)
        assert seen.local is not None
        assert seen.remote is not None
        assert seen.local[0] == str(cpe.driver.peer.config.local_address)
        dc.driver.stop("over and out")
        await cpe.until(lambda: any(isinstance(event, Down) for event in cpe.events))
        (down,) = (event for event in cpe.events if isinstance(event, Down))
        assert down.reason.endswith('(6/2): "over and out"')
        dc.driver.start()
        await cpe.up()
        assert [type(event) for event in cpe.events].count(Up) == 2

    run(test)


def test_wrong_password(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        cpe.driver.start()
        assert "BGP password differs" in await cpe.failure()
        assert cpe.state is not State.ESTABLISHED

    run(test, password="another")


def test_nobody_answers_then_somebody_connects(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        cpe.driver.start()
        await cpe.failure()
        dc.driver.start()
        await cpe.up()
        assert cpe.driver.peer.snapshot().outbound is True

    run(test, passive=True)


def test_a_taken_port_does_not_stop_connecting(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        with contextlib.closing(socket.socket()) as taken:
            taken.bind((str(cpe.driver.peer.config.local_address), 1790))
            taken.listen()
            cpe.driver.start()
            await cpe.up()
            seen = cpe.driver.snapshot()
            assert not seen.listening
            assert seen.listen_error.endswith("TCP 1790: Address already in use")

    run(test)


def test_strangers_are_not_let_in(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        cpe.driver.start()
        loop = asyncio.get_running_loop()
        with socket.socket() as stranger:
            stranger.setblocking(False)
            stranger.bind((str(cpe.driver.peer.config.local_address), 0))
            await loop.sock_connect(stranger, (str(cpe.driver.peer.config.local_address), 1790))
            with contextlib.suppress(ConnectionResetError):
                assert await loop.sock_recv(stranger, 1) == b""
        assert cpe.driver.peer.snapshot().counters.messages_sent["open"] == 0
        await dc.until(lambda: True)

    run(test)


def test_a_password_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        End(cpe=True, net=250, password="x" * 81)


def test_errors_in_words() -> None:
    assert describe(ConnectionRefusedError(111, "x")).startswith("connection refused")
    assert describe(OSError(1, "x")) == "Operation not permitted"
    assert describe(ValueError("odd")) == "odd"


def test_a_new_password_on_both_sides_is_not_noticed(run: Callable[..., None]) -> None:
    """The kernel takes a new key for a connection that stands, and the session survives the change."""

    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        cpe.driver.start()
        await cpe.up()
        await dc.up()
        for end in (cpe, dc):
            end.driver.set_password(Secret(b"another"))
        before = cpe.received("update")
        cpe.driver.call(cpe.driver.peer.refresh)
        await cpe.until(lambda: cpe.received("update") > before)
        dc.driver.stop("next, a new connection")
        await cpe.until(lambda: any(isinstance(event, Down) for event in cpe.events))
        dc.driver.start()
        await cpe.up()
        assert [type(event) for event in cpe.events].count(Up) == 2
        assert [type(event) for event in cpe.events].count(Down) == 1

    run(test)


@pytest.mark.parametrize("first", ["cpe", "dc"])
def test_a_new_password_on_one_side_keeps_the_other_out(run: Callable[..., None], first: str) -> None:
    """Listener, attempts and connection are all given the new key: nothing of the old one is left."""

    async def test(cpe: End, dc: End) -> None:
        early, late = (cpe, dc) if first == "cpe" else (dc, cpe)
        early.driver.start()
        late.driver.start()
        await cpe.up()
        early.driver.set_password(Secret(b"another"))
        early.driver.call(early.driver.peer.refresh)  # nobody takes these bytes any more
        await asyncio.sleep(0.5)
        assert late.received("route_refresh") == 0
        early.driver.stop()
        early.driver.start()
        await early.failure()
        assert early.state is not State.ESTABLISHED
        late.driver.set_password(Secret(b"another"))
        late.driver.stop()
        late.driver.start()
        await early.up()

    run(test)


def test_a_password_can_be_taken_away_and_given(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        dc.driver.set_password(None)
        dc.driver.set_password(None)
        cpe.driver.set_password(None)
        cpe.driver.start()
        await cpe.up()
        assert not cpe.driver.snapshot().md5
        with pytest.raises(ValueError, match="80 bytes"):
            cpe.driver.set_password(Secret(b"x" * 81))

    run(test)


def test_a_peer_that_does_not_read_is_left(run: Callable[..., None]) -> None:
    """RFC 9687: the peer's TCP window is shut, and its keepalives go on."""

    async def test(cpe: End, dc: End) -> None:
        loop, config = asyncio.get_running_loop(), cpe.driver.peer.config
        with contextlib.closing(socket.socket()) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((str(config.remote_address), 1790))
            listener.listen()
            cpe.driver.set_password(None)
            cpe.driver.start()
            sock, _ = await loop.sock_accept(listener)
            with contextlib.closing(sock):
                await loop.sock_sendall(sock, their_open().build() + KEEPALIVE)
                await cpe.up()
                refresh = RouteRefresh().build()
                answers = -1
                while answers != cpe.answers:  # a loop may report a write that waits for its next turn only
                    answers = cpe.answers
                    await loop.sock_sendall(sock, refresh * 2000)
                    await asyncio.sleep(0.1)
                assert cpe.blocked
                cpe.ahead_s = 20.0  # less than the hold time, more than the send hold time when it is over
                cpe.driver.call(cpe.driver.peer.handle_timeout)
                await loop.sock_sendall(sock, KEEPALIVE)
                await cpe.until(
                    lambda: cpe.driver.peer.snapshot().counters.messages_received["keepalive"] == 2
                )
                cpe.ahead_s = 40.0
                cpe.driver.call(cpe.driver.peer.handle_timeout)
        (down,) = (event for event in cpe.events if isinstance(event, Down))
        assert "Send Hold Timer Expired (8/0)" in down.reason

    run(test, passive=True, send_hold_time_s=31.0)


def test_a_suspended_driver_closes_without_a_word(run: Callable[..., None]) -> None:
    async def test(cpe: End, dc: End) -> None:
        dc.driver.start()
        cpe.driver.start()
        await cpe.up()
        await dc.up()
        cpe.driver.suspend()
        cpe.driver.suspend()
        await dc.until(lambda: any(isinstance(event, Down) for event in dc.events))
        (down,) = (event for event in dc.events if isinstance(event, Down))
        assert down == Down("TCP: the peer closed the connection", routes_kept_s=120)
        assert not cpe.driver.snapshot().listening
        assert cpe.state is State.IDLE

    run(test, passive=True, graceful=Graceful())
