"""Send the pattern over TCP: `python -m vcstack.lab.programs.send ADDRESS PORT SECONDS`.

Prints the sink's answer, one JSON line.
"""

import socket
import sys
import time

from vcstack.lab.pattern import BLOCK

_CONNECT_S = 5.0
_PATIENCE_S = 15.0


def send(address: str, port: int, seconds: float) -> str:
    """Send for so long, and return what the receiver answers. Raises OSError."""
    with socket.create_connection((address, port), _CONNECT_S) as connection:
        connection.settimeout(_PATIENCE_S)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(BLOCK)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("r") as answer:
            return answer.readline().strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(send(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])) + "\n")
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
