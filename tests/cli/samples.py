"""Answers of a daemon, as a live one gave them, with one tunnel up and one that has each kind of trouble."""

from __future__ import annotations

from typing import Any

PSK_REFUSED = "peer said AUTHENTICATION_FAILED in IKE_AUTH"
WRONG_AS = "we said: OPEN Message Error/Bad Peer AS (2/2): the peer is AS 64601, AS 64999 is configured"
NO_SA = "no child SA: IKE is not up"


def layer(state: str, reason: str, since_s: float = 754.3) -> dict[str, Any]:
    """A layer as `status` reports it."""
    return {"state": state, "since_s": since_s, "reason": reason}


KEEPALIVES: dict[str, Any] = {
    "type": "KeepaliveInfo",
    "sent": 25,
    "received": 20,
    "reflected": 21,
    "missed": 1,
    "up": True,
    "verdict": "both ends send keepalives and answer them",
    "on_hold_for": 0,
    "went_down": 1,
    "round_trip_ms": 16.6,
    "dialect": "Cisco",
    "requests": {"Cisco": 21},
    "refused": {},
}
COUNTERS = {
    "outbound_packets": 21657,
    "outbound_bytes": 27780824,
    "outbound_esp_packets": 21703,
    "outbound_esp_bytes": 30030060,
    "outbound_mss_clamped": 1,
    "outbound_drop_no_sa": 0,
    "inbound_datagrams": 1107,
    "inbound_datagram_bytes": 119332,
    "inbound_ike": 3,
    "inbound_authenticated": 1104,
    "inbound_packets": 1066,
    "inbound_bytes": 52652,
    "esp_drop_replayed": 0,
    "gre_drop_key_mismatch": 0,
}
DROPS = {"outbound_drop_no_sa": 12, "esp_drop_authentication_failed": 3, "gre_drop_key_mismatch": 1}

IKE_SA: dict[str, Any] = {
    "spi_i": "22b2a1c2a0dac83d",
    "spi_r": "b4f5a6871d03fe97",
    "is_initiator": True,
    "state": "established",
    "path": {
        "local": "198.51.100.1",
        "local_port": 4500,
        "remote": "203.0.113.10",
        "remote_port": 4500,
    },
    "local_id": "cpe.example",
    "remote_id": "203.0.113.10",
    "proposal": "aes256gcm16-prfsha384-ecp384",
    "encryption": "aes256gcm16",
    "key_bits": 256,
    "integrity": None,
    "prf": "prfsha384",
    "dh_group": 20,
    "auth_local": "pre-shared key",
    "auth_remote": "pre-shared key",
    "ppk": False,
    "age_s": 754.6,
    "rekey_in_s": 75491.061,
    "expires_in_s": 85645.4,
    "peer_auth_lifetime_s": None,
    "next_request_id": 2,
    "expected_request_id": 0,
    "peer_window": 1,
    "outstanding": None,
    "queued": [],
    "dpd_interval_s": 10,
    "silent_s": 3.6,
    "nat_local": True,
    "nat_remote": False,
    "udp_encapsulation": True,
    "fragmentation": True,
    "vendor_ids": [],
}
IKEV2_UP: dict[str, Any] = {
    "name": "dc-a",
    "state": "up",
    "since_s": 754.6,
    "reason": "203.0.113.10 authenticated",
    "remote_address": "203.0.113.10",
    "ike_sas": [IKE_SA],
    "last_error": None,
    "last_error_age_s": None,
    "next_retry_in_s": None,
    "attempts": 0,
    "counters": {
        "attempt": 1,
        "rx response IKE_AUTH": 1,
        "rx response IKE_SA_INIT": 1,
        "tx request IKE_AUTH": 1,
        "tx request IKE_SA_INIT": 1,
    },
}
IKEV2_REFUSED: dict[str, Any] = IKEV2_UP | {
    "state": "waiting",
    "since_s": 8.2,
    "reason": PSK_REFUSED,
    "ike_sas": [],
    "last_error": PSK_REFUSED,
    "last_error_age_s": 8.2,
    "next_retry_in_s": 10.4,
    "attempts": 5,
    "counters": {"attempt": 5, "rx error AUTHENTICATION_FAILED": 5, "tx request IKE_AUTH": 5},
}
IKEV2_UNANSWERED: dict[str, Any] = IKEV2_UP | {
    "state": "connecting",
    "since_s": 0.3,
    "reason": "the peer does not answer IKE_SA_INIT",
    "ike_sas": [
        IKE_SA
        | {
            "spi_r": "0000000000000000",
            "state": "initiating",
            "remote_id": None,
            **dict.fromkeys(("proposal", "encryption", "key_bits", "prf", "dh_group", "auth_remote")),
            **dict.fromkeys(("rekey_in_s", "expires_in_s")),
            "outstanding": "IKE_SA_INIT",
            "queued": ["IKE_AUTH"],
        }
    ],
    "attempts": 1,
}

