"""tshark, given the keys, reads everything that two of our ends say to each other.

The conversation: IKE_SA_INIT, IKE_AUTH, a child rekey by each end, a rekey of the IKE SA, another child
rekey under the new keys, DELETE; and on every child ESP with ICMP, TCP and keepalives in GRE.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.forwarding import FAR, LAN, End, forwarder_config, tcp_packet
from tests.support.ike_pair import CPE, DATA_CENTRE, InFlight, Node, Pair, initiator_config, responder_config
from tests.support.pcap import Capture
from tests.support.tshark import Frame, Tshark
from vcstack.control.translate import SaLimits, inbound_sa, outbound_sa
from vcstack.esp.sa import OutboundSa
from vcstack.gre.packet import encapsulate
from vcstack.ikev2.config import UdpEncapsulation
from vcstack.ikev2.events import InboundReady
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.path import Path
from vcstack.ikev2.proposal import EspProposal, IkeProposal
from vcstack.io.channel import InstallInbound, InstallOutbound, SetPath
from vcstack.io.memory import join
from vcstack.wire.checksum import internet_checksum
from vcstack.wire.ipv4 import IpProtocol, Ipv4Header
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    import pathlib

    from vcstack.ikev2.child_sa import ChildSa
    from vcstack.ikev2.config import PeerConfig
    from vcstack.ikev2.protection import Protection

pytestmark = pytest.mark.interop

SA, KE, ID_I, ID_R, AUTH, NONCE, NOTIFY, DELETE, TS_I, TS_R, SK = 33, 34, 35, 36, 39, 40, 41, 42, 44, 45, 46
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = "34", "35", "36", "37"
TRANSFORM, PROPOSAL = 3, 2
LIMITS = SaLimits(replay_window=1024, bytes=None, packets=None)
PACKETS_PER_ROUND = 4
"""An echo and a TCP segment, each with its answer."""
BRANCH, CENTRE = Identity.parse("fqdn:branch-1.example"), Identity.parse("key_id:data centre")


@dataclass(frozen=True)
class Suite:
    """What is negotiated, and how tshark names it: cipher, key size, integrity, PRF, group."""

    ike: str
    esp: str
    udp: bool
    shown: tuple[str | None, ...]
    pfs_group: str | None


SUITES = [
    Suite(
        "aes256gcm16-prfsha256-curve25519",
        "aes256gcm16-curve25519",
        False,
        ("20", "256", None, "5", "31"),
        "31",
    ),
    Suite("aes128gcm16-prfsha512-ecp256", "aes128gcm16-ecp384", True, ("20", "128", None, "7", "19"), "20"),
    Suite(
        "aes256gcm16-prfsha384-ecp384", "aes128gcm16-modp2048", False, ("20", "256", None, "6", "20"), "14"
    ),
    Suite("aes256-sha256-modp2048", "aes256gcm16-modp3072", True, ("12", "256", "12", "5", "14"), "15"),
    Suite("aes128-sha384-ecp521", "aes128gcm16-ecp256", False, ("12", "128", "13", "6", "21"), "19"),
    Suite("aes256-sha512-modp3072", "aes256gcm16", True, ("12", "256", "14", "7", "15"), None),
    Suite(
        "aes128-sha256-prfsha512-modp4096", "aes256gcm16-ecp521", False, ("12", "128", "12", "7", "16"), "21"
    ),
]


def echo(*, reply: bool) -> bytes:
    """ICMP echo from the LAN, or its answer."""
    body = bytes([0 if reply else 8, 0, 0, 0, 0, 7, 0, 1]) + b"are you there"
    body = body[:2] + internet_checksum(body).to_bytes(2) + body[4:]
    source, destination = (FAR, LAN) if reply else (LAN, FAR)
    return Ipv4Header(source, destination, IpProtocol.ICMP).build(len(body)) + body


def traffic(*, back: bool) -> tuple[bytes, bytes]:
    """What the LAN sends, or gets back."""
    ends = {"source": FAR, "destination": LAN} if back else {"source": LAN, "destination": FAR}
    return echo(reply=back), tcp_packet(b"x" * 701, **ends)  # type: ignore[arg-type]  # addresses are addresses


class Recording:
    """Two endpoints, and a capture of what IKE messages pass between them."""

    def __init__(self, initiator: PeerConfig, responder: PeerConfig) -> None:
        self.pair = Pair(initiator, responder)
        self.capture = Capture()
        self.ike_sas: dict[tuple[bytes, bytes], Protection] = {}
        self.pair.filter = self._sniff
        self.pair.check = self._note_keys

    def tell(self, tshark: Tshark) -> None:
        """Give the keys away."""
        for (spi_i, spi_r), protection in self.ike_sas.items():
            tshark.ike_sa(spi_i, spi_r, protection)

    def _sniff(self, item: InFlight) -> bool:
        there = item.path
        path = Path(there.remote, there.remote_port, there.local, there.local_port)
        self.capture.ike(self.pair.now, path, item.data)
        return True

    def _note_keys(self) -> None:
        for node in self.pair.nodes:
            for sa in node.endpoint.ike_sas.values():
                if sa.protection is not None:
                    self.ike_sas[sa.spi_i, sa.spi_r] = sa.protection


class Conversation(Recording):
    """With two forwarders, whose ESP is captured as well."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        both = {
            "ike_proposals": (IkeProposal.parse(suite.ike),),
            "esp_proposals": (EspProposal.parse(suite.esp),),
            "udp_encapsulation": UdpEncapsulation.ALWAYS if suite.udp else UdpEncapsulation.AUTO,
        }
        super().__init__(
            initiator_config(**both, local_id=BRANCH, remote_id=CENTRE),
            responder_config(**both, local_id=CENTRE, remote_id=BRANCH),
        )
        self.esp_packets = 0
        transports = join(udp=suite.udp)
        self.ends = [
            End(forwarder_config(*ends, keepalive=True), transport)
            for ends, transport in zip(((CPE, DATA_CENTRE), (DATA_CENTRE, CPE)), transports, strict=True)
        ]
        for node, transport in zip(self.pair.nodes, transports, strict=True):
            transport.tap = lambda data, node=node: self._sniff_esp(node, data)

    def hold(self) -> None:
        """Everything from the first message to the last."""
        pair = self.pair.establish()
        self._send_one_by_one()
        for rekey in (self._rekey_child, self._rekey_child, self._rekey_ike, self._rekey_child):
            rekey(pair.a if rekey is self._rekey_ike or len(self.ike_sas) == 1 else pair.b)
            self._send_in_batches()
        pair.act(pair.b, lambda endpoint: endpoint.close(pair.now))
        pair.run(0.5)  # the branch tries again later

    def children(self) -> list[ChildSa]:
        """All children of the initiator, in order."""
        return [event.child for event in self.pair.a.events if isinstance(event, InboundReady)]

    def tell(self, tshark: Tshark) -> None:
        """Give the keys of the children away, too."""
        super().tell(tshark)
        for child in self.children():
            tshark.esp_sa(CPE, DATA_CENTRE, child.spi_out, child.key_out)
            tshark.esp_sa(DATA_CENTRE, CPE, child.spi_in, child.key_in)

    def _rekey_child(self, node: Node) -> None:
        before = node.data.outbound
        assert before is not None
        self.pair.act(node, lambda end: end.child_soft_expired(before.spi_in, "test", self.pair.now))
        self.pair.run(1.0)
        assert all(each.data.outbound is not None for each in self.pair.nodes)
        assert node.data.outbound is not before

    def _rekey_ike(self, node: Node) -> None:
        (sa,) = node.endpoint.ike_sas.values()
        sa.timers.rekey_at = self.pair.now
        self.pair.act(node, lambda end: end.handle_timeout(self.pair.now))
        self.pair.run(1.0)
        assert len(self.ike_sas) == 2

    def _send_one_by_one(self) -> None:
        """On the first child, with the scalar code: both directions."""
        for node, other, back in ((self.pair.a, self.pair.b, False), (self.pair.b, self.pair.a, True)):
            child = node.data.outbound
            assert child is not None
            sa = OutboundSa(outbound_sa(child, LIMITS), self.pair.now, deque())
            local, remote = node.endpoint.config.local_address, other.endpoint.config.local_address
            for packet in traffic(back=back):
                self._sniff_esp(node, sa.seal(encapsulate(packet, local, remote)))

    def _send_in_batches(self) -> None:
        """On the present child, with the forwarders: both directions, and a keepalive of each end."""
        now = self.pair.now
        for node, end in zip(self.pair.nodes, self.ends, strict=True):
            child = node.data.outbound
            assert child is not None
            path = child.path
            end.forwarder.apply(
                SetPath(path.local, path.local_port, path.remote, path.remote_port, self.suite.udp), now
            )
            end.forwarder.apply(InstallInbound(inbound_sa(child, LIMITS)), now)
        for node, end, back in zip(self.pair.nodes, self.ends, (False, True), strict=True):
            assert node.data.outbound is not None
            end.forwarder.apply(InstallOutbound(outbound_sa(node.data.outbound, LIMITS)), now)
            for packet in traffic(back=back):
                end.tun.inject(packet)
        self.pair.now += 10.0
        for _ in range(3):
            for end in self.ends:
                end.forwarder.handle_timeout(self.pair.now)
                end.step(self.pair.now)

    def _sniff_esp(self, node: Node, data: bytes) -> list[bytes]:
        child = node.data.outbound
        assert child is not None
        self.capture.esp(self.pair.now, child.path, data, udp=self.suite.udp)
        self.esp_packets += 1
        return [data]


