"""Where a secret comes from: a file that only its owner can read, the environment, or a systemd credential.

A reference is the inline table of the configuration, with exactly one key:
``{ file = "/etc/vcstack/dc-a.psk" }``, ``{ env = "DC_A_PSK" }`` or ``{ credential = "dc-a.psk" }``.
No message of this module contains what was read, nor what might be a secret typed in the wrong place.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from vcstack.wire.secret import Secret

MAX_SECRET_BYTES = 4096
REFERENCE = 'exactly one of { file = "path" }, { env = "NAME" } or { credential = "name" }'

_ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class SecretError(ValueError):
    """A secret that cannot be had; the text says what is wrong with its source and what is expected."""


def resolve(reference: object, directory: Path, environment: Mapping[str, str]) -> Secret:
    """The secret that `reference` points to; relative files are looked up in `directory`.

    Raises SecretError for a malformed reference, a file that others can read, and an absent or empty secret.
    """
    if isinstance(reference, str):
        raise SecretError(f"a secret is never written in the configuration: expected {REFERENCE}")
    if not isinstance(reference, dict) or len(reference) != 1:
        raise SecretError(f"expected {REFERENCE}")
    ((kind, name),) = reference.items()
    read = _READERS.get(kind)
    if read is None or not isinstance(name, str) or not name:
        raise SecretError(f"expected {REFERENCE}")
    return Secret(read(name, directory, environment))


def _from_file(name: str, directory: Path, _environment: Mapping[str, str]) -> bytes:
    path = directory / name
    return _content(_read(path, guarded=True), f"file {path}")


def _from_environment(name: str, _directory: Path, environment: Mapping[str, str]) -> bytes:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise SecretError(
            "env: expected the name of an environment variable: capitals, digits and underscores"
        )
    if name not in environment:
        raise SecretError(f"environment variable {name} is not set")
    return _content(os.fsencode(environment[name]), f"environment variable {name}")


def _from_credential(name: str, _directory: Path, environment: Mapping[str, str]) -> bytes:
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise SecretError("credential: expected the name of a systemd credential, without a slash")
    directory = environment.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(
            f"credential {name}: CREDENTIALS_DIRECTORY is not set; "
            f"expected a systemd unit with LoadCredential={name}"
        )
    path = Path(directory) / name
    # systemd guards its credentials with an ACL, which shows as a group permission in the mode.
    return _content(_read(path, guarded=False), f"credential {path}")


_READERS: dict[str, Callable[[str, Path, Mapping[str, str]], bytes]] = {
    "file": _from_file,
    "env": _from_environment,
    "credential": _from_credential,
}


def _read(path: Path, *, guarded: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SecretError(f"file {path} cannot be read: {reason}") from None
    with os.fdopen(descriptor, "rb") as file:
        # The checks are made on the open file, so that it cannot be exchanged between check and use.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SecretError(f"{path} is not a regular file")
        if guarded:
            _check_owner_only(path, status)
        return file.read(MAX_SECRET_BYTES + 1)


def _check_owner_only(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError(
            f"file {path} has mode {mode:04o}, open to others; expected 0600 (chmod 600 {path})"
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise SecretError(
            f"file {path} belongs to user id {status.st_uid}; expected root or the user of vcstack"
        )


def _content(data: bytes, origin: str) -> bytes:
    if len(data) > MAX_SECRET_BYTES:
        raise SecretError(f"{origin} is longer than {MAX_SECRET_BYTES} bytes")
    content = data.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise SecretError(f"{origin} is empty")
    return content
