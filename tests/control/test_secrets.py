"""Secrets come from guarded places, and no message shows them."""

import os
from pathlib import Path

import pytest

from vcstack.control.secrets import MAX_SECRET_BYTES, SecretError, resolve


def guarded(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    file = directory / "psk"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"abc", b"abc"),
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b" a b \n\n", b" a b \n"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_a_file_loses_its_last_line_end_and_nothing_else(
    tmp_path: Path, content: bytes, secret: bytes
) -> None:
    file = guarded(tmp_path, content)
    assert resolve({"file": str(file)}, Path("/nowhere"), {}).reveal() == secret
    assert resolve({"file": "psk"}, tmp_path, {}).reveal() == secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    guarded(tmp_path, b"hunter2", mode)
    with pytest.raises(SecretError, match=f"has mode {mode:04o}, open to others; expected 0600") as caught:
        resolve({"file": "psk"}, tmp_path, {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(guarded(tmp_path, b"hunter2"), 12345, 0)
    with pytest.raises(SecretError, match="belongs to user id 12345"):
        resolve({"file": "psk"}, tmp_path, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"x" * (MAX_SECRET_BYTES + 1), "longer than")],
)
def test_a_file_of_a_strange_size_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    guarded(tmp_path, content)
    with pytest.raises(SecretError, match=message):
        resolve({"file": "psk"}, tmp_path, {})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, message in (
        ("pipe", "not a regular file"),
        ("absent", "cannot be read"),
        ("a\0b", "not a path"),
    ):
        with pytest.raises(SecretError, match=message):
            resolve({"file": name}, tmp_path, {})


def test_the_environment_is_looked_up_by_name() -> None:
    assert resolve({"env": "DC_A_PSK"}, Path(), {"DC_A_PSK": "abc"}).reveal() == b"abc"
    with pytest.raises(SecretError, match="DC_A_PSK is not set"):
        resolve({"env": "DC_A_PSK"}, Path(), {})
    with pytest.raises(SecretError, match="DC_A_PSK is empty"):
        resolve({"env": "DC_A_PSK"}, Path(), {"DC_A_PSK": ""})


def test_a_systemd_credential_is_read_from_its_directory(tmp_path: Path) -> None:
    guarded(tmp_path, b"abc", 0o440)
    assert resolve({"credential": "psk"}, Path(), {"CREDENTIALS_DIRECTORY": str(tmp_path)}).reveal() == b"abc"
    with pytest.raises(SecretError, match="CREDENTIALS_DIRECTORY is not set"):
        resolve({"credential": "psk"}, Path(), {})
    with pytest.raises(SecretError, match="without a slash"):
        resolve({"credential": "../psk"}, Path(), {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize(
    "reference", [{}, {"file": "a", "env": "B"}, {"path": "a"}, {"file": 3}, {"file": ""}, 7, [1]]
)
def test_a_reference_has_exactly_one_known_key(reference: object) -> None:
    with pytest.raises(SecretError, match="exactly one of"):
        resolve(reference, Path(), {})
