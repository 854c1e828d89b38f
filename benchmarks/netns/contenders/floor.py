"""A C program that does nothing but the packets' way, when its source is beside the checkout.

Mode a moves one packet per system call and encrypts nothing; mode c has the kernel's offloads and AES-256-GCM
and nothing else: no policy, no GRE, no lifetimes.
"""

import subprocess
from pathlib import Path

from benchmarks.netns.contenders import Contender, await_path, program
from benchmarks.netns.network import OUTER, Field, Space, wait_until

SOURCE = Path(__file__).parents[3] / ".." / "shared" / "floor" / "floor.c"
MTU = 1420
_PORT = 4501


class Floor(Contender):
    """The program in one mode."""

    def __init__(self, mode: str, folder: Path) -> None:
        self.name = f"C floor {mode}"
        self._mode = mode
        self._program = folder / "floor"

    def missing(self) -> str | None:
        if not SOURCE.exists():
            return "its source is not beside this checkout"
        compiler = program("cc")
        if compiler is None:
            return "there is no C compiler"
        if not self._program.exists():
            return self._compile(compiler)
        return None

    def start(self, field: Field) -> dict[str, float]:
        near, far = OUTER[0]
        self._run(field, field.near, near, far)
        self._run(field, field.far, far, near)
        field.route("tun0", "tun0")
        await_path(field)
        return {}

    def _run(self, field: Field, space: Space, local: str, remote: str) -> None:
        ends = (f"{local}:{_PORT}", f"{remote}:{_PORT}")
        log = field.folder / "floor.log"
        process = space.spawn(str(self._program), self._mode, "tun0", *ends, log=log)
        devices = Path(f"/proc/{process.pid}/net/dev")
        wait_until(lambda: process.poll() is None and "tun0" in devices.read_text(), 5, "the floor's device")
        space.ip(f"link set tun0 up mtu {MTU}")

    def _compile(self, compiler: str) -> str | None:
        options = ("-O3", "-march=native", str(SOURCE), "-o", str(self._program), "-lcrypto", "-lpthread")
        done = subprocess.run((compiler, *options), capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else f"it does not compile: {done.stderr.strip().splitlines()[0]}"
