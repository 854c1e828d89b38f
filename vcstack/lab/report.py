"""What a run of the lab found: numbers, and the expectations that did not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vcstack.lab.plan import DATA_CENTRES

if TYPE_CHECKING:
    from vcstack.lab.outage import Outage

LAYERS = ("ike", "esp", "gre", "bgp")


@dataclass(slots=True)
class Tunnel:
    """One tunnel. `up_after_ms` counts from the start of the CPE's process."""

    layers: dict[str, str] = field(default_factory=lambda: dict.fromkeys(LAYERS, "down"))
    up_after_ms: dict[str, float] = field(default_factory=dict)
    ping_ms: float | None = None
    lan_ping_ms: float | None = None
    throughput_mbps: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The layers as keys of their own."""
        return self.layers | {
            "up_after_ms": self.up_after_ms,
            "ping_ms": self.ping_ms,
            "lan_ping_ms": self.lan_ping_ms,
            "throughput_mbps": self.throughput_mbps,
        }


@dataclass(slots=True)
class Move:
    """Traffic that went from one tunnel to the other, seen by a flow of `probe_rate` packets per second.

    `settled_after_ms` counts from the cut or the restoration to the first packet on the new way;
    `tunnel_after_ms` to the tunnel's line being down, or every layer up again.
    """

    outage: Outage | None = None
    settled_after_ms: float | None = None
    tunnel_after_ms: float | None = None
    through: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Flat; None for what was not measured."""
        return {
            "outage_ms": self.outage.outage_ms if self.outage else None,
            "packets_lost": self.outage.lost if self.outage else None,
            "packets_sent": self.outage.sent if self.outage else None,
            "settled_after_ms": self.settled_after_ms,
            "tunnel_after_ms": self.tunnel_after_ms,
            "through": self.through,
        }


@dataclass(slots=True)
class Report:
    """Everything; `failures` has one line for each expectation that did not hold.

    `closed_packets` are those that the LAN sent to the region while no tunnel stood.
    """

    number: int
    nat: bool
    keepalive_s: float
    tunnels: dict[str, Tunnel] = field(
        default_factory=lambda: {centre.name: Tunnel() for centre in DATA_CENTRES}
    )
    failover: Move = field(default_factory=Move)
    failback: Move = field(default_factory=Move)
    closed_packets: int | None = None
    leaked: int | None = None
    encrypted: int = 0
    failures: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all of it held."""
        return not self.failures

    def expect(self, held: bool, otherwise: str) -> bool:  # noqa: FBT001 (reads as a sentence)
        """Note `otherwise` as a failure unless `held`, which is returned."""
        if not held:
            self.failures.append(otherwise)
        return held

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "ok": self.ok,
            "failures": self.failures,
            "nat": self.nat,
            "keepalive_s": self.keepalive_s,
            "tunnels": {name: tunnel.as_json() for name, tunnel in self.tunnels.items()},
            "failover": self.failover.as_json(),
            "failback": self.failback.as_json(),
            "fail_closed": {"packets_refused": self.closed_packets},
            "cleartext_leaked_packets": self.leaked,
            "encrypted_packets": self.encrypted,
            "duration_s": round(self.duration_s, 1),
        }
