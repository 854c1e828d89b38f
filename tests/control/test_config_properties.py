"""Whatever a file says, the answer is a configuration or a ConfigError with named keys."""

import json
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.control.test_config import ENVIRONMENT
from vcstack.control.config import ConfigError, loads

LEAVES: dict[str, Any] = {
    "role": "cpe",
    "name": "branch-1",
    "region": "10.77.0.0/24",
    "router_id": "100.64.1.2",
    "control_socket": "/run/vcstack/control.sock",
    "keep_unreachable": False,
    "log_level": "info",
    "tunnels.dc-a.prefix": "10.77.0.0/25",
    "tunnels.dc-a.ipsec.local_address": "198.51.100.1",
    "tunnels.dc-a.ipsec.remote_address": "198.51.100.10",
    "tunnels.dc-a.ipsec.local_id": "fqdn:cpe.example",
    "tunnels.dc-a.ipsec.remote_id": "198.51.100.10",
    "tunnels.dc-a.ipsec.auth": "psk",
    "tunnels.dc-a.ipsec.local_auth": "psk",
    "tunnels.dc-a.ipsec.rsa_padding": "pss",
    "tunnels.dc-a.ipsec.ppk": {"id": "branch-1", "env": "PSK"},
    "tunnels.dc-a.ipsec.psk": {"env": "PSK"},
    "tunnels.dc-a.ipsec.local_psk": {"env": "PSK"},
    "tunnels.dc-a.ipsec.ike_proposals": ["aes256-sha256-modp2048"],
    "tunnels.dc-a.ipsec.esp_proposals": ["aes256gcm16-ecp384"],
    "tunnels.dc-a.ipsec.pfs": True,
    "tunnels.dc-a.ipsec.initiate": True,
    "tunnels.dc-a.ipsec.udp_encapsulation": "auto",
    "tunnels.dc-a.ipsec.ike_lifetime_s": 86400,
    "tunnels.dc-a.ipsec.child_lifetime_bytes": 10**11,
    "tunnels.dc-a.ipsec.replay_window": 4096,
    "tunnels.dc-a.gre.local_address": "192.0.2.1",
    "tunnels.dc-a.gre.remote_address": "192.0.2.10",
    "tunnels.dc-a.gre.key": 7,
    "tunnels.dc-a.gre.keepalive_interval_s": 10.0,
    "tunnels.dc-a.gre.keepalive_damping": True,
    "tunnels.dc-a.interface.name": "wan0",
    "tunnels.dc-a.interface.address": "100.64.1.2/30",
    "tunnels.dc-a.interface.remote_address": "100.64.1.1",
    "tunnels.dc-a.interface.mtu": 1400,
    "tunnels.dc-a.bgp.local_as": 64512,
    "tunnels.dc-a.bgp.remote_as": 64600,
    "tunnels.dc-a.bgp.password": {"env": "BGP"},
    "tunnels.dc-a.bgp.announce": ["0.0.0.0/0"],
}

values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text()
    | st.dates()
    | st.sampled_from(
        ["any", "0.0.0.0/0", "headend", "10.77.0.0", "::1", "255.255.255.255/32", "aes256gcm16"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def toml(value: Any) -> str:
    """A value as TOML; lone surrogates cannot be written."""
    if isinstance(value, str):
        return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False).replace(
            "\x7f", "\\u007f"
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool | date):
        return str(value).lower()
    return repr(value)


def read(leaves: dict[str, Any]) -> tuple[str, ...]:
    """The keys of the problems of a file."""
    try:
        loads("\n".join(f"{key} = {toml(value)}" for key, value in leaves.items()), environment=ENVIRONMENT)
    except ConfigError as error:
        return tuple(problem.key for problem in error.problems)
    return ()


def test_the_unchanged_leaves_are_a_configuration() -> None:
    assert read(LEAVES) == ()


@settings(max_examples=300, derandomize=True, deadline=None)
@given(key=st.sampled_from(sorted(LEAVES)), value=values)
def test_any_value_anywhere_is_read_or_refused(key: str, value: Any) -> None:
    problems = read({**LEAVES, key: value})
    assert problems != ("",), "not TOML"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(keys=st.sets(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=6))
def test_any_key_may_be_left_out_or_is_asked_for(keys: set[str]) -> None:
    missing = read({key: value for key, value in LEAVES.items() if key not in keys})
    tables = {f"tunnels.dc-a.{table}" for table in ("gre", "interface", "bgp")}
    assert set(missing) <= keys | tables | {"tunnels.dc-a.ipsec.psk"}
