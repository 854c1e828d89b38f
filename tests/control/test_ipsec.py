"""Two tunnels' IKEv2 against each other, and the commands that their forwarders get.

CPE  --- IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA over a wire in memory --->  data centre
 |                                                                             |
 v  commands                                                                   v  commands
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, get_args

from vcstack.control.ipsec import LINGER_S, Ipsec
from vcstack.control.layers import Layer, State
from vcstack.control.translate import SaLimits
from vcstack.ikev2 import events
from vcstack.ikev2.config import PeerConfig
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.path import Datagram, Path
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.io import channel
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from vcstack.ikev2.child_sa import ChildSa

CPE, CENTRE = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.10")
SELECTORS = [(TrafficSelector.host(IPv4Address(text), 47),) for text in ("10.255.0.1", "10.255.1.1")]


class Side:
    """One end: its Ipsec, and everything that it did, in order."""

    def __init__(
        self, local: IPv4Address, remote: IPv4Address, *, initiate: bool, psk: bytes = b"same"
    ) -> None:
        ours, theirs = SELECTORS if initiate else reversed(SELECTORS)
        self.local = local
        self.other: Side | None = None
        self.done: list[Any] = []
        self.carrying: list[ChildSa | None] = []
        self.failures: list[Exception] = []
        self.layers = (Layer("dc-a", "ike", _clock), Layer("dc-a", "esp", _clock))
        config = PeerConfig(
            name="dc-a",
            local_address=local,
            remote_address=remote,
            local_id=Identity.parse(str(local)),
            remote_id=Identity.parse(str(remote)),
            local_psk=Secret(psk),
            remote_psk=Secret(psk),
            ike_proposals=(IkeProposal.parse("aes256gcm16-prfsha256-curve25519"),),
            esp_proposals=(EspProposal.parse("aes256gcm16-curve25519"),),
            local_ts=ours,
            remote_ts=theirs,
            initiate=initiate,
        )
        limits = SaLimits(1024, None, None)
        self.ipsec = Ipsec(
            config,
            limits,
            self,  # type: ignore[arg-type]  # what is used of an IkeSocket
            lambda *commands: self.done.extend(commands),
            self.layers,
            self.carrying.append,
            self.failures.append,
        )

    def attach(self, _: Ipsec) -> None:
        """As IkeSocket."""

    def detach(self, _: Ipsec) -> None:
        """As IkeSocket."""

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """As IkeSocket: hand it to the other end, a little later."""
        for datagram in datagrams:
            self.done.append(datagram)
            back = Path(
                datagram.path.remote, datagram.path.remote_port, datagram.path.local, datagram.path.local_port
            )
            if self.other is not None:
                ipsec = self.other.ipsec
                asyncio.get_running_loop().call_soon(ipsec.ike_received, datagram.data, back)

    def commands(self, kind: type) -> list[Any]:
        return [item for item in self.done if isinstance(item, kind)]


def _clock() -> float:
    return 0.0


def together(body: Callable[[Side, Side], Awaitable[None]], *, psk: bytes = b"same") -> tuple[Side, Side]:
    async def main() -> tuple[Side, Side]:
        cpe = Side(CPE, CENTRE, initiate=True)
        centre = Side(CENTRE, CPE, initiate=False, psk=psk)
        cpe.other, centre.other = centre, cpe
        centre.ipsec.start()
        cpe.ipsec.start()
        await _quiet()
        await body(cpe, centre)
        await _quiet()
        cpe.ipsec.close()
        centre.ipsec.close()
        return cpe, centre

    sides = asyncio.run(main())
    for side in sides:
        assert side.failures == []
    return sides


async def _quiet() -> None:
    await asyncio.sleep(0.1)


async def nothing(_cpe: Side, _centre: Side) -> None:
    """Only come up."""


def test_both_ends_install_the_same_sas_crosswise() -> None:
    cpe, centre = together(nothing)
    for side in (cpe, centre):
        assert [str(layer.state) for layer in side.layers] == ["up", "up"]
    (cpe_in,), (cpe_out,) = cpe.commands(channel.InstallInbound), cpe.commands(channel.InstallOutbound)
    (dc_in,), (dc_out,) = centre.commands(channel.InstallInbound), centre.commands(channel.InstallOutbound)
    assert (cpe_in.sa.spi, cpe_in.sa.key) == (dc_out.sa.spi, dc_out.sa.key)
    assert (cpe_out.sa.spi, cpe_out.sa.key) == (dc_in.sa.spi, dc_in.sa.key)
    assert (cpe_in.sa.local_selectors, cpe_in.sa.remote_selectors) == tuple(SELECTORS)
    assert cpe_in.sa.replay_window == 1024


def test_the_responder_can_receive_before_the_initiator_can_send() -> None:
    _, centre = together(nothing)
    kinds = [type(item) for item in centre.done]
    installed = kinds.index(channel.InstallInbound)
    assert kinds.index(channel.SetPath) < installed
    answered = [index for index, kind in enumerate(kinds) if kind is Datagram]
    assert answered[0] < installed < answered[-1]


def test_a_rekey_switches_before_the_old_sa_is_retired() -> None:
    async def body(cpe: Side, _: Side) -> None:
        old = cpe.carrying[-1]
        assert old is not None
        cpe.done.clear()
        # The forwarder names the SA by either SPI.
        cpe.ipsec.reported(channel.SoftExpired(old.spi_out, "bytes"))

    cpe, centre = together(body)
    for side in (cpe, centre):
        old, new = side.carrying
        assert old is not None
        assert new is not None
        assert old.spi_in != new.spi_in
        assert side.ipsec.current is new
    kinds = [type(item) for item in cpe.done if not isinstance(item, Datagram)]
    assert kinds == [channel.InstallInbound, channel.InstallOutbound, channel.Retire, channel.Retire]
    inbound, outbound = cpe.commands(channel.Retire)
    assert (inbound.inbound, inbound.linger_s) == (True, LINGER_S)
    assert (outbound.inbound, outbound.linger_s) == (False, 0.0)


def test_the_use_of_an_sa_is_known_while_it_lives() -> None:
    async def body(cpe: Side, _: Side) -> None:
        old = cpe.carrying[-1]
        assert old is not None
        for report in (
            channel.SaUsage(old.spi_in, True, 5, 500),
            channel.SaUsage(old.spi_out, False, 7, 700),
        ):
            cpe.ipsec.reported(report)
        assert {key: used.packets for key, used in cpe.ipsec.usage.items()} == {
            (old.spi_in, True): 5,
            (old.spi_out, False): 7,
        }
        cpe.ipsec.reported(channel.SoftExpired(old.spi_in, "bytes"))
        await _quiet()
        cpe.ipsec.reported(channel.SaUsage(old.spi_in, True, 6, 600))  # it lingers

    cpe, _ = together(body)
    assert cpe.ipsec.usage == {}


def test_a_restarted_forwarder_gets_fresh_keys() -> None:
    async def body(cpe: Side, _: Side) -> None:
        cpe.ipsec.forwarder_lost("killed")
        assert cpe.carrying[-1] is None
        assert cpe.layers[1].state is State.DOWN
        cpe.done.clear()
        cpe.ipsec.forwarder_started()

    cpe, _ = together(body)
    assert cpe.layers[1].state is State.UP
    before, none, after = cpe.carrying
    assert none is None
    assert before is not None
    assert after is not None
    assert after.key_out != before.key_out
    kinds = {type(item) for item in cpe.done}
    assert {channel.SetPath, channel.InstallInbound, channel.InstallOutbound} <= kinds


def test_a_child_made_while_there_is_no_forwarder_is_replaced_too() -> None:
    async def body(cpe: Side, centre: Side) -> None:
        old = centre.carrying[-1]
        assert old is not None
        cpe.ipsec.forwarder_lost("killed")
        centre.ipsec.reported(channel.SoftExpired(old.spi_in, "bytes"))
        await _quiet()
        assert cpe.ipsec.current is None
        cpe.done.clear()
        cpe.ipsec.forwarder_started()

    cpe, centre = together(body)
    kinds = [type(item) for item in cpe.done]
    assert channel.SetPath in kinds
    assert cpe.layers[1].state is State.UP
    assert cpe.ipsec.current is not None
    assert centre.ipsec.current is not None
    assert cpe.ipsec.current.key_out == centre.ipsec.current.key_in


def test_a_wrong_secret_is_named_on_both_sides() -> None:
    cpe, centre = together(nothing, psk=b"another")
    assert cpe.layers[0].state is not State.UP
    assert cpe.layers[0].reason == "peer said AUTHENTICATION_FAILED in IKE_AUTH"
    error = centre.ipsec.snapshot().last_error
    assert error is not None
    assert "AUTHENTICATION_FAILED" in error or "AUTH" in error
    assert cpe.commands(channel.InstallInbound) == []


def test_every_event_of_the_machine_has_its_handler() -> None:
    assert set(Ipsec._EVENTS) == set(get_args(events.Event))


def test_stopping_tells_the_peer() -> None:
    async def body(cpe: Side, _: Side) -> None:
        await cpe.ipsec.shut(1.0)

    cpe, centre = together(body)
    for side in (cpe, centre):
        assert side.carrying[-1] is None
        assert len(side.commands(channel.Retire)) == 2
    assert centre.layers[0].state is not State.UP


def test_esp_that_moved_takes_the_path_along() -> None:
    async def body(cpe: Side, _: Side) -> None:
        cpe.done.clear()
        cpe.ipsec.reported(channel.PeerMoved(IPv4Address("203.0.113.9"), 4501))

    cpe, _ = together(body)
    (command,) = cpe.commands(channel.SetPath)
    assert (command.remote, command.remote_port) == (IPv4Address("203.0.113.9"), 4501)


def test_esp_of_our_spis_goes_to_the_forwarder() -> None:
    async def body(cpe: Side, _: Side) -> None:
        child = cpe.carrying[-1]
        assert child is not None
        assert cpe.ipsec.owns_esp(child.spi_in)
        assert not cpe.ipsec.owns_esp(child.spi_in ^ 1)
        cpe.ipsec.esp_received(b"esp", CENTRE, 4500)

    cpe, _ = together(body)
    assert cpe.commands(channel.SlowPathEsp) == [channel.SlowPathEsp(b"esp", CENTRE, 4500)]