CHILD_SA: dict[str, Any] = {
    "spi_in": "0xf4e746eb",
    "spi_out": "0x433ae85b",
    "state": "active",
    "is_carrying": True,
    "is_initiator": True,
    "encryption": "aes-gcm-16",
    "key_bits": 256,
    "esn": False,
    "pfs_group": None,
    "udp_encapsulation": True,
    "local_ts": ["192.0.2.1/32[47]"],
    "remote_ts": ["192.0.2.10/32[47]"],
    "age_s": 754.3,
    "rekey_in_s": 2373.4,
    "expires_in_s": 2845.7,
    "rekey_failures": 0,
    "packets_in": 1094,
    "bytes_in": 79014,
    "packets_out": 21690,
    "bytes_out": 29289402,
}
IPSEC_UP: dict[str, Any] = {
    "interface": "vc-dc-a",
    "local_address": "198.51.100.1",
    "remote_address": "203.0.113.10",
    "path": "198.51.100.1:4500-203.0.113.10:4500",
    "state": layer("up", "aes-gcm-16-256 in UDP, SPI 0xf4e746eb in, 0x433ae85b out"),
    "path_mtu": 1500,
    "plaintext_mtu": 1438,
    "tunnel_mtu": 1414,
    "replay_window": 4096,
    "child_sas": [CHILD_SA],
    "counters": COUNTERS,
}
IPSEC_REFUSED: dict[str, Any] = IPSEC_UP | {
    "state": layer("down", "peer said TS_UNACCEPTABLE in CREATE_CHILD_SA", 23.5),
    **dict.fromkeys(("path", "path_mtu", "plaintext_mtu")),
    "child_sas": [],
    "counters": DROPS,
}

TUNNEL_UP: dict[str, Any] = {
    "interface": "vc-dc-a",
    "address": "100.64.1.2/30",
    "remote_address": "100.64.1.1",
    "line": layer("up", "keepalive answered"),
    "source": "192.0.2.1",
    "destination": "192.0.2.10",
    "key": None,
    "ttl": 255,
    "mtu": 1414,
    "path_mtu": 1500,
    "path_mtu_discovery": True,
    "mss": 1350,
    "keepalive": True,
    "keepalive_interval_s": 10.0,
    "keepalive_retries": 3,
    "keepalive_damping": False,
    "keepalives": KEEPALIVES,
    "protection": "ipsec dc-a",
    "forwarder_pid": 16428,
    "offloads": ["csum", "tso4", "udp-gso"],
    "last_input_age_s": 0.4,
    "last_output_age_s": 3.1,
    "counters": COUNTERS,
}
TUNNEL_DOWN: dict[str, Any] = TUNNEL_UP | {
    "line": layer("down", "3 keepalives unanswered", 61.0),
    "path_mtu": None,
    "key": 77,
    "keepalive_damping": True,
    "keepalives": KEEPALIVES | {"up": False, "missed": 9, "on_hold_for": 2, "refused": {"rate limit": 4}},
    "last_input_age_s": None,
    "counters": COUNTERS | DROPS,
}

_ATTRIBUTES: dict[str, Any] = {
    "origin": 0,
    "as_path": {"segments": [{"type": 2, "asns": [64600]}]},
    "next_hop": "100.64.1.1",
    "med": None,
    "local_pref": None,
    "communities": [],
}


