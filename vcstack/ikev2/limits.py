"""How much an unauthenticated sender can make this end send (RFC 7296 section 2.21.4)."""


class TokenBucket:
    """Grants `rate_per_s` actions on average, and as many at once as come in four seconds."""

    def __init__(self, rate_per_s: float, now: float) -> None:
        self._rate = rate_per_s
        self._capacity = max(1.0, 4 * rate_per_s)
        self._tokens = self._capacity
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Whether one more action is allowed now."""
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
