"""Numbers that RFC 7296 and its companions fix."""

from typing import Final

MAJOR_VERSION: Final = 2
MINOR_VERSION: Final = 0
HEADER_LENGTH: Final = 28
"""Octets of the IKE header (3.1)."""
PAYLOAD_HEADER_LENGTH: Final = 4
"""Octets of the generic payload header (3.2)."""
IKE_SPI_LENGTH: Final = 8
ESP_SPI_LENGTH: Final = 4
NO_SPI: Final = bytes(IKE_SPI_LENGTH)
"""The responder's SPI before it has chosen one (2.6)."""
NONCE_MIN_LENGTH: Final = 16
NONCE_MAX_LENGTH: Final = 256
"""Octets of a nonce (3.9)."""
COOKIE_MIN_LENGTH: Final = 1
COOKIE_MAX_LENGTH: Final = 64
"""Octets of a COOKIE notification (2.6)."""
NAT_DETECTION_LENGTH: Final = 20
"""Octets of a NAT detection hash, SHA-1 (2.23)."""
PSK_PAD: Final = b"Key Pad for IKEv2"
"""What binds a pre-shared key to IKEv2 (2.15)."""
