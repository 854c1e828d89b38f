"""The Linux-kernel data centre of ../shared/headend, in User-Mode Linux.

Kernel ESP, kernel GRE, strongSwan and BIRD: what a data centre is made of, without our code.
"""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.netns import Namespace, require_program
from tests.support.shared import shared_path

START_S = 90


@dataclass
class Headend:
    """One instance, attached by a tap to the bridge `br0` of `namespace`; its files are in `folder`."""

    namespace: Namespace
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Boot it; skip the test, with what it said, where it cannot start."""
        require_program("linux.uml")
        result = self._script("start")
        if result.returncode != 0:
            pytest.skip(f"the User-Mode Linux headend cannot start here: {result.stderr.strip()[-300:]}")

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell command inside; what it printed comes back."""
        result = self._script("run", command)
        if check and result.returncode != 0:
            message = f"headend: {command!r} ended with {result.returncode}: {result.stdout}{result.stderr}"
            raise AssertionError(message)
        return result.stdout

    def stop(self) -> None:
        """A power cut."""
        self._script("stop")

    def log(self, name: str) -> str:
        """A log file: `charon` or `bird`."""
        files = sorted(self.folder.glob(f"*/{name}.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def _script(self, *words: str) -> subprocess.CompletedProcess[str]:
        script = shared_path("headend/headend.sh")
        environment = {
            **os.environ,
            "PATH": _path_of_the_host(),
            "STATE": str(self.folder),
            "NETNS": self.namespace.name,
            "BRIDGE": "br0",
            **self.settings,
        }
        command = ["bash", str(script), *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=START_S, check=False
        )


def _path_of_the_host() -> str:
    """PATH without this interpreter's virtual environment: /tmp, where that may be, is another one inside."""
    own = Path(sys.prefix) / "bin"
    return os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own)
