r"""Reading the configuration file: `load` gives a Configuration, or every error at once.

file -> tomllib -> models of config_model (types, defaults, rules) -> Configuration
                \-> ConfigError(problems)                          \-> .warnings
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from vcstack.control.config_model import Bgp, Configuration, Gre, Interface, Ipsec, Tunnel
from vcstack.control.config_problems import Problem, problems_of
from vcstack.control.config_types import Origin

MAX_FILE_BYTES = 1_000_000

__all__ = [
    "Bgp",
    "ConfigError",
    "Configuration",
    "Gre",
    "Interface",
    "Ipsec",
    "Problem",
    "Tunnel",
    "load",
    "loads",
]


class ConfigError(Exception):
    """A file that cannot be used: `problems` has all its errors; the text has one line for each."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Read a file; relative paths of secrets start at its directory. Raises ConfigError."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).decode()
    except OSError as error:
        raise ConfigError(str(path), (Problem("", "", f"cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), (Problem("", "", f"not UTF-8 at byte {error.start}"),)) from None
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(str(path), (Problem("", "", f"longer than {MAX_FILE_BYTES} bytes"),))
    return loads(text, str(path), directory=path.parent, environment=environment)


def loads(
    text: str,
    source: str = "configuration",
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Read a text that messages call `source`; raises ConfigError.

    Secrets are looked up in `directory` (default: the current one) and in `environment`
    (default: that of the process).
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, (Problem("", "", f"not TOML: {error}"),)) from None
    role = "headend" if tables.get("role") == "headend" else "cpe"
    origin = Origin(directory or Path(), os.environ if environment is None else environment, role)
    try:
        return Configuration.model_validate(tables, context=origin)
    except ValidationError as error:
        problems = problems_of(error, Configuration)
    # Raised here, so that pydantic's error with the whole input is not chained to it.
    raise ConfigError(source, problems)
