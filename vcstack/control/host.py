"""What this host must allow for a CPE to work: rights, and the kernel's forwarding parameters.

The parameters are only looked at; whoever runs the host decides about them.
"""

from __future__ import annotations

import os
from pathlib import Path

_SYSCTL = Path("/proc/sys/net/ipv4")
_CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
_STRICT = 1


def missing_right() -> str | None:
    """What this process is not allowed to do but has to, or None."""
    if os.geteuid() == 0:
        return None
    held = _effective_capabilities()
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    return f"must run as root, or with {', '.join(missing)}" if missing else None


def warnings(interfaces: list[str]) -> list[str]:
    """What of the kernel's parameters keeps packets from crossing this host."""
    found = []
    if _read("ip_forward") == 0:
        found.append("net.ipv4.ip_forward is 0: packets of the LAN are not forwarded")
    everywhere = _read("conf/all/rp_filter")
    for name in interfaces:
        if max(everywhere, _read(f"conf/{name}/rp_filter")) == _STRICT:
            text = "packets that fail over to the other tunnel are dropped; 2 or 0 is expected"
            found.append(f"net.ipv4.conf.{name}.rp_filter is strict: {text}")
    return found


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def _read(name: str) -> int:
    try:
        return int((_SYSCTL / name).read_text())
    except (OSError, ValueError):
        return 0
