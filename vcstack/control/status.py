"""What the daemon tells about itself, as JSON: `summary` for `status`, `show` for `show ...`.

Values are those that the machines' snapshots have: times in seconds, addresses as text, no secrets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

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
    return {
        "prefix": str(site.tunnel.prefix),
        "interface": site.tunnel.interface.name,
        "ike": site.ike.report()
        | {
            "peer": endpoint.remote_address,
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
    ipsec = site.tunnel.ipsec
    return {
        "local_address": str(ipsec.local_address),
        "remote_address": str(ipsec.remote_address or "any"),
        "state": site.esp.report(),
        "path_mtu": site.path_mtu,
        "tunnel_mtu": site.mtu,
        "replay_window": ipsec.replay_window,
        "child_sas": [_child(site, child) for child in _plain(site.ipsec.snapshot().child_sas)],
        "counters": _nonzero(site),
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
        "counters": site.counters.snapshot(),
    }


def _bgp(site: Site) -> dict[str, Any]:
    peer, tcp = site.session.snapshot()
    reset = str(peer.last_reset) if peer.last_reset else None
    view = _aged(_plain(peer), clock.now()) | {"state": peer.state.name.lower(), "last_reset": reset}
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
    if isinstance(value, list):
        return [_aged(item, now) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (f"{name.removesuffix('_at').removesuffix('_since')}_age_s" if _is_point(name, item) else name): (
            round(now - item, 3) if _is_point(name, item) else _aged(item, now)
        )
        for name, item in value.items()
    }


def _is_point(name: str, value: Any) -> bool:
    return isinstance(value, float) and name.endswith(("_at", "_since"))


def _plain(value: object) -> Any:
    """A snapshot as JSON values."""
    return msgspec.to_builtins(value, enc_hook=str)
