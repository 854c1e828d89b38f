"""Who takes part: each starts itself at all ends of a field, and says when it cannot."""

import shutil
from abc import ABC, abstractmethod
from typing import ClassVar

from benchmarks.netns.network import DESTINATIONS, SOURCES, BenchError, Field, wait_until
from vcstack.lab.namespaces import search_path


class Contender(ABC):
    """One implementation, in one mode."""

    name: str
    ends: ClassVar[int] = 1
    """Far ends that it needs: 2 where two tunnels are measured, too."""

    @abstractmethod
    def missing(self) -> str | None:
        """Why it cannot take part here, or None."""

    @abstractmethod
    def start(self, field: Field) -> dict[str, float]:
        """Start it and return when packets can flow, with what was measured on the way. Raises BenchError."""

    def finish(self, field: Field) -> dict[str, float]:  # noqa: ARG002 (for those who have something)
        """What can be said at the end of a turn, before it all goes away."""
        return {}


def program(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name, path=f"{search_path()}:/usr/lib/ipsec")


def await_path(field: Field, timeout_s: float = 10.0) -> None:
    """Wait until an echo comes back through the tunnel of each far end. Raises BenchError."""

    def answers(number: int) -> bool:
        ping = ("ping", "-n", "-q", "-c1", "-W1", "-I", SOURCES[0], DESTINATIONS[number])
        try:
            field.near.run(*ping)
        except BenchError:
            return False
        return True

    for number in range(len(field.fars)):
        wait_until(lambda number=number: answers(number), timeout_s, "an echo")  # type: ignore[misc]