def route(prefix: str, *, denied: str | None = None, **more: Any) -> dict[str, Any]:
    """A received route."""
    return {
        "prefix": prefix,
        "next_hop": "100.64.1.1",
        "attributes": _ATTRIBUTES | more,
        "received_age_s": 754.0,
        "denied": denied,
        "stale": False,
    }


DEFAULT_ROUTE: dict[str, Any] = {
    "prefix": "0.0.0.0/0",
    "next_hop": "100.64.1.2",
    "attributes": _ATTRIBUTES
    | {"as_path": {"segments": [{"type": 2, "asns": [64512]}]}, "next_hop": "100.64.1.2"},
    "denied": None,
}
BGP_COUNTERS: dict[str, Any] = {
    "messages_received": {"open": 2, "update": 2, "notification": 0, "keepalive": 8, "route_refresh": 0},
    "messages_sent": {"open": 2, "update": 2, "notification": 1, "keepalive": 10, "route_refresh": 0},
    "prefixes_announced": 4,
    "prefixes_withdrawn": 0,
    "updates_treated_as_withdraw": 0,
    "attributes_discarded": 0,
    "connections_established": 2,
    "connections_dropped": 1,
    "connections_refused": 0,
    "last_read_age_s": 1.056,
    "last_write_age_s": 0.653,
}
TCP: dict[str, Any] = {
    "local": ["100.64.1.2", 46743],
    "remote": ["100.64.1.1", 179],
    "listening": True,
    "listen_error": "",
    "ttl": 1,
    "gtsm": False,
    "md5": True,
    "max_segment_bytes": 1350,
}
BGP_UP: dict[str, Any] = {
    "session": layer("up", "established with 100.64.1.1, hold time 180 s"),
    "state": "established",
    "state_age_s": 754.3,
    "established_age_s": 754.3,
    "reason": "",
    "local_as": 64512,
    "remote_as": 64600,
    "router_id": "100.64.1.2",
    "local_address": "100.64.1.2",
    "remote_address": "100.64.1.1",
    "version": 4,
    "remote_router_id": "100.64.1.1",
    "outbound": True,
    "hold_time_s": 180,
    "keepalive_s": 60.0,
    "configured_hold_time_s": 180,
    "connect_retries": 0,
    "capabilities_sent": ["ipv4 unicast", "route refresh", "four-octet AS"],
    "capabilities_received": ["ipv4 unicast", "route refresh", "graceful restart"],
    "counters": BGP_COUNTERS,
    "table_version": 6,
    "prefixes_received": 3,
    "prefixes_accepted": 2,
    "prefixes_denied": 1,
    "prefixes_advertised": 1,
    "max_prefixes": 100,
    "prefixes_stale": 0,
    "restarting": False,
    "graceful_restart": False,
    "last_malformed_update": None,
    "last_reset": 'we said: Cease/Administrative Shutdown (6/2): "line down: 3 keepalives unanswered"',
    "last_reset_age_s": 762.0,
    "next_timeout": "KeepaliveTimer",
    "received": [
        route("10.77.0.0/24"),
        route("10.77.0.0/25", med=20, origin=2),
        route("192.168.0.0/16", denied="no rule of the policy accepts it"),
    ],
    "wanted": [DEFAULT_ROUTE],
    "advertised": [DEFAULT_ROUTE],
    "tcp": TCP,
}
BGP_REFUSED: dict[str, Any] = BGP_UP | {
    "session": layer("connecting", WRONG_AS, 23.3),
    "state": "active",
    "reason": WRONG_AS,
    "remote_as": 64999,
    "remote_address": "100.64.1.5",
    **dict.fromkeys(("remote_router_id", "outbound", "hold_time_s", "keepalive_s")),
    "connect_retries": 5,
    "capabilities_received": [],
    "counters": BGP_COUNTERS
    | {"connections_refused": 3, "updates_treated_as_withdraw": 1, "last_read_age_s": None},
    "prefixes_stale": 2,
    "restarting": True,
    "last_malformed_update": {"fault": "ORIGIN is missing", "message": "ff" * 40, "length": 40},
    "last_reset": WRONG_AS,
    "received": [],
    "wanted": [
        DEFAULT_ROUTE,
        DEFAULT_ROUTE | {"prefix": "10.0.0.0/8", "denied": "only 0.0.0.0/0 is announced"},
    ],
    "advertised": [],
    "tcp": TCP | {"local": None, "remote": None, "listen_error": "Address already in use"},
}

