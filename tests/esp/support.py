"""Keys, selectors and packets that the ESP tests share."""

from ipaddress import IPv4Address
from typing import Any

from vcstack.esp.parameters import SaParameters
from vcstack.wire.ipv4 import Ipv4Header
from vcstack.wire.secret import Secret
from vcstack.wire.selector import TrafficSelector

NEAR, FAR = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
KEY = bytes(range(32))
SALT = bytes.fromhex("cafebabe")
SPI = 0xC0DECAFE


def packet(payload: bytes = b"payload", *, source: IPv4Address = NEAR, protocol: int = 47) -> bytes:
    """IPv4 packet from the near end to the far one."""
    return Ipv4Header(source, FAR, protocol).build(len(payload)) + payload


def parameters(*, local: IPv4Address, remote: IPv4Address, **changes: Any) -> SaParameters:
    """AES-256 SA for GRE between two hosts."""
    values: dict[str, Any] = {
        "spi": SPI,
        "key": Secret(KEY + SALT),
        "key_bits": 256,
        "local_selectors": (TrafficSelector.host(local, 47),),
        "remote_selectors": (TrafficSelector.host(remote, 47),),
    }
    return SaParameters(**(values | changes))
