"""Which labs exist on this machine: running, kept on purpose, or left over by a killed run.

A lab's number is in the names of its namespaces and of its folder, /run/vclab-NUMBER, which holds the
configuration files, secrets, logs and control sockets. A running lab also holds an abstract unix socket
of its name: the kernel takes that back however the lab ends, so nothing has to be trusted but the kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
from enum import StrEnum
from pathlib import Path

from vcstack.lab import namespaces
from vcstack.lab.plan import PREFIX

RUN = Path("/run")
_KEPT = "kept"
_NUMBER = re.compile(rf"{PREFIX}-(\d+)(?:-.*)?")


class State(StrEnum):
    """What a lab on this machine is."""

    RUNNING = "running"
    KEPT = "kept"
    LEFT_OVER = "left over"


class Claim:
    """A lab's number and folder, held by this process."""

    def __init__(self, number: int, lock: socket.socket) -> None:
        self.number = number
        self.folder = folder_of(number)
        self._lock = lock

    def keep(self) -> None:
        """Mark the lab as one that shall outlive this process."""
        (self.folder / _KEPT).touch()

    def remove(self) -> None:
        """Remove the lab: its processes, its namespaces, its folder."""
        namespaces.remove(namespaces.existing(self.number))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def release(self) -> None:
        """Let the number go."""
        self._lock.close()


def claim() -> Claim:
    """Take a number that no lab has, and make its folder, for root's eyes only."""
    number = os.getpid()
    while True:
        lock = _lock(number)
        if lock is not None:
            with contextlib.suppress(FileExistsError):
                folder_of(number).mkdir(mode=0o700)
                return Claim(number, lock)
            lock.close()
        number += 1


def folder_of(number: int) -> Path:
    """Where a lab has its files."""
    return RUN / f"{PREFIX}-{number}"


def labs() -> dict[int, State]:
    """Every lab of this machine."""
    return {number: _state(number) for number in _numbers()}


def remove(*states: State) -> list[int]:
    """Remove the labs that are in one of the states; their numbers."""
    removed = []
    for number, state in labs().items():
        lock = _lock(number) if state in states else None
        if lock is not None:
            with lock:
                Claim(number, lock).remove()
            removed.append(number)
    return removed


def _state(number: int) -> State:
    lock = _lock(number)
    if lock is None:
        return State.RUNNING
    lock.close()
    return State.KEPT if (folder_of(number) / _KEPT).exists() else State.LEFT_OVER


def _numbers() -> list[int]:
    names = [*namespaces.existing(), *(path.name for path in RUN.glob(f"{PREFIX}-*"))]
    return sorted({int(match[1]) for match in map(_NUMBER.fullmatch, names) if match})


def _lock(number: int) -> socket.socket | None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0{PREFIX}-{number}")
    except OSError:
        lock.close()
        return None
    return lock
