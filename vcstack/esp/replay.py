"""The anti-replay window of an inbound SA (RFC 4303 section 3.4.3 and appendix A2, RFC 6479).

```
                  top - size                         top
  ...--------------+---------------------------------+--------------->  sequence number
      too old: no  |  in the window: once each        |  ahead: yes, moves the window
```

Order of use for every packet: `check`, then authenticate, then `commit`. Only `commit`
changes the window, so a forged packet cannot move it, and a forged copy ahead of the genuine
packet cannot take its place.

The window is a ring of one byte per sequence number: number n lives in slot n mod size. A
run of new numbers, the usual batch, costs one comparison of neighbours and one or two slice
assignments; reordered and repeated rows cost a dozen array operations.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vcstack.esp.parameters import DEFAULT_REPLAY_WINDOW

MINIMUM_SIZE = 64
MAXIMUM_SIZE = 65536
_SUBSPACE = 1 << 32

Sequences = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class Verdict(StrEnum):
    """What the window says of a sequence number."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    TOO_OLD = "too old"


class ReplayWindow:
    """A window over 64-bit sequence numbers; without ESN they stay below 2^32.

    `size` is a multiple of 64 from 64 to 65536 packets, else ValueError. `top` is the highest
    number committed, 0 before the first: number 0 itself is never valid (RFC 4303 section 3.3.3).
    `replayed` and `too_old` count what check and commit refused.
    """

    __slots__ = ("_ring", "_slots", "replayed", "size", "too_old", "top")

    def __init__(self, size: int = DEFAULT_REPLAY_WINDOW) -> None:
        if size % 64 or not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
            raise ValueError(
                f"replay window of {size} packets; a multiple of 64 from 64 to 65536 is expected"
            )
        self.size = size
        self.top = 0
        self.replayed = 0
        self.too_old = 0
        self._slots = bytearray(size)
        self._ring = np.frombuffer(self._slots, dtype=np.uint8)
        self._slots[0] = 1  # number 0 counts as seen

    def check(self, sequence: int) -> Verdict:
        """Whether a packet with that number is worth authenticating."""
        verdict = self._judge(sequence)
        self._count(verdict)
        return verdict

    def commit(self, sequence: int) -> Verdict:
        """Enter the number of an authenticated packet; only ACCEPTED lets the packet pass."""
        if sequence == self.top + 1:  # the usual packet: its slot is overwritten, so none needs clearing
            self.top = sequence
            self._slots[sequence % self.size] = 1
            return Verdict.ACCEPTED
        verdict = self._judge(sequence)
        self._count(verdict)
        if verdict is Verdict.ACCEPTED:
            if sequence > self.top:
                self._advance(sequence)
            self._slots[sequence % self.size] = 1
        return verdict

    def check_batch(self, sequences: Sequences) -> Flags:
        """Check each row against the window as it is; equal rows get equal answers.

        Which of several equal rows passes is decided by `commit_batch`, among those that authenticated.
        """
        if self._is_run_ahead(sequences):
            return np.ones(len(sequences), dtype=np.bool_)
        # The sum on the left cannot overflow and, unlike top - size, cannot go below zero.
        recent = sequences + self.size > self.top
        replayed = recent & self._seen(sequences)
        accepted: Flags = recent & ~replayed
        self.replayed += int(np.count_nonzero(replayed))
        self.too_old += len(sequences) - int(np.count_nonzero(recent))
        return accepted

    def commit_batch(self, sequences: Sequences) -> Flags:
        """Enter the numbers of authenticated rows in their order; True where a row passes.

        Exactly as if `commit` were called row by row: the first of equal numbers passes, and
        a row that an earlier one has pushed out of the window does not.
        """
        if self._is_run_ahead(sequences):
            self._commit_run(sequences)
            return np.ones(len(sequences), dtype=np.bool_)
        if len(sequences) == 0 or int(sequences.max()) - int(sequences.min()) >= self.size:
            return self._commit_each(sequences)
        return self._commit_mixed(sequences)

    def commit_run(self, first: int, count: int) -> None:
        """Enter `count` consecutive numbers of authenticated rows, the first of which is above the window."""
        last = first + count - 1
        if first - 1 > self.top:
            self._advance(first - 1)
        self._fill(last, min(count, self.size), 1)
        self.top = last

    def extend(self, low: int) -> int:
        """Full 64-bit number for the 32 bits that an ESN packet carries (RFC 4303 appendix A2.2)."""
        high, bottom = self._subspace()
        return (high << 32 | low) if low >= bottom else ((high + 1) << 32 | low)

    def extend_batch(self, low: Sequences) -> Sequences:
        """`extend` for every row: values below 2^32 in, 64-bit numbers out."""
        high, bottom = self._subspace()
        extended: Sequences = low + np.where(low >= bottom, high << 32, (high + 1) << 32).astype(np.uint64)
        return extended

    def _subspace(self) -> tuple[int, int]:
        """Bottom of the window as upper and lower 32 bits; numbers below the lower are one subspace on."""
        return divmod(max(0, self.top - self.size + 1), _SUBSPACE)

    def _judge(self, sequence: int) -> Verdict:
        if sequence > self.top:
            return Verdict.ACCEPTED
        if sequence <= self.top - self.size:
            return Verdict.TOO_OLD
        return Verdict.REPLAYED if self._slots[sequence % self.size] else Verdict.ACCEPTED

    def _count(self, verdict: Verdict) -> None:
        if verdict is Verdict.REPLAYED:
            self.replayed += 1
        elif verdict is Verdict.TOO_OLD:
            self.too_old += 1

    def _is_run_ahead(self, sequences: Sequences) -> bool:
        """Whether the rows ascend strictly and all lie above the window."""
        count = len(sequences)
        if count == 0 or sequences.item(0) <= self.top:
            return False
        return count == 1 or np.count_nonzero(sequences[1:] > sequences[:-1]) == count - 1

    def _commit_run(self, sequences: Sequences) -> None:
        first, last = sequences.item(0), sequences.item(-1)
        if last - first == len(sequences) - 1:
            self.commit_run(first, len(sequences))
            return
        self._advance(last)
        if last >= self.size:
            sequences = sequences[sequences > last - self.size]
        self._ring[sequences % self.size] = 1

    def _commit_each(self, sequences: Sequences) -> Flags:
        """Commit rows so far apart that two of them may share a slot."""
        accepted = [self.commit(sequence) is Verdict.ACCEPTED for sequence in sequences.tolist()]
        return np.array(accepted, dtype=np.bool_)

    def _commit_mixed(self, sequences: Sequences) -> Flags:
        """Commit reordered or repeated rows that span less than the window: each number has its own slot."""
        rows = np.arange(len(sequences))
        slots = sequences % self.size
        first_row = np.empty(self.size, dtype=np.intp)
        first_row[slots[::-1]] = rows[::-1]  # the last assignment stands: that of the earliest row
        tops = np.maximum.accumulate(np.maximum(sequences, self.top))
        recent = sequences + self.size > tops
        replayed = recent & (self._seen(sequences) | (first_row[slots] != rows))
        accepted: Flags = recent & ~replayed
        self._advance(tops.item(-1))
        self._ring[slots[accepted]] = 1
        self.replayed += int(np.count_nonzero(replayed))
        self.too_old += len(sequences) - int(np.count_nonzero(recent))
        return accepted

    def _seen(self, sequences: Sequences) -> Flags:
        """Whether the slot of each number is taken by that number; meaningless for rows that are too old."""
        taken: Flags = (self._ring[sequences % self.size] != 0) & (sequences <= self.top)
        return taken

    def _advance(self, top: int) -> None:
        """Move the window up: the slots that come into it are unseen."""
        self._fill(top, min(top - self.top, self.size), 0)
        self.top = top

    def _fill(self, last: int, count: int, value: int) -> None:
        """Set the slots of the `count` numbers that end with `last`."""
        end = last % self.size + 1
        start = end - count
        if start >= 0:
            self._ring[start:end] = value
        else:
            self._ring[:end] = value
            self._ring[start:] = value
