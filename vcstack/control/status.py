"""What the daemon tells about itself, as JSON: `summary` for `status`, `show` for `show ...`.

Values are those that the machines' snapshots have: times in seconds, addresses as text, no secrets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from vcstack.dataplane.counters import Counter
from vcstack.esp.layout import max_payload
from vcstack.io import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vcstack.control.config import Configuration
    from vcstack.control.routes import RouteTable
    from vcstack.control.site import Site


def summary(
    configuration: Configuration,
    sites: Mapping[str, Site],
    routes: RouteTable,
    age_s: float,
    warnings: list[str],
) -> dict[str, Any]:
    """Everything that one screen shows."""
    return {
        "name": configuration.name,
        "role": configuration.role,
        "since_s": round(age_s, 3),
        "pid": os.getpid(),
        "warnings": warnings,
        "tunnels": {
            name: _tunnel(sites[name]) if name in sites else _restarting() for name in configuration.tunnels
        },
        "routes": _routes(routes),
    }


def show(what: str, sites: Mapping[str, Site], routes: RouteTable) -> Any:
    """One view: ikev2, ipsec, tunnel, bgp or routes. ValueError for another."""
    if what == "routes":
        return _routes(routes)
    view = _VIEWS.get(what)
    if view is None:
        raise ValueError(f"nothing to show for {what}: ikev2, ipsec, tunnel, bgp or routes is expected")
    return {name: view(site) for name, site in sites.items()}


def _tunnel(site: Site) -> dict[str, Any]:
    endpoint = site.ipsec.snapshot()
    sa = next((sa for sa in reversed(endpoint.ike_sas) if sa.state == "established"), None)
    return {
        "prefix": str(site.tunnel.prefix),
        "interface": site.tunnel.interface.name,
        "ike": site.ike.report()
        | {
            "peer": endpoint.remote_address,
            "peer_id": sa and sa.remote_id,
            "path": sa and str(sa.path),
            "outstanding": next((each.outstanding for each in endpoint.ike_sas if each.outstanding), None),
            "last_error": endpoint.last_error,
            "retry_in_s": endpoint.next_retry_in_s,
        },
        "esp": site.esp.report() | _carrying(site) | {"pfs": endpoint.pfs},
        "gre": site.gre.report() | {"keepalives": _plain(site.keepalives)},
        "bgp": site.bgp.report() | site.session.summary(),
        "mtu": site.mtu,
        "counters": _nonzero(site),
    }


def _restarting() -> dict[str, Any]:
    down = {"state": "down", "since_s": 0.0, "reason": "restarting after a fault of vcstack"}
    return {"ike": down, "esp": down, "gre": down, "bgp": down, "counters": {}}


def _carrying(site: Site) -> dict[str, Any]:
    child = site.ipsec.current
    if child is None:
        return {}
    return {
        "spi_in": f"{child.spi_in:#010x}",
        "spi_out": f"{child.spi_out:#010x}",
        "suite": f"{child.encryption}-{child.key_bits}",
        "udp_encapsulation": child.udp_encapsulation,
        "path": str(child.path),
    }


def _ikev2(site: Site) -> dict[str, Any]:
    endpoint = _plain(site.ipsec.snapshot())
    del endpoint["child_sas"]
    return dict(endpoint)


def _ipsec(site: Site) -> dict[str, Any]:
    ipsec, child = site.tunnel.ipsec, site.ipsec.current
    return {
        "interface": site.tunnel.interface.name,
        "local_address": str(ipsec.local_address),
        "remote_address": str(ipsec.remote_address or "any"),
        "state": site.esp.report(),
        "path": child and str(child.path),
        "path_mtu": site.path_mtu,
        "plaintext_mtu": child
        and site.path_mtu
        and max_payload(site.path_mtu, udp_encapsulation=child.udp_encapsulation),
        "tunnel_mtu": site.mtu,
        "replay_window": ipsec.replay_window,
        "child_sas": [_child(site, each) for each in _plain(site.ipsec.snapshot().child_sas)],
        "counters": site.counters.snapshot(),
    }


def _child(site: Site, child: dict[str, Any]) -> dict[str, Any]:
    used = {
        direction: _plain(site.ipsec.usage.get((child[f"spi_{direction}"], direction == "in")))
        for direction in ("in", "out")
    }
    return child | {
        "spi_in": f"{child['spi_in']:#010x}",
        "spi_out": f"{child['spi_out']:#010x}",
        "packets_in": (used["in"] or {}).get("packets", 0),
        "bytes_in": (used["in"] or {}).get("bytes", 0),
        "packets_out": (used["out"] or {}).get("packets", 0),
        "bytes_out": (used["out"] or {}).get("bytes", 0),
    }


def _interface(site: Site) -> dict[str, Any]:
    gre, interface = site.tunnel.gre, site.tunnel.interface
    return {
        "interface": interface.name,
        "address": str(interface.address),
        "remote_address": str(interface.remote_address),
        "line": site.gre.report(),
        "source": str(gre.local_address),
        "destination": str(gre.remote_address),
        "key": gre.key,
        "ttl": 255,
        "mtu": site.mtu,
        "path_mtu": site.path_mtu,
        "path_mtu_discovery": interface.path_mtu_discovery,
        "mss": interface.mss,
        "keepalive": gre.keepalive,
        "keepalive_interval_s": gre.keepalive_interval_s,
        "keepalive_retries": gre.keepalive_retries,
        "keepalive_damping": gre.keepalive_damping,
        "keepalives": _plain(site.keepalives),
        "protection": f"ipsec {site.name}",
        "forwarder_pid": site.forwarder.pid,
        "offloads": list(site.offloads),
        "last_input_age_s": _age_us(site.counters[Counter.LAST_INBOUND_US]),
        "last_output_age_s": _age_us(site.counters[Counter.LAST_OUTBOUND_US]),
        "counters": site.counters.snapshot(),
    }


def _bgp(site: Site) -> dict[str, Any]:
    peer, tcp = site.session.snapshot()
    now, reset = clock.now(), peer.last_reset
    view = _aged(_plain(peer), now) | {
        "state": peer.state.name.lower(),
        "last_reset": reset and str(reset),
        "last_reset_age_s": reset and round(now - reset.at, 3),
    }
    return {"session": site.bgp.report(), **view, "tcp": _plain(tcp)}


_VIEWS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "ikev2": _ikev2,
    "ipsec": _ipsec,
    "tunnel": _interface,
    "bgp": _bgp,
}


def _routes(routes: RouteTable) -> list[dict[str, Any]]:
    installed = routes.installed()
    best = {route.prefix: route for route in reversed(installed)}
    return [
        {
            "prefix": str(route.prefix),
            "tunnel": routes.tunnel_of(route),
            "device": route.device,
            "metric": route.metric,
            "table": route.table,
            "best": best[route.prefix] == route,
        }
        for route in installed
    ]


def _nonzero(site: Site) -> dict[str, int]:
    return {name: value for name, value in site.counters.snapshot().items() if value}


def _aged(value: Any, now: float) -> Any:
    """Points of our clock, which mean nothing outside, as ages: `read_at` becomes `read_age_s`."""
    if isinstance(value, list | tuple):
        return [_aged(item, now) for item in value]
    if not isinstance(value, dict):
        return value
    return dict(_aged_item(name, item, now) for name, item in value.items())


def _aged_item(name: str, value: Any, now: float) -> tuple[str, Any]:
    if not isinstance(value, float | None) or not name.endswith(("_at", "_since")):
        return name, _aged(value, now)
    age = None if value is None else round(now - value, 3)
    return f"{name.removesuffix('_at').removesuffix('_since')}_age_s", age


def _age_us(at_us: int) -> float | None:
    return round(clock.now() - at_us / 1e6, 3) if at_us else None


def _plain(value: object) -> Any:
    """A snapshot as JSON values."""
    return msgspec.to_builtins(value, enc_hook=str)
