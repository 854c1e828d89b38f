"""Bytes that must not be shown: keys, pre-shared keys, Diffie-Hellman results."""

import hmac
from typing import NoReturn, SupportsIndex


class Secret:
    """Holds secret bytes so that no log line, status, traceback or pickle can carry them by accident.

    Two secrets compare in constant time. A secret has no hash: one taken over the
    content would tell equal keys apart from different ones.
    """

    __slots__ = ("_data",)
    __hash__ = None  # type: ignore[assignment]  # mypy wants a method; None is Python's word for "no hash"

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = bytes(data)

    def reveal(self) -> bytes:
        """Return the bytes, for the one place that computes with them."""
        return self._data

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._data, other._data)

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")
