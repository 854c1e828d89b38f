"""Damping of a line that flaps: it has to prove itself before it carries traffic again.

OpenBSD's gre(4) has it, IOS has not. After a failure the line is on hold until as many keepalives were
answered as the hold demands: `base` the first time, twice as many each time after, `base` * 16 at most;
every answer while the line is up lowers the next demand by one, down to `base`.
"""

CEILING = 16


class Damper:
    """Counts answers of a line that failed; with `base` 0 nothing is ever owed."""

    __slots__ = ("_base", "_demand", "_owes", "_remaining")

    def __init__(self, base: int) -> None:
        self._base = base
        self._demand = base
        self._owes = False
        self._remaining = 0

    @property
    def owes(self) -> bool:
        """Whether the line failed and has not proved itself since."""
        return self._owes

    @property
    def remaining(self) -> int:
        """Answers that the hold still demands."""
        return self._remaining

    def fail(self) -> None:
        """Note that the line went down."""
        self._owes = self._base > 0
        self._remaining = 0

    def hold(self) -> None:
        """Begin to count; the next hold demands twice as much."""
        self._remaining = self._demand
        self._demand = min(2 * self._demand, CEILING * self._base)

    def prove(self) -> bool:
        """Count an answer; whether the hold is over."""
        self._remaining -= 1
        if self._remaining > 0:
            return False
        self._owes = False
        return True

    def relax(self) -> None:
        """Note an answer while the line is up."""
        self._demand = max(self._demand - 1, self._base)
