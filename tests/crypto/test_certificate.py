from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.authority import NOW, Issued, authority, private_key
from vcstack.crypto.certificate import MAX_CHAIN, Certificate, check_chain, check_validity
from vcstack.crypto.der import Tag, content, elements
from vcstack.crypto.errors import CryptoError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = authority()
BRANCH = ROOT.issue("branch", ["198.51.100.1", "Branch.example", "noc@example"])


def check(chain: Sequence[Issued], *roots: Issued, days: float = 0) -> None:
    at = NOW + timedelta(days=days)
    certificates = [each.certificate for each in chain]
    check_chain(certificates, [each.certificate for each in roots or (ROOT,)], at.timestamp())


def refused(chain: Sequence[Issued], *roots: Issued, days: float = 0) -> str:
    with pytest.raises(CryptoError) as caught:
        check(chain, *roots, days=days)
    return str(caught.value)


def usage(**changes: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**(dict.fromkeys(names, False) | changes))


def test_names() -> None:
    names = BRANCH.certificate.names
    assert names.addresses == (bytes([198, 51, 100, 1]),)
    assert names.dns == ("Branch.example",)
    assert names.emails == ("noc@example",)
    assert names.key_id == x509.SubjectKeyIdentifier.from_public_key(BRANCH.key.public_key()).digest
    assert names.subject == BRANCH.parsed.subject.public_bytes()
    assert BRANCH.certificate.subject == "CN=branch,O=Example"
    assert BRANCH.certificate.expires_at == (NOW + timedelta(days=100)).timestamp()
    assert repr(BRANCH.certificate).count("\\x") > 10


@pytest.mark.parametrize("kind", ["rsa", "p384", "p521", "ed25519"])
def test_issued_by_a_root_of_each_kind(kind: str) -> None:
    root = authority("other", kind=kind)
    check([root.issue("branch", kind=kind)], root)
    check([root.issue("branch", kind="p256")], root, ROOT)


def test_by_way_of_intermediates_in_any_order() -> None:
    upper = ROOT.issue("upper", is_authority=True)
    lower = upper.issue("lower", is_authority=True, path_length=0)
    leaf = lower.issue("branch")
    check([leaf, lower, upper])
    check([leaf, BRANCH, upper, lower])
    assert refused([leaf, lower]) == (
        "no authority of ours has issued the authority CN=lower,O=Example above it (CN=lower,O=Example): "
        "its issuer is CN=upper,O=Example"
    )
    # An intermediate, or the certificate itself, may be what is trusted.
    check([leaf], lower)
    check([leaf], leaf)


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (101, "its certificate expired 2026-09-09 00:00 UTC"),
        (-11, "its certificate is not valid before 2026-05-22 00:00 UTC"),
    ],
)
def test_validity(days: float, reason: str) -> None:
    assert refused([BRANCH], days=days) == reason
    with pytest.raises(CryptoError, match="our own"):
        check_validity(BRANCH.certificate, (NOW + timedelta(days=days)).timestamp(), "our own certificate")


def test_validity_of_those_above() -> None:
    brief = ROOT.issue("brief", is_authority=True, ends=NOW + timedelta(days=1))
    leaf = brief.issue("branch")
    check([leaf, brief])
    assert (
        refused([leaf, brief], days=2)
        == "the authority CN=brief,O=Example above it expired 2026-06-02 00:00 UTC"
    )
    old = authority("old", ends=NOW + timedelta(days=1))
    assert "CN=old,O=Example above it expired" in refused([old.issue("branch")], old, days=2)


def test_nobody_we_know() -> None:
    other = authority("Other CA")
    assert refused([BRANCH], other) == (
        "no authority of ours has issued its certificate (CN=branch,O=Example): "
        "its issuer is CN=Test CA,O=Example"
    )


def test_the_same_name_is_not_the_same_authority() -> None:
    """A root that calls itself as ours does is recognised by its signature."""
    forger = Issued(private_key("p256", "forger"), ROOT.parsed)
    reason = "the signature of CN=Test CA,O=Example on its certificate is wrong"
    assert refused([forger.issue("branch")]) == reason
    other_kind = Issued(private_key("rsa", "forger"), ROOT.parsed)
    assert refused([other_kind.issue("branch")]) == reason


def test_not_everybody_may_issue() -> None:
    assert refused([BRANCH.issue("child"), BRANCH]) == (
        "the issuer of its certificate (CN=branch,O=Example) is not a certification authority"
    )
    limited = ROOT.issue("limited", is_authority=True, extensions=[(usage(crl_sign=True), True)])
    assert "is not a certification authority" in refused([limited.issue("branch"), limited])
    short = ROOT.issue("short", is_authority=True, path_length=0)
    below = short.issue("below", is_authority=True)
    assert refused([below.issue("branch"), below, short]) == (
        "CN=short,O=Example may not stand that far above "
        "the authority CN=below,O=Example above it (path length)"
    )


def test_an_authority_that_renewed_itself_does_not_count_for_the_path() -> None:
    """RFC 5280 4.2.1.9: self-issued intermediates are not counted."""
    root = authority("renewed")
    again = Issued(private_key("p256", "again"), root.parsed)
    new = root.issue("renewed", is_authority=True, path_length=0, owner="again")
    check([again.issue("branch"), new], root)


