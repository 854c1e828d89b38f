"""`vcstack show bgp`: `show ip bgp summary`, then per peer its neighbor page and its routes both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from vcstack.cli.views import bgp_routes
from vcstack.cli.views.page import STYLES, Field
from vcstack.cli.views.words import clock, counted, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcstack.cli.views.page import Page

_SUMMARY = ("Neighbor", ">V", ">AS", ">MsgRcvd", ">MsgSent", ">TblVer", ">Up/Down", ">State/PfxRcd", "Tunnel")
_WAYS = (("received", "messages_received"), ("sent", "messages_sent"))
_SHOWN_BYTES = 32
"""Of a malformed UPDATE; JSON has more."""
_NOTABLE = {
    "prefixes_announced": "announced",
    "prefixes_withdrawn": "withdrawn",
    "updates_treated_as_withdraw": "UPDATEs treated as withdraw",
    "attributes_discarded": "attributes discarded",
}


def render(answer: Mapping[str, Mapping[str, Any]], page: Page) -> None:
    """Fill the page with the answer to `show bgp`."""
    own = {(peer["router_id"], peer["local_as"]) for peer in answer.values()}
    for router_id, local_as in sorted(own):
        page.line(f"router identifier {router_id}, local AS {local_as}")
    page.gap()
    page.table(_SUMMARY, [_summary(name, peer) for name, peer in answer.items()])
    for name, peer in answer.items():
        page.title(name, peer["session"], _why(peer))
        page.fields(_PEER, peer)
        _messages(page, peer["counters"])
        bgp_routes.render(peer, page)


def _summary(name: str, peer: Mapping[str, Any]) -> tuple[str | Text, ...]:
    counters, layer = peer["counters"], peer["session"]
    established = peer["state"] == "established"
    return (
        peer["remote_address"],
        str(peer["version"]),
        str(peer["remote_as"]),
        *(f"{sum(counters[way].values()):,}" for _, way in _WAYS),
        str(peer["table_version"]),
        clock(layer["since_s"]),
        str(peer["prefixes_accepted"]) if established else _down(peer),
        name,
    )


def _down(peer: Mapping[str, Any]) -> Text:
    return Text(peer["state"].capitalize(), style=STYLES.get(peer["session"]["state"], ""))


def _why(peer: Mapping[str, Any]) -> str:
    return f"{peer['state']}: {peer['session']['reason']}" if peer["session"]["state"] != "up" else ""


def _last_reset(peer: Mapping[str, Any]) -> str:
    reset = peer["last_reset"]
    if not reset:
        return ""
    known = reset in peer["session"]["reason"]
    return joined(f"{clock(peer['last_reset_age_s'])} ago", None if known else reset, by=": ")


def _neighbor(peer: Mapping[str, Any]) -> str:
    router = peer["remote_router_id"]
    return joined(
        f"{peer['remote_address']}, remote AS {peer['remote_as']}, external", router and f"router ID {router}"
    )


def _timers(peer: Mapping[str, Any]) -> str:
    ages = [peer["counters"].get(f"last_{word}_age_s") for word in ("read", "write")]
    if peer["hold_time_s"] is None:
        agreed = f"hold {peer['configured_hold_time_s']} s configured"
    else:
        agreed = f"hold {peer['hold_time_s']} s, keepalive {peer['keepalive_s']:g} s"
    read, written = ("never" if age is None else clock(age) for age in ages)
    return f"{agreed}, last read {read}, write {written}"


def _capabilities(peer: Mapping[str, Any]) -> str:
    sent, received = peer["capabilities_sent"], peer["capabilities_received"]
    if not received:
        return f"{', '.join(sent)} (sent)" if sent else ""
    both = [name for name in sent if name in received]
    one_sided = [f"{name} (sent)" for name in sent if name not in received]
    one_sided += [f"{name} (received)" for name in received if name not in sent]
    return ", ".join(both + one_sided)


def _prefixes(peer: Mapping[str, Any]) -> str:
    received = f"{peer['prefixes_received']} received of at most {peer['max_prefixes']}"
    denied, stale = peer["prefixes_denied"], peer["prefixes_stale"]
    return joined(
        received,
        f"{denied} denied by policy" if denied else None,
        f"{stale} stale" if stale else None,
        f"{peer['prefixes_advertised']} advertised",
    )


def _connections(peer: Mapping[str, Any]) -> str:
    counters = peer["counters"]
    refused, retries = counters["connections_refused"], peer["connect_retries"]
    return joined(
        f"{counters['connections_established']} established",
        f"{counters['connections_dropped']} dropped",
        f"{refused} refused" if refused else None,
        counted(retries, "failed attempt") if retries else None,
    )


def _tcp(peer: Mapping[str, Any]) -> str:
    tcp = peer["tcp"]
    ends = [f"{end[0]}:{end[1]}" for side in ("local", "remote") if (end := tcp[side])]
    return joined(
        (" from " if peer["outbound"] is False else " to ").join(ends) or "not connected",
        f"TTL {tcp['ttl']}",
        "GTSM" if tcp["gtsm"] else None,
        f"MD5 {'on' if tcp['md5'] else 'off'}",
        f"MSS {tcp['max_segment_bytes']}" if tcp["max_segment_bytes"] else None,
    )


def _listening(peer: Mapping[str, Any]) -> str:
    error = peer["tcp"]["listen_error"]
    return f"not listening: {error}" if error else ""


def _restart(peer: Mapping[str, Any]) -> str:
    return joined(
        "the peer restarts, its routes stay for now" if peer["restarting"] else None,
        "agreed" if peer["graceful_restart"] else None,
        by="; ",
    )


def _malformed(peer: Mapping[str, Any]) -> str:
    update = peer["last_malformed_update"]
    if not update:
        return ""
    shown, length = update["message"][: 2 * _SHOWN_BYTES], update["length"]
    more = "..." if length > _SHOWN_BYTES else ""
    return f"{update['fault']} ({length} bytes: {shown}{more})"


_PEER = (
    Field("neighbor", _neighbor),
    Field("last reset", _last_reset),
    Field("timers", _timers),
    Field("capabilities", _capabilities),
    Field("connections", _connections),
    Field("TCP", _tcp),
    Field("listener", _listening),
    Field("restart", _restart),
    Field("bad UPDATE", _malformed),
    Field("prefixes", _prefixes),
)


def _messages(page: Page, counters: Mapping[str, Any]) -> None:
    kinds = [
        kind
        for kind in counters["messages_sent"]
        if page.everything or any(counters[way][kind] for _, way in _WAYS)
    ]
    for label, way in _WAYS if kinds else ():
        counts = counters[way]
        total = f"{sum(counts.values()):,} messages"
        page.field(label, joined(total, *(f"{kind.replace('_', ' ')} {counts[kind]:,}" for kind in kinds)))
    notable = [
        f"{word} {counters[name]:,}" for name, word in _NOTABLE.items() if page.everything or counters[name]
    ]
    if notable:
        page.field("in total", ", ".join(notable))
