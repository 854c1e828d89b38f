"""The log: one line per change of state with its reason, on stderr; nothing per packet, no secrets."""

from __future__ import annotations

import contextlib
import logging
import os

_ROOT = logging.getLogger("vcstack")
_LINE = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
_LINE_OF_JOURNAL = "%(levelname)s %(message)s"
_STDERR = 2


class _Lines(logging.Handler):
    """Each record is one write: what a full disk does not take is lost, and disturbs nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            os.write(_STDERR, f"{self.format(record)}\n".encode(errors="backslashreplace"))


def configure(level: str) -> None:
    """Log from `level` upwards; under systemd the journal adds the time."""
    line = _LINE_OF_JOURNAL if "JOURNAL_STREAM" in os.environ else _LINE
    handler = _Lines()
    handler.setFormatter(logging.Formatter(line, datefmt="%Y-%m-%d %H:%M:%S"))
    _ROOT.handlers[:] = [handler]
    _ROOT.setLevel(level.upper())
    _ROOT.propagate = False


def get(name: str = "") -> logging.Logger:
    """The log of a part of the daemon."""
    return _ROOT.getChild(name) if name else _ROOT
