"""What is wrong with a configuration, in words to act on: key, wrong value, what is expected."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vcstack.control.config_types import EXPECTED, STATED

SECRET_KEYS = frozenset({"psk", "local_psk", "remote_psk", "private_key", "ppk", "password"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning; `key` is dotted, and empty where the whole file is meant."""

    key: str
    value: str
    message: str

    def __str__(self) -> str:
        """`key: value: message`, without the parts that are empty."""
        return ": ".join(part for part in (self.key, self.value, self.message) if part)


def problems_of(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """Every problem of a failed validation, in the order of the file's keys, each once."""
    return tuple(dict.fromkeys(_translate(error, model)))


def _translate(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        # A default that is computed from a wrong value is no mistake of its own.
        if detail["type"] == "default_factory_not_called":
            continue
        path = tuple(str(part) for part in detail["loc"] if part != "[key]")
        yield Problem(
            ".".join(map(_shown_key, path)), _shown_value(detail, path), _message(detail, path, model)
        )


def _message(detail: ErrorDetails, path: tuple[str, ...], model: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind == STATED:
        return detail["msg"]
    description = _description(path, model)
    if kind == "missing":
        return f"missing; expected {description}"
    if kind == EXPECTED:
        return f"expected {detail['msg']}"
    return f"expected {_bounds(kind, detail.get('ctx', {})) or description}"


def _bounds(kind: str, context: Mapping[str, Any]) -> str:
    templates = {
        "greater_than_equal": "at least {ge}",
        "less_than_equal": "at most {le}",
        "less_than": "less than {lt}",
        "literal_error": "{expected}",
        "too_short": "at least {min_length} of them",
        "too_long": "at most {max_length} of them",
        "bool_type": "true or false",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text in quotes",
        "dict_type": "a table",
        "model_type": "a table",
        "tuple_type": "a list",
    }
    return templates.get(kind, "").format_map(context)


def _shown_key(part: str) -> str:
    """A key as TOML writes it, so that no control character of the file reaches a terminal."""
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part[:100])


def _shown_value(detail: ErrorDetails, path: tuple[str, ...]) -> str:
    """The wrong value as TOML writes it; nothing of secrets, and nothing under keys that nobody knows."""
    if detail["type"] in {"missing", "extra_forbidden"} or SECRET_KEYS & set(path):
        return ""
    value = detail["input"]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value[:100], ensure_ascii=False)
    if isinstance(value, int | float):
        return str(value)
    return ""


def _unknown_key(path: tuple[str, ...], model: type[BaseModel]) -> str:
    parent = _table(path[:-1], model)
    known = list(parent.model_fields) if parent else []
    close = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.6)
    return (
        f'unknown key; did you mean "{close[0]}"?'
        if close
        else f"unknown key; expected one of {', '.join(known)}"
    )


def _description(path: tuple[str, ...], model: type[BaseModel]) -> str:
    parent = _table(path[:-1], model)
    field = parent.model_fields.get(path[-1]) if parent and path else None
    return (field.description if field else None) or "another value"


def _table(path: tuple[str, ...], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model that describes the table at `path`."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = field.annotation if field else None
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
