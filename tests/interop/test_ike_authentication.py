"""Certificates, bare public keys and postquantum preshared keys with charon, in both directions.

Each way to authenticate has a connection of its own; a packet each way proves the keys, also after rekeys.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.authority import authority, pem_of, private_key, signing_key, spki_of, trusted_keys
from tests.support.charon_site import CENTRE, CharonSite, Peer
from tests.support.ike_process import LiveEnd
from tests.support.netns import Network
from vcstack.ikev2.credentials import Ppk, Signer, TrustedAuthorities
from vcstack.ikev2.events import IkeUp
from vcstack.io import clock
from vcstack.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.interop]

YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
ROOT = authority("Root", starts=YESTERDAY, ends=TOMORROW)
STRANGER = authority("Stranger", starts=YESTERDAY, ends=TOMORROW)
TRUST = TrustedAuthorities((ROOT.certificate,), time.time)
PPK_KEY = b"a key against quantum computers."
CERTIFIED = ("rsa", "p256", "p384", "p521", "ed25519")
BARE = ("rsa", "p256")
REMOTE_CERTIFICATE = "auth = pubkey\n      cacerts = root.pem"
AUTHENTICATION_FAILED = "peer said AUTHENTICATION_FAILED in IKE_AUTH"
MANDATORY = Ppk("mandatory", Secret(PPK_KEY), is_mandatory=True)
PPK_SECRET = f"ppk-{{name}} {{{{\n    id = {{name}}\n    secret = 0x{PPK_KEY.hex()}\n  }}}}"


@dataclass
class Way:
    """One way to authenticate: what charon is told, and what we are."""

    name: str
    charon: dict[str, str]
    ours: dict[str, Any]
    shown: tuple[str, str] = ("pre-shared key", "pre-shared key")
    uses_ppk: bool = False
    initiators: tuple[str, ...] = ("we", "charon")
    files: dict[str, bytes] = field(default_factory=dict)
    """What charon finds in its folder."""


def centre_signs(kind: str, scheme: str = "pubkey") -> tuple[dict[str, str], dict[str, bytes]]:
    issued = ROOT.issue(
        f"centre {kind}", [str(CENTRE)], kind=kind, starts=YESTERDAY, ends=TOMORROW, owner="centre"
    )
    files = {f"x509/centre-{kind}.pem": issued.pem, f"private/centre-{kind}.pem": pem_of(issued.key)}
    return {"charon_local": f"auth = {scheme}\n      certs = centre-{kind}.pem"}, files


def we_sign(index: int, kind: str, **changes: Any) -> Signer:
    address = str(Peer(name="", index=index).address)
    validity = {"starts": YESTERDAY, "ends": TOMORROW} | changes
    return ROOT.issue(
        f"branch {kind} {changes.get('owner', 'known')}", [address], kind=kind, **validity
    ).signer()


def ppk_way(name: str, ours: Ppk, *, charon: bool, required: bool = False, uses_ppk: bool = True) -> Way:
    options = f"ppk_id = {name}\n    ppk_required = {'yes' if required else 'no'}" if charon else ""
    secrets = PPK_SECRET.format(name=name) if charon else ""
    return Way(name, {"charon_options": options, "charon_secrets": secrets}, {"ppk": ours}, uses_ppk=uses_ppk)


def ways() -> Iterator[Way]:
    only_certificates = {"local_psk": None, "remote_psk": None, "remote_trust": TRUST}
    for kind in CERTIFIED:
        charon, files = centre_signs(kind)
        signer = we_sign(len(CERTIFIED), kind)
        yield Way(
            f"cert-{kind}",
            charon | {"charon_remote": REMOTE_CERTIFICATE},
            only_certificates | {"kind": kind},
            (f"certificate, {signer.key.kind}", "certificate, "),
            files=files,
        )
    charon, files = centre_signs("rsa", "ike:rsa/pss-sha384")
    yield Way(
        "cert-pss",
        charon | {"charon_remote": REMOTE_CERTIFICATE},
        only_certificates | {"kind": "rsa"},
        ("certificate, RSA", "certificate, RSA PSS with SHA-384"),
        files=files,
    )
    for kind in BARE:
        yield Way(
            f"bare-{kind}",
            {
                "charon_local": f"auth = pubkey\n      pubkeys = centre-bare-{kind}.pem",
                "charon_remote": f"auth = pubkey\n      pubkeys = branch-bare-{kind}.pem",
            },
            {
                "local_psk": None,
                "remote_psk": None,
                "local_signer": Signer(signing_key(kind, "branch bare")),
                "remote_trust": trusted_keys(kind, owner="centre bare"),
            },
            (f"public key, {signing_key(kind, 'branch bare').kind}", "public key, "),
            files={
                f"pubkey/branch-bare-{kind}.pem": spki_of(private_key(kind, "branch bare"), Encoding.PEM),
                f"pubkey/centre-bare-{kind}.pem": spki_of(private_key(kind, "centre bare"), Encoding.PEM),
                f"private/centre-bare-{kind}.pem": pem_of(private_key(kind, "centre bare")),
            },
        )
    yield Way(
        "we-sign",
        {"charon_remote": REMOTE_CERTIFICATE},
        {"local_psk": None, "kind": "p256"},
        ("certificate, ECDSA", "pre-shared key"),
    )
    charon, files = centre_signs("p256")
    yield Way(
        "charon-signs",
        charon,
        {"remote_psk": None, "remote_trust": TRUST},
        ("pre-shared key", "certificate, ECDSA with SHA-256"),
        files=files,
    )
    key = Secret(PPK_KEY)
    yield ppk_way("ppk-optional", Ppk("ppk-optional", key), charon=True)
    yield ppk_way("ppk-required", Ppk("ppk-required", key, is_mandatory=True), charon=True, required=True)
    yield ppk_way("ppk-ours-only", Ppk("ppk-ours-only", key), charon=False, uses_ppk=False)
    # Without the secret charon falls back as a responder. As an initiator it says USE_PPK, but names
    # none, which RFC 8784 forbids; and as a responder it insists on the identifier that it was told.
    unknown = ppk_way("ppk-no-secret", Ppk("ppk-no-secret", key), charon=True, uses_ppk=False)
    yield replace(unknown, charon=unknown.charon | {"charon_secrets": ""}, initiators=("we",))
    other = ppk_way("ppk-other-id", Ppk("another", key), charon=True, uses_ppk=False)
    yield replace(other, initiators=("charon",))
    charon, files = centre_signs("p384")
    with_ppk = ppk_way("ppk-cert", Ppk("ppk-cert", key, is_mandatory=True), charon=True, required=True)
    yield Way(
        "ppk-cert",
        charon | with_ppk.charon | {"charon_remote": REMOTE_CERTIFICATE},
        only_certificates | with_ppk.ours | {"kind": "p384"},
        ("certificate, ECDSA", "certificate, ECDSA with SHA-384"),
        uses_ppk=True,
        files=files,
    )


WAYS = list(ways())
PEERS = [replace(Peer(name=way.name, index=index), **way.charon) for index, way in enumerate(WAYS)]  # type: ignore[arg-type]  # all of them are text


def changes_of(index: int) -> dict[str, Any]:
    """What of our configuration a way changes."""
    changes = dict(WAYS[index].ours)
    kind = changes.pop("kind", None)
    return changes if kind is None else changes | {"local_signer": we_sign(index, kind)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CharonSite]:
    folder: Path = tmp_path_factory.mktemp("charon")
    files = {name: data for way in WAYS for name, data in way.files.items()}
    for name, data in {"x509ca/root.pem": ROOT.pem, **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
    with Network() as network:
        site = CharonSite(network, folder, PEERS)
        yield site
        site.close()


CASES = [(index, initiator) for index, way in enumerate(WAYS) for initiator in way.initiators]


@pytest.mark.parametrize(
    ("index", "initiator"), CASES, ids=[f"{WAYS[index].name}-{initiator}" for index, initiator in CASES]
)
def test_way(site: CharonSite, index: int, initiator: str) -> None:
    way, peer = WAYS[index], PEERS[index]

    async def scenario() -> None:
        async with site.tunnel(peer, initiator, **changes_of(index)) as end:
            (sa,) = end.endpoint.snapshot(clock.now()).ike_sas
            assert sa.auth_local == way.shown[0]
            assert (sa.auth_remote or "").startswith(way.shown[1])
            assert sa.ppk is way.uses_ppk
            await site.rekey_ike(peer, end, initiator)
            await site.rekey_child(peer, end, "charon" if initiator == "we" else "we")

    asyncio.run(scenario())


async def fails(site: CharonSite, peer: Peer, initiator: str, words: str, **changes: Any) -> None:
    """Our end says these words, and nothing comes up."""
    async with LiveEnd(site.branch, peer.config(initiate=initiator == "we", **changes)) as end:
        end.start()
        if initiator == "charon":
            assert "failed" in await site.initiate(peer, check=False)
        await end.until(
            lambda: words in (end.endpoint.snapshot(clock.now()).last_error or ""), f"{words!r} from us"
        )
        assert end.saw(IkeUp) == []


def index_of(name: str) -> int:
    return [way.name for way in WAYS].index(name)


@pytest.mark.parametrize("initiator", ["we", "charon"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"remote_trust": TrustedAuthorities((STRANGER.certificate,), time.time)}, "no authority of ours"),
        (
            {"remote_trust": TrustedAuthorities((ROOT.certificate,), lambda: time.time() + 86400 * 3)},
            "its certificate expired",
        ),
        ({"remote_trust": trusted_keys("p256", owner="someone else")}, "is wrong"),
    ],
    ids=["authority", "expired", "key"],
)
def test_we_refuse_charon(site: CharonSite, changes: dict[str, Any], words: str, initiator: str) -> None:
    index = index_of("cert-p256")
    asyncio.run(fails(site, PEERS[index], initiator, words, **(changes_of(index) | changes)))


def test_charon_refuses_us(site: CharonSite) -> None:
    """Certificates of a stranger, expired, and of somebody else; charon knows no others of their keys."""
    index = index_of("cert-p256")
    address = str(PEERS[index].address)
    stranger = STRANGER.issue("stranger", [address], starts=YESTERDAY, ends=TOMORROW).signer()
    expired = we_sign(index, "p256", owner="old", starts=YESTERDAY - timedelta(days=2), ends=YESTERDAY)
    for signer in (stranger, expired, we_sign(index + 1, "p256", owner="other")):
        changes = changes_of(index) | {"local_signer": signer}
        asyncio.run(fails(site, PEERS[index], "we", AUTHENTICATION_FAILED, **changes))


@pytest.mark.parametrize(
    ("name", "initiator", "ppk", "words"),
    [
        ("ppk-required", "we", None, AUTHENTICATION_FAILED),
        ("ppk-optional", "we", Ppk("another", Secret(PPK_KEY)), AUTHENTICATION_FAILED),
        ("ppk-optional", "we", Ppk("ppk-optional", Secret(b"another")), AUTHENTICATION_FAILED),
        ("cert-p256", "charon", MANDATORY, "it does not use a PPK, and ours is mandatory"),
        ("ppk-optional", "charon", MANDATORY, "it uses the PPK 'ppk-optional', ours is 'mandatory'"),
    ],
    ids=["charon-wants-one", "other-identifier", "other-key", "we-want-one", "we-want-another"],
)
def test_ppk_that_does_not_fit(
    site: CharonSite, name: str, initiator: str, ppk: Ppk | None, words: str
) -> None:
    index = index_of(name)
    asyncio.run(fails(site, PEERS[index], initiator, words, **(changes_of(index) | {"ppk": ppk})))