@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        (usage(key_agreement=True), "its certificate is not for digital signatures (key usage)"),
        (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
            "its certificate is neither for IPsec nor for TLS (extended key usage)",
        ),
        (
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
            "its certificate has the critical extension 1.2.3.4, which is not understood here",
        ),
    ],
)
def test_what_it_is_for(extension: x509.ExtensionType, reason: str) -> None:
    assert refused([ROOT.issue("branch", extensions=[(extension, True)])]) == reason


@pytest.mark.parametrize(
    "extension",
    [
        usage(digital_signature=True),
        usage(content_commitment=True),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH]),
    ],
)
def test_what_it_may_be_for(extension: x509.ExtensionType) -> None:
    check([ROOT.issue("branch", extensions=[(extension, True)])])


@pytest.mark.parametrize("critical", [True, False])
def test_name_constraints_are_never_overlooked(*, critical: bool) -> None:
    constraints = x509.NameConstraints([x509.DNSName("example")], None)
    narrow = ROOT.issue("narrow", is_authority=True, extensions=[(constraints, critical)])
    assert "critical extension 2.5.29.30" in refused([narrow.issue("branch"), narrow])
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    check([ROOT.issue("branch", extensions=[(other, False)])])


def test_a_weak_signature() -> None:
    key = private_key("rsa", "weak")
    name = x509.Name.from_rfc4514_string("CN=branch")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ROOT.parsed.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=9))
    )
    weak = Issued(key, builder.sign(ROOT.key, hashes.SHA224()))
    check([weak])
    old = FORGED_SHA1
    with pytest.raises(CryptoError, match="its certificate is signed with SHA1, which is too weak"):
        check_chain([old], [ROOT.certificate], NOW.timestamp())


def _sha1_certificate() -> Certificate:
    """The library signs nothing with SHA-1; the name of the algorithm is what is looked at first."""
    data = ROOT.issue("old").parsed.public_bytes(Encoding.DER)
    with_sha256, with_sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")
    assert data.count(with_sha256) == 2
    from vcstack.crypto import der

    tbs, _, signature = [der.encode(tag, content) for tag, content in der.elements(der.content(data, 0x30))]
    algorithm = der.encode(0x30, with_sha1)
    inside = der.content(tbs, 0x30).replace(der.encode(0x30, with_sha256), algorithm)
    return Certificate.parse(der.encode(0x30, der.encode(0x30, inside), algorithm, signature))


FORGED_SHA1 = _sha1_certificate()


def test_a_multitude() -> None:
    chain = [BRANCH] + [ROOT.issue(f"filler {number}", owner="filler") for number in range(MAX_CHAIN)]
    assert refused(chain) == f"{MAX_CHAIN + 1} certificates, at most {MAX_CHAIN} are expected"


def test_a_circle_ends() -> None:
    """Two authorities that have issued each other lead nowhere, and soon."""
    one, two = authority("one"), authority("two")
    one_by_two = two.issue("one", is_authority=True, owner="one")
    two_by_one = one.issue("two", is_authority=True, owner="two")
    assert "no authority of ours" in refused([one.issue("branch"), one_by_two, two_by_one])


def test_files() -> None:
    both = Certificate.load_all(ROOT.pem + b"\n# a remark\n" + BRANCH.pem)
    assert both == (ROOT.certificate, BRANCH.certificate)
    assert Certificate.load_all(BRANCH.certificate.data) == (BRANCH.certificate,)
    assert ROOT.certificate.is_authority
    assert not BRANCH.certificate.is_authority
    assert len(ROOT.certificate.key_hash) == 20


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(CryptoError, match=r"X\.509 certificate"):
        Certificate.load_all(data)


def test_a_name_of_an_unheard_of_kind() -> None:
    """An x400Address, which nobody has."""
    data = ROOT.issue("branch", ["branch.example"]).certificate.data
    strange = data.replace(b"\x82\x0ebranch.example", b"\xa3\x0ebranch.example")
    assert strange != data
    with pytest.raises(CryptoError, match="a certificate that cannot be understood"):
        Certificate.parse(strange)


def test_a_signature_that_does_not_fill_its_octets() -> None:
    """X.690 8.6.2: a BIT STRING begins with the count of its unused bits, and no signature covers that."""
    issued = (ROOT.issue("branch", ["branch.example"]).certificate.data for _ in range(64))
    data = next(data for data in issued if not data[-1] & 1)  # the library looks at the unused bits only
    _, _, (_, signature) = elements(content(data, Tag.SEQUENCE))
    at = len(data) - len(signature)
    with pytest.raises(CryptoError, match="not of whole octets"):
        Certificate.parse(data[:at] + b"\x01" + data[at + 1 :])


@pytest.mark.filterwarnings("ignore")  # the library has more to say about some serial numbers
def test_any_damage_is_refused_in_our_words() -> None:
    """Whoever talks to us may send a certificate: each octet of one, changed in several ways."""
    data = BRANCH.certificate.data
    for position, octet in enumerate(data):
        for other in {0, 0x30, 0xFF, octet ^ 1, octet ^ 0x20} - {octet}:
            damaged = data[:position] + bytes([other]) + data[position + 1 :]
            with pytest.raises(CryptoError):
                _use(damaged)


def _use(data: bytes) -> None:
    certificate = Certificate.parse(data)
    assert certificate.names.subject
    assert certificate.subject
    check_chain([certificate], [ROOT.certificate], NOW.timestamp())