ROUTES: list[dict[str, Any]] = [
    {
        "prefix": "10.77.0.0/24",
        "tunnel": "dc-a",
        "device": "vc-dc-a",
        "metric": 196,
        "table": 254,
        "best": True,
    },
    {"prefix": "10.77.0.0/24", "tunnel": None, "device": None, "metric": 4196, "table": 254, "best": False},
    {
        "prefix": "10.77.0.0/25",
        "tunnel": "dc-a",
        "device": "vc-dc-a",
        "metric": 196,
        "table": 177,
        "best": True,
    },
]
CLOSED: list[dict[str, Any]] = [ROUTES[1] | {"best": True}]

STATUS_UP: dict[str, Any] = {
    "prefix": "10.77.0.0/25",
    "interface": "vc-dc-a",
    "ike": layer("up", "203.0.113.10 authenticated, 198.51.100.1:4500-203.0.113.10:4500")
    | {
        "peer": "203.0.113.10",
        "peer_id": "203.0.113.10",
        "path": "198.51.100.1:4500-203.0.113.10:4500",
        "outstanding": None,
        "last_error": None,
        "retry_in_s": None,
    },
    "esp": layer("up", "aes-gcm-16-256 in UDP, SPI 0xf4e746eb in, 0x433ae85b out")
    | {
        "spi_in": "0xf4e746eb",
        "spi_out": "0x433ae85b",
        "suite": "aes-gcm-16-256",
        "udp_encapsulation": True,
        "path": "198.51.100.1:4500-203.0.113.10:4500",
    },
    "gre": layer("up", "keepalive answered") | {"keepalives": KEEPALIVES},
    "bgp": layer("up", "established with 100.64.1.1, hold time 180 s")
    | {
        "peer": "100.64.1.1",
        "fsm": "established",
        "prefixes_received": 2,
        "prefixes_denied": 0,
        "prefixes_advertised": 1,
        "last_error": None,
    },
    "mtu": 1414,
    "counters": {name: count for name, count in COUNTERS.items() if count},
}
STATUS_REFUSED: dict[str, Any] = {
    "prefix": "10.77.0.128/25",
    "interface": "vc-dc-b",
    "ike": layer("connecting", PSK_REFUSED, 23.9)
    | {
        "peer": "203.0.113.200",
        "peer_id": None,
        "path": None,
        "outstanding": None,
        "last_error": PSK_REFUSED,
        "retry_in_s": 18.6,
    },
    "esp": layer("down", "IKE is not up", 23.9),
    "gre": layer("down", "no child SA yet", 23.9) | {"keepalives": None},
    "bgp": layer("down", NO_SA, 23.9)
    | {
        "peer": "100.64.1.5",
        "fsm": "idle",
        "prefixes_received": 0,
        "prefixes_denied": 0,
        "prefixes_advertised": 0,
        "last_error": WRONG_AS,
    },
    "mtu": 1414,
    "counters": DROPS,
}
RESTARTING: dict[str, Any] = {
    **dict.fromkeys(("ike", "esp", "gre", "bgp"), layer("down", "restarting after a fault of vcstack", 0.0)),
    "counters": {},
}
STATUS: dict[str, Any] = {
    "name": "branch-1",
    "role": "cpe",
    "since_s": 4000.0,
    "pid": 7,
    "warnings": ["net.ipv4.ip_forward is 0: nothing is forwarded between the LAN and the tunnels"],
    "tunnels": {"dc-a": STATUS_UP, "dc-b": STATUS_REFUSED},
    "routes": ROUTES,
}
