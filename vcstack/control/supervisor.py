"""The daemon: everything is made here, handed to whom needs it, and taken down in order.

A tunnel whose code fails is torn down and started again alone; the other one does not notice.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import signal
from typing import TYPE_CHECKING, Any

import uvloop

from vcstack.control import host, log, status
from vcstack.control.api_server import AlreadyRunningError, CannotServeError, Server
from vcstack.control.routes import RouteTable
from vcstack.control.site import Host, InterfaceLostError, Site
from vcstack.ikev2.errors import ConfigurationError
from vcstack.io import clock
from vcstack.io.ike_socket import IkeSocket
from vcstack.io.monitor import Monitor
from vcstack.io.netlink import Netlink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.control.config import Configuration

_RESTART_FLOOR_S = 1.0
_RESTART_CEILING_S = 60.0
_STABLE_S = 60.0
"""A tunnel that ran this long is forgiven: its successor starts soon."""
_LOG = log.get("supervisor")


class StartError(Exception):
    """The daemon cannot start; one line says why."""


def run(configuration: Configuration) -> None:
    """Run until SIGTERM or SIGINT. Raises StartError; nothing is left behind in any case."""
    log.configure(configuration.log_level)
    for problem in configuration.warnings:
        _LOG.warning("%s", problem)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Supervisor(configuration).run())
    except StartError:
        raise
    except Exception as error:
        _LOG.debug("a fault of vcstack", exc_info=error)
        raise StartError(f"a fault of vcstack: {error!r}") from error


class Supervisor:
    """One daemon."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._started_at = clock.now()
        self._netlink = Netlink()
        tunnels = {tunnel.name: tunnel.interface.name for tunnel in configuration.tunnels.values()}
        self._routes = RouteTable(
            self._netlink, configuration.region, tunnels, guard=configuration.role == "cpe"
        )
        addresses = {tunnel.ipsec.local_address for tunnel in configuration.tunnels.values()}
        self._sockets = {address: IkeSocket(address) for address in sorted(addresses)}
        self._sites: dict[str, Site] = {}
        self._monitor = Monitor(self._disturbed)
        self._restart_delay_s = dict.fromkeys(tunnels, _RESTART_FLOOR_S)
        self._replaced_at = dict.fromkeys(tunnels, self._started_at)
        self._warnings: list[str] = []
        self._server = Server(configuration.control_socket, self._commands())
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start, wait for a signal, stop. Raises StartError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            await self._start()
            await self._stopping.wait()
            _LOG.info("stopping")
        except (OSError, ConfigurationError, AlreadyRunningError, CannotServeError) as error:
            raise StartError(_in_words(error)) from error
        finally:
            await self._stop()

    async def _start(self) -> None:
        right = host.missing_right()
        if right is not None:
            raise StartError(right)
        self._server.claim()
        for socket in self._sockets.values():
            socket.open()
        for name in self._configuration.tunnels:
            self._sites[name] = self._make(name)
        # The kernel is asked in this order: leftovers go before interfaces come.
        kernel = asyncio.ensure_future(self._open_routes())
        starting = (kernel, *(site.start() for site in self._sites.values()))
        for result in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        await self._server.open()
        self._monitor.open()
        self._report_host()
        gc.freeze()  # what exists now stays: later collections need not look at it

    async def _open_routes(self) -> None:
        removed = await self._routes.open()
        if removed:
            _LOG.info("%d routes and rules of a predecessor removed", removed)
        self._spawn(self._routes.run())

    async def _stop(self) -> None:
        self._monitor.close()
        ends = await asyncio.gather(*(site.stop() for site in self._sites.values()), return_exceptions=True)
        for error in filter(None, ends):
            _LOG.error("while stopping: %r", error)
        for task in self._tasks:
            task.cancel()
        if self._server.claimed:
            await self._routes.close(keep_guard=self._configuration.keep_unreachable)
        for socket in self._sockets.values():
            socket.close()
        await self._netlink.close()
        await self._server.close()

    def _report_host(self) -> None:
        interfaces = [tunnel.interface.name for tunnel in self._configuration.tunnels.values()]
        self._warnings = host.warnings(interfaces)
        for text in self._warnings:
            _LOG.warning("%s", text)
        roles = f"{self._configuration.role} {self._configuration.name}"
        _LOG.info("%s started with %s", roles, " and ".join(self._configuration.tunnels))

    # ---- sites

    def _make(self, name: str) -> Site:
        shared = Host(self._configuration, self._netlink, self._routes, self._sockets)
        return Site(self._configuration.tunnels[name], shared, functools.partial(self._failed, name))

    def _failed(self, name: str, error: Exception) -> None:
        site = self._sites.pop(name, None)
        if site is None or self._stopping.is_set():
            return
        expected = isinstance(error, InterfaceLostError)
        reason = str(error) if expected else f"failed with {error!r}"
        _LOG.error("%s %s; it is started again", name, reason, exc_info=None if expected else error)
        if clock.now() - self._replaced_at[name] > _STABLE_S:
            self._restart_delay_s[name] = _RESTART_FLOOR_S
        self._spawn(self._replace(name, site))

    async def _replace(self, name: str, broken: Site) -> None:
        await broken.abandon()
        while True:
            await asyncio.sleep(self._restart_delay_s[name])
            self._restart_delay_s[name] = min(2 * self._restart_delay_s[name], _RESTART_CEILING_S)
            site = self._make(name)
            try:
                await site.start()
            except Exception as error:  # noqa: BLE001 (whatever it is, the other tunnel goes on)
                _LOG.error("%s cannot start: %s", name, error, exc_info=not isinstance(error, OSError))
                await site.abandon()
            else:
                self._sites[name] = site
                self._replaced_at[name] = clock.now()
                return

    def _disturbed(self) -> None:
        self._routes.doubt()
        for site in self._sites.values():
            site.network_changed()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what the command line asks

    def _commands(self) -> dict[str, Any]:
        return {"status": self._status, "show": self._show}

    def _status(self, _: Mapping[str, Any]) -> object:
        age = clock.now() - self._started_at
        return status.summary(self._configuration, self._sites, self._routes, age, self._warnings)

    def _show(self, request: Mapping[str, Any]) -> object:
        return status.show(str(request.get("what")), self._sites, self._routes)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
