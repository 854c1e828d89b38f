"""Pauses that grow with every failure in a row (RFC 4271 8.1.1, DampPeerOscillations)."""


class Damping:
    """Doubles from `floor_s` to `ceiling_s`; jitter is the timer's."""

    def __init__(self, floor_s: float, ceiling_s: float) -> None:
        self._floor_s = floor_s
        self._ceiling_s = max(floor_s, ceiling_s)
        self._pause_s = floor_s

    def next_pause(self) -> float:
        """Return the pause after one more failure, in seconds."""
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._ceiling_s)
        return pause_s

    def forgive(self) -> None:
        """Begin at the floor again."""
        self._pause_s = self._floor_s
