"""Reference material that is kept beside the checkout, and skips the test where it is absent."""

import json
from pathlib import Path
from typing import Any

import pytest

_SHARED = Path(__file__).parents[2] / ".." / "shared"


def shared_path(name: str) -> Path:
    """Path of a file below ../shared; the test that asks is skipped when it does not exist."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"reference material ../shared/{name} is absent")
    return path


def shared_json(name: str) -> Any:
    """Content of a JSON file below ../shared."""
    return json.loads(shared_path(name).read_text())