def payloads(frame: Frame) -> list[int]:
    """Types of the payloads of an IKE message, those inside of the encrypted one included."""
    types = [int(value) for value in frame.all("isakmp.typepayload")]
    return [value for value in types if value not in (TRANSFORM, PROPOSAL)]


def besides_notifications(frame: Frame) -> list[int]:
    return [kind for kind in payloads(frame) if kind != NOTIFY]


def of_exchange(frames: list[Frame], exchange: str) -> list[Frame]:
    return [frame for frame in frames if frame.all("isakmp.exchangetype") == [exchange]]


def with_payload(frames: list[Frame], kind: int) -> list[Frame]:
    return [frame for frame in frames if kind in payloads(frame)]


def check_ike_sa_init(frames: list[Frame], suite: Suite) -> None:
    request, response = of_exchange(frames, IKE_SA_INIT)
    assert besides_notifications(request) == besides_notifications(response) == [SA, KE, NONCE]
    for frame in (request, response):
        names = "encr", "integ", "prf", "dh"
        chosen = {name: frame.all(f"isakmp.tf.id.{name}") for name in names}
        key_bits = frame.all("isakmp.ike2.attr.key_length")
        integrity = chosen["integ"] or (None,)
        assert (*chosen["encr"], *key_bits, *integrity, *chosen["prf"], *chosen["dh"]) == suite.shown
        assert frame.all("isakmp.key_exchange.dh_group") == [suite.shown[-1]]


