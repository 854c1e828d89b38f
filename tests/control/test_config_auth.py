"""The ways to authenticate in the configuration file: what each needs, and what it has no use for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.control.test_config import CPE, ENVIRONMENT
from tests.support.authority import NOW, authority, pem_of, private_key, spki_of, trusted_keys
from vcstack.control import translate
from vcstack.control.config import ConfigError, Tunnel, loads
from vcstack.ikev2.credentials import Ppk, TrustedAuthorities
from vcstack.io import clock
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

ROOT = authority()
UPPER = ROOT.issue("upper", is_authority=True)
BRANCH = UPPER.issue("branch", ["198.51.100.1", "branch.example"])
CERTIFICATE = 'certificate = "branch.pem"\nprivate_key = { file = "branch.key" }'
BOTH = f'auth = "certificate"\n{CERTIFICATE}\nca = "ca.pem"'
BARE = 'auth = "public-key"\nprivate_key = { file = "rsa.key" }\nremote_public_key = "dc.pub"'
PPK = 'ppk = { id = "branch-1", file = "ppk" }'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "branch.pem": BRANCH.pem + UPPER.pem,
        "branch.key": pem_of(BRANCH.key),
        "other.key": pem_of(private_key("p256", "other")),
        "rsa.key": pem_of(private_key("rsa")),
        "weak.key": pem_of(private_key("rsa1024")),
        "ca.pem": ROOT.pem,
        "dc.pub": spki_of(private_key("p256", "dc"), Encoding.PEM),
        "dc.der": spki_of(private_key("p384", "dc")),
        "ppk": b"p" * 32 + b"\n",
        "long": b"x" * 100_001,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def read(folder: Path, lines: str) -> Tunnel:
    text = CPE.replace('psk = { env = "PSK" }', lines)
    assert text != CPE
    return loads(text, directory=folder, environment=ENVIRONMENT).tunnels["dc-a"]


def problems(folder: Path, lines: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, lines)
    prefix = "tunnels.dc-a.ipsec."
    return {problem.key.removeprefix(prefix): problem.message for problem in caught.value.problems}


def test_certificates(folder: Path) -> None:
    tunnel = read(folder, BOTH)
    assert (tunnel.ipsec.local_psk, tunnel.ipsec.remote_psk) == (None, None)
    config = translate.peer_config(tunnel)
    assert config.local_signer is not None
    assert config.local_signer.chain == (BRANCH.certificate, UPPER.certificate)
    assert config.remote_trust == TrustedAuthorities((ROOT.certificate,), clock.wall)
    assert str(config.local_signer) == "certificate, ECDSA"


def test_bare_public_keys(folder: Path) -> None:
    config = translate.peer_config(read(folder, BARE))
    assert config.remote_trust == trusted_keys("p256", owner="dc")
    assert str(config.local_signer) == "public key, RSA"
    both = BARE.replace('"dc.pub"', '["dc.der", "dc.pub"]')
    assert translate.peer_config(read(folder, both)).remote_trust == trusted_keys("p384", "p256", owner="dc")


@pytest.mark.parametrize(
    "lines",
    [
        f'psk = {{ env = "PSK" }}\nlocal_auth = "certificate"\n{CERTIFICATE}',
        f'remote_psk = {{ env = "PSK" }}\nlocal_auth = "certificate"\n{CERTIFICATE}',
        f'auth = "certificate"\nremote_auth = "psk"\npsk = {{ env = "PSK" }}\n{CERTIFICATE}',
    ],
)
def test_each_end_in_its_own_way(folder: Path, lines: str) -> None:
    config = translate.peer_config(read(folder, lines))
    assert config.local_signer is not None
    assert (config.local_psk, config.remote_psk) == (None, Secret(b"a secret"))
    assert config.remote_trust is None


@pytest.mark.parametrize(("padding", "oid"), [("pss", "0d01010a"), ("pkcs1", "0d01010b")])
def test_the_padding_of_rsa(folder: Path, padding: str, oid: str) -> None:
    signer = translate.peer_config(read(folder, f'{BARE}\nrsa_padding = "{padding}"')).local_signer
    assert signer is not None
    assert oid in signer.key.sign(b"message", [2])[:30].hex()


@pytest.mark.parametrize("mandatory", [True, False])
def test_ppk(folder: Path, *, mandatory: bool) -> None:
    line = PPK if not mandatory else PPK.replace(" }", ", mandatory = true }")
    config = translate.peer_config(read(folder, f'psk = {{ env = "PSK" }}\n{line}'))
    assert config.ppk == Ppk("branch-1", Secret(b"p" * 32), is_mandatory=mandatory)


@pytest.mark.parametrize(
    ("lines", "key", "message"),
    [
        ("", "psk", "missing; expected psk, or both local_psk and remote_psk"),
        (f'local_auth = "certificate"\n{CERTIFICATE}', "psk", "missing; expected psk"),
        ('auth = "x509"', "auth", "expected 'psk', 'certificate' or 'public-key'"),
        (
            'auth = "certificate"',
            "certificate",
            'missing; local_auth is "certificate": expected the file of our',
        ),
        (
            'auth = "certificate"',
            "private_key",
            'missing; local_auth is "certificate": expected the private key',
        ),
        (
            'auth = "certificate"',
            "ca",
            'missing; remote_auth is "certificate": expected the file of the auth',
        ),
        (
            'auth = "public-key"',
            "remote_public_key",
            'missing; remote_auth is "public-key": expected the file',
        ),
        (
            f'{BOTH}\npsk = {{ env = "PSK" }}',
            "psk",
            "of no use: neither end authenticates by a pre-shared key",
        ),
        (f'{BOTH}\nlocal_psk = {{ env = "PSK" }}', "local_psk", 'of no use: local_auth is "certificate"'),
        (
            f'{BOTH}\nremote_public_key = "dc.pub"',
            "remote_public_key",
            'of no use: remote_auth is "certificate"',
        ),
        ('psk = { env = "PSK" }\nca = "ca.pem"', "ca", 'of no use: remote_auth is "psk"'),
        (f'{BARE}\ncertificate = "branch.pem"', "certificate", 'of no use: local_auth is "public-key"'),
        (
            BOTH.replace("branch.key", "other.key"),
            "private_key",
            "not the private key of the certificate (CN=branch,O=Example)",
        ),
        (
            BOTH.replace("branch.key", "weak.key"),
            "private_key",
            "the RSA key has 1024 bits, at least 2048 are expected",
        ),
        (BOTH.replace("branch.key", "ca.pem"), "private_key", "not a private key in PEM"),
        (
            BOTH.replace('{ file = "branch.key" }', '"hunter2"'),
            "private_key",
            "a secret is never written in the configuration",
        ),
        (BOTH.replace("ca.pem", "absent.pem"), "ca", "absent.pem cannot be read: No such file or directory"),
        (BOTH.replace("ca.pem", "branch.key"), "ca", "no X.509 certificate in PEM"),
        (BOTH.replace('"ca.pem"', "7"), "ca", "expected the path of a file, in quotes"),
        (BOTH.replace("ca.pem", "long"), "ca", "long is longer than 100000 bytes"),
        (BOTH.replace("ca.pem", "\\u0000"), "ca", "cannot be read: not a path"),
        (
            BARE.replace("dc.pub", "ca.pem"),
            "remote_public_key",
            "ca.pem: not a public key (SubjectPublicKeyInfo)",
        ),
        (BARE.replace('"dc.pub"', "[]"), "remote_public_key", "expected a file, or a list of files"),
        (
            f'{BOTH}\nlocal_id = "fqdn:other.example"',
            "local_id",
            "the certificate (CN=branch,O=Example) is not for this",
        ),
        ('psk = { env = "PSK" }\nppk = "hunter2"', "ppk", 'expected { id = "NAME", file = "path" }'),
        ('psk = { env = "PSK" }\nppk = { file = "ppk" }', "ppk", 'expected { id = "NAME", file = "path" }'),
        ('psk = { env = "PSK" }\nppk = { id = "x" }', "ppk", "expected exactly one of"),
        (f'psk = {{ env = "PSK" }}\n{PPK.replace(" }", ", mandatory = 1 }")}', "ppk", "mandatory = true or"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, lines: str, key: str, message: str) -> None:
    found = problems(folder, lines)
    assert message in found[key], found
    assert "hunter2" not in str(found)


def test_identities_of_the_certificate(folder: Path) -> None:
    for identity in ("fqdn:branch.example", "dn:CN=branch,O=Example"):
        assert read(folder, f'{BOTH}\nlocal_id = "{identity}"').ipsec.local_id == identity


def test_validity_and_short_keys_are_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Legal, since clocks are wrong at times and keys are the peer's choice as well."""
    text = CPE.replace('psk = { env = "PSK" }', f"{BOTH}\n{PPK}")

    def warned(days: float) -> list[str]:
        monkeypatch.setattr(clock, "wall", lambda: NOW.timestamp() + days * 86400)
        warnings = loads(text, directory=folder, environment=ENVIRONMENT).warnings
        return [str(warning).removeprefix("tunnels.dc-a.ipsec.") for warning in warnings]

    assert warned(0) == []
    assert warned(90.5) == [
        "certificate: CN=branch,O=Example: it expires in 9.5 days",
        "certificate: CN=upper,O=Example: it expires in 9.5 days",
    ]
    assert warned(1001)[2] == "ca: CN=Test CA,O=Example: it expired 2029-02-25 00:00 UTC"
    assert warned(-11)[2] == "ca: CN=Test CA,O=Example: it is not valid before 2026-05-22 00:00 UTC"
    (folder / "ppk").write_bytes(b"short")
    assert warned(0) == ["ppk: branch-1: a key of 5 bytes; expected at least 32, all of them random"]


def test_no_key_in_the_representation(folder: Path) -> None:
    tunnel = read(folder, f"{BOTH}\n{PPK}")
    assert "p" * 32 not in repr(tunnel) + tunnel.model_dump_json()
    assert "PRIVATE" not in repr(tunnel)
