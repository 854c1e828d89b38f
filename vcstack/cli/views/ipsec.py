"""`vcstack show ipsec`: what `show crypto ipsec sa detail` tells of the child SAs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vcstack.cli.views import counters
from vcstack.cli.views.page import Field
from vcstack.cli.views.words import clock, counted, joined, octets, scaled, yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_WAYS = ("in", "out")
_BESIDE_ESP = {"inbound_ike": "IKE", "inbound_nat_keepalives": "NAT keepalives"}


def render(answer: Mapping[str, Mapping[str, Any]], page: Page) -> None:
    """Fill the page with the answer to `show ipsec`."""
    for name, tunnel in answer.items():
        page.title(name, tunnel["state"], _detail(tunnel))
        page.fields(_TUNNEL, tunnel)
        for child in tunnel["child_sas"]:
            page.gap()
            page.heading(f"child SA SPI in {child['spi_in']}, out {child['spi_out']}", _state(child))
            page.fields(_CHILD, child)
            _usage(page, child)
        _traffic(page, tunnel["counters"])


def _detail(tunnel: Mapping[str, Any]) -> str:
    return counted(len(tunnel["child_sas"]), "child SA") if tunnel["state"]["state"] == "up" else ""


def _state(child: Mapping[str, Any]) -> str:
    carrying = "carrying" if child["is_carrying"] else None
    return joined(child["state"], carrying, "initiator" if child["is_initiator"] else "responder")


def _mtu(tunnel: Mapping[str, Any]) -> str:
    plaintext = tunnel["plaintext_mtu"]
    return joined(
        f"path {tunnel['path_mtu'] or 'not measured yet'}",
        f"plaintext {plaintext}" if plaintext else None,
        f"tunnel {tunnel['tunnel_mtu']}",
    )


def _transform(child: Mapping[str, Any]) -> str:
    road = "in UDP" if child["udp_encapsulation"] else "as protocol 50"
    return f"{child['encryption']}, keysize {child['key_bits']}; tunnel mode, {road}; ESN {yes(child['esn'])}"


def _pfs(child: Mapping[str, Any]) -> str:
    group = child["pfs_group"]
    return f"yes, DH group {group}" if group else "no; the first child SA never has it"


def _life(child: Mapping[str, Any]) -> str:
    rekey, failures = child["rekey_in_s"], child["rekey_failures"]
    return joined(
        clock(child["age_s"]),
        None if rekey is None else f"rekey in {clock(rekey)}",
        f"expires in {clock(child['expires_in_s'])}",
        counted(failures, "failed rekey") if failures else None,
    )


_TUNNEL = (
    Field("interface", lambda tunnel: tunnel["interface"]),
    Field("endpoints", lambda tunnel: f"local {tunnel['local_address']}, remote {tunnel['remote_address']}"),
    Field("path", lambda tunnel: tunnel["path"] or ""),
    Field("MTU", _mtu),
    Field("replay window", lambda tunnel: counted(tunnel["replay_window"], "packet")),
)
_CHILD = (
    Field("local ident", lambda child: ", ".join(child["local_ts"])),
    Field("remote ident", lambda child: ", ".join(child["remote_ts"])),
    Field("transform", _transform),
    Field("PFS", _pfs),
    Field("active time", _life),
)


def _usage(page: Page, child: Mapping[str, Any]) -> None:
    for way in _WAYS:
        packets, size = child[f"packets_{way}"], child[f"bytes_{way}"]
        page.field(f"packets {way}", f"{packets:>14,}   bytes {size:>18,}   {scaled(size):>8}")


def _traffic(page: Page, counts: Mapping[str, int]) -> None:
    page.gap()
    sent, size = counts.get("outbound_esp_packets", 0), counts.get("outbound_esp_bytes", 0)
    page.field("encapsulated", f"{counted(sent, 'packet')}, {octets(size)} on the wire")
    arrived, size = counts.get("inbound_datagrams", 0), counts.get("inbound_datagram_bytes", 0)
    authentic = counts.get("inbound_authenticated", 0)
    came = f"{counted(authentic, 'packet')} of {counted(arrived, 'datagram')}, {octets(size)}"
    page.field("decapsulated", came)
    beside = counters.nonzero(counts, _BESIDE_ESP)
    if beside:
        page.field("beside ESP", beside)
    dropped = counters.drops(counts, "outbound", "inbound", "esp")
    page.field("dropped", dropped or "none")
    counters.every(page, counts)
