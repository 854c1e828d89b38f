"""tshark as a judge of captures: it is given the keys, and its dissection is read field by field.

The keys stand in files of the test's own folder, which is tshark's configuration folder for that one run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from xml.etree import ElementTree as ET

from tests.support.netns import require_program

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from pathlib import Path

    from vcstack.ikev2.protection import Protection
    from vcstack.wire.secret import Secret

IKE_CIPHERS = {
    "aes128gcm16": "AES-GCM-128 with 16 octet ICV [RFC5282]",
    "aes256gcm16": "AES-GCM-256 with 16 octet ICV [RFC5282]",
    "aes128": "AES-CBC-128 [RFC3602]",
    "aes256": "AES-CBC-256 [RFC3602]",
}
IKE_INTEGRITIES = {
    "sha256": "HMAC_SHA2_256_128 [RFC4868]",
    "sha384": "HMAC_SHA2_384_192 [RFC4868]",
    "sha512": "HMAC_SHA2_512_256 [RFC4868]",
}
NO_INTEGRITY = "NONE [RFC4306]"
ESP_CIPHER = "AES-GCM with 16 octet ICV [RFC4106]"
PREFERENCES = (
    "esp.enable_encryption_decode:TRUE",
    "esp.enable_authentication_check:TRUE",
    "ip.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "tcp.analyze_sequence_numbers:FALSE",
)
PI_NOTE = 0x400000
"""Severity from which on an expert's remark is a complaint; below are plain facts, such as a TCP SYN."""
_RUN_S = 30.0


@dataclass(frozen=True)
class Field:
    """One field of a dissection: its filter name, its value, its line in the tree."""

    name: str
    value: str
    line: str


@dataclass(frozen=True)
class Frame:
    """One packet of a capture, as tshark dissects it."""

    number: int
    fields: tuple[Field, ...]

    @classmethod
    def of(cls, number: int, packet: ET.Element) -> Self:
        """Flatten a packet of PDML, in the order of the tree."""
        nodes = (node for node in packet.iter() if node.tag in ("proto", "field"))
        return cls(
            number, tuple(Field(*map(node.get, ("name", "show", "showname"), ("",) * 3)) for node in nodes)
        )

    def all(self, name: str) -> list[str]:
        """The values of a field, in order."""
        return [field.value for field in self.fields if field.name == name]

    def lines(self, name: str) -> list[str]:
        """The lines in which a field is shown, in order."""
        return [field.line for field in self.fields if field.name == name]

    @property
    def protocols(self) -> str:
        """From the outermost to the innermost, joined by colons."""
        return self.all("frame.protocols")[0]

    @property
    def complaints(self) -> list[str]:
        """What is malformed, contradictory or not authentic in it."""
        found = [field.line for field in self.fields if field.name == "_ws.malformed"]
        found += [field.line for field in self.fields if "[incorrect" in field.line]
        if "1" in self.all("esp.icv_bad"):
            found.append("ESP: the ICV is bad")
        severities = [int(value) for value in self.all("_ws.expert.severity")]
        remarks = zip(self.all("_ws.expert.message"), severities, strict=True)
        return found + [text for text, severity in remarks if severity >= PI_NOTE]


class Tshark:
    """Dissects captures with the keys that it was given."""

    def __init__(self, folder: Path) -> None:
        self._program = require_program("tshark")
        self._folder = folder
        self._ike: list[str] = []
        self._esp: list[str] = []

    def ike_sa(self, spi_i: bytes, spi_r: bytes, protection: Protection) -> None:
        """Give it the keys of an IKE SA."""
        keys, names = protection.keys, str(protection.suite).split("-")
        cipher = IKE_CIPHERS[names[0]]
        integrity = IKE_INTEGRITIES.get(names[1], NO_INTEGRITY)
        ei, er, ai, ar = (key.reveal().hex() for key in (keys.ei, keys.er, keys.ai, keys.ar))
        self._ike.append(f'{spi_i.hex()},{spi_r.hex()},{ei},{er},"{cipher}",{ai},{ar},"{integrity}"')

    def esp_sa(self, source: IPv4Address, destination: IPv4Address, spi: int, key: Secret) -> None:
        """Give it the key and salt of one direction."""
        values = (
            "IPv4",
            source,
            destination,
            f"0x{spi:08x}",
            ESP_CIPHER,
            f"0x{key.reveal().hex()}",
            "NULL",
            "",
        )
        self._esp.append(",".join(f'"{value}"' for value in values))

    def dissect(self, capture: Path) -> list[Frame]:
        """Every packet of a capture; AssertionError when tshark did not understand what it was given."""
        home = self._folder / "tshark"
        home.mkdir(mode=0o700)
        try:
            for name, lines in (("ikev2_decryption_table", self._ike), ("esp_sa", self._esp)):
                (home / name).write_text("".join(f"{line}\n" for line in lines))
            return self._run(home, capture)
        finally:
            shutil.rmtree(home)

    def _run(self, home: Path, capture: Path) -> list[Frame]:
        options = [word for preference in PREFERENCES for word in ("-o", preference)]
        result = subprocess.run(
            [self._program, "-n", "-r", str(capture), "-T", "pdml", *options],
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            env={**os.environ, "WIRESHARK_CONFIG_DIR": str(home), "LC_ALL": "C.UTF-8"},
            check=False,
        )
        said = [line for line in result.stderr.splitlines() if line.strip() and "Running as user" not in line]
        assert result.returncode == 0, said
        assert not said, said
        packets = ET.fromstring(result.stdout).findall("packet")
        return [Frame.of(number, packet) for number, packet in enumerate(packets, start=1)]