def check_ike_auth(frames: list[Frame]) -> None:
    request, response = of_exchange(frames, IKE_AUTH)
    assert besides_notifications(request) == [SK, ID_I, ID_R, AUTH, SA, TS_I, TS_R]
    assert besides_notifications(response) == [SK, ID_R, AUTH, SA, TS_I, TS_R]
    assert request.all("isakmp.id.data.fqdn") == ["branch-1.example"]
    for frame in (request, response):
        assert [bytes.fromhex(key.replace(":", "")) for key in frame.all("isakmp.id.data.key_id")] == [
            b"data centre"
        ]
        assert frame.all("isakmp.auth.method") == ["2"]
        assert frame.all("isakmp.ts.protoid") == ["47", "47"]
        for name in ("isakmp.ts.start_ipv4", "isakmp.ts.end_ipv4"):
            assert frame.all(name) == [str(CPE), str(DATA_CENTRE)]
        assert frame.all("isakmp.tf.id.dh") == []


def check_create_child_sa(frames: list[Frame], suite: Suite) -> None:
    messages = of_exchange(frames, CREATE_CHILD_SA)
    assert len(messages) == 8
    children = with_payload(messages, TS_I)
    assert len(children) == 6
    group = [] if suite.pfs_group is None else [suite.pfs_group]
    for frame in children:
        assert frame.all("isakmp.key_exchange.dh_group") == group
        assert (KE in payloads(frame)) == bool(group)
    for frame in (each for each in messages if each not in children):
        assert besides_notifications(frame) == [SK, SA, NONCE, KE]
        assert frame.all("isakmp.key_exchange.dh_group") == [suite.shown[-1]]


