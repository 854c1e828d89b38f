"""What the BGP RFCs fix, and nothing that an operator may tune."""

from typing import Final

VERSION: Final = 4
PORT: Final = 179

HEADER_LENGTH: Final = 19  # RFC 4271 4.1
MAX_MESSAGE_LENGTH: Final = 4096  # RFC 4271 4.1; RFC 8654 is not negotiated
MARKER: Final = b"\xff" * 16

AS_TRANS: Final = 23456  # RFC 6793 3: stands for an AS number that needs four octets
MAX_TWO_OCTET_AS: Final = 0xFFFF
MAX_AS: Final = 0xFFFF_FFFF

MIN_HOLD_TIME_S: Final = 3  # RFC 4271 4.2: zero, or at least three seconds
KEEPALIVES_PER_HOLD_TIME: Final = 3  # RFC 4271 4.4
JITTER_FLOOR: Final = 0.75  # RFC 4271 10: timers run for 0.75 to 1.0 of their value

SHUTDOWN_COMMUNICATION_BYTES: Final = 128  # RFC 9003 3: what any receiver takes

MIN_SEND_HOLD_TIME_S: Final = 480.0  # RFC 9687 5: eight minutes or two hold times, whichever is more
SEND_HOLD_TIME_PER_HOLD_TIME: Final = 2