def check_esp(frames: list[Frame], talk: Conversation) -> None:
    packets = [frame for frame in frames if "esp" in frame.protocols.split(":")]
    assert len(packets) == talk.esp_packets
    around = "raw:ip:udp:udpencap:esp:ip:gre" if talk.suite.udp else "raw:ip:esp:ip:gre"
    for frame in packets:
        assert frame.all("esp.icv_good") == ["1"], frame.number
        assert frame.protocols.startswith(around)
    kinds = [frame.protocols.removeprefix(around) for frame in packets]
    rounds = 5
    assert kinds.count(":ip:icmp:data") == kinds.count(":ip:tcp:data") == 2 * rounds
    probes = [frame for frame in packets if frame.all("gre.proto") == ["0x0800", "0x0000"]]
    answers = [frame for frame in packets if frame.all("gre.proto") == ["0x0000"]]
    assert len(packets) == PACKETS_PER_ROUND * rounds + len(probes) + len(answers)
    assert len(probes) == len(answers) >= 2
    assert all(frame.all("ip.ttl")[-1] == "254" for frame in answers)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.ike)
def test_everything_can_be_read_and_nothing_is_malformed(tmp_path: pathlib.Path, suite: Suite) -> None:
    talk = Conversation(suite)
    talk.hold()
    tshark = Tshark(tmp_path)
    talk.tell(tshark)
    frames = tshark.dissect(talk.capture.write(tmp_path / "talk.pcap"))
    assert len(frames) == len(talk.capture.packets)
    assert [(frame.number, frame.complaints) for frame in frames if frame.complaints] == []
    sealed = with_payload(frames, SK)
    assert len(sealed) == len([frame for frame in frames if "isakmp" in frame.protocols]) - 2
    assert all("[correct]" in line for frame in sealed for line in frame.lines("isakmp.enc.icd"))
    assert all(frame.all("isakmp.enc.decrypted") for frame in sealed)
    check_ike_sa_init(frames, suite)
    check_ike_auth(frames)
    check_create_child_sa(frames, suite)
    assert len(with_payload(of_exchange(frames, INFORMATIONAL), DELETE)) == 8
    check_esp(frames, talk)


def test_refusals_are_well_formed(tmp_path: pathlib.Path) -> None:
    """COOKIE, INVALID_KE_PAYLOAD and AUTHENTICATION_FAILED, each in its exchange."""
    responder = responder_config(
        cookie_threshold=0,
        ike_proposals=(IkeProposal.parse("aes256-sha384-ecp256"),),
        remote_psk=Secret(b"another secret"),
    )
    proposals = (IkeProposal.parse("aes256-sha384-curve25519-ecp256"),)
    talk = Recording(initiator_config(ike_proposals=proposals), responder)
    talk.pair.start().run(0.5)
    tshark = Tshark(tmp_path)
    talk.tell(tshark)
    frames = tshark.dissect(talk.capture.write(tmp_path / "talk.pcap"))
    assert [(frame.number, frame.complaints) for frame in frames if frame.complaints] == []
    cookie, invalid_ke, authentication_failed = "16390", "17", "24"
    notified = [frame.all("isakmp.notify.msgtype") for frame in frames]
    assert (notified[1], notified[3], notified[-1]) == ([cookie], [invalid_ke], [authentication_failed])
    assert [cookie in types for types in notified[:6]] == [False, True, True, False, True, False]
    assert frames[3].all("isakmp.notify.data.accepted_dh_group") == ["19"]


def test_the_judge_sees_a_wrong_bit(tmp_path: pathlib.Path) -> None:
    """Otherwise the other test proves nothing."""
    talk = Conversation(SUITES[1])
    talk.hold()
    tshark = Tshark(tmp_path)
    talk.tell(tshark)
    for number, (at, packet) in enumerate(talk.capture.packets):
        talk.capture.packets[number] = at, packet[:-1] + bytes([packet[-1] ^ 1])
    frames = tshark.dissect(talk.capture.write(tmp_path / "talk.pcap"))
    for frame in frames:
        if with_payload([frame], SK):
            assert any("[incorrect" in line for line in frame.complaints)
        if "esp" in frame.protocols:
            assert "ESP: the ICV is bad" in frame.complaints
