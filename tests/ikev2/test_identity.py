import pytest

from vcstack.ikev2.errors import ConfigurationError
from vcstack.ikev2.iana import IdType
from vcstack.ikev2.identity import Identity
from vcstack.ikev2.wire.identity import IdI, IdR


@pytest.mark.parametrize(
    ("text", "kind", "data", "printed"),
    [
        ("198.51.100.1", IdType.IPV4_ADDR, bytes([198, 51, 100, 1]), "198.51.100.1"),
        ("ipv4:198.51.100.1", IdType.IPV4_ADDR, bytes([198, 51, 100, 1]), "198.51.100.1"),
        (" fqdn:cpe.example ", IdType.FQDN, b"cpe.example", "fqdn:cpe.example"),
        ("FQDN:cpe.example", IdType.FQDN, b"cpe.example", "fqdn:cpe.example"),
        ("email:noc@example", IdType.RFC822_ADDR, b"noc@example", "email:noc@example"),
        ("key_id:branch:1", IdType.KEY_ID, b"branch:1", "key_id:branch:1"),
        ("key_id:0x00ff", IdType.KEY_ID, b"\x00\xff", "key_id:0x00ff"),
        ("key_id:müller", IdType.KEY_ID, "müller".encode(), "key_id:0x6dc3bc6c6c6572"),
        ("dn:CN=x", IdType.DER_ASN1_DN, bytes.fromhex("300c310a300806035504030c0178"), "dn:CN=x"),
    ],
)
def test_text_form(text: str, kind: IdType, data: bytes, printed: str) -> None:
    identity = Identity.parse(text)
    assert identity == Identity(kind, data)
    assert str(identity) == printed
    assert Identity.parse(printed) == identity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpe.example",
        "300.1.1.1",
        "ipv4:",
        "fqdn:",
        "fqdn:a b",
        "fqdn:müller",
        "key_id:",
        "key_id:0xzz",
        "dn:x",
    ],
)
def test_what_is_no_identity(text: str) -> None:
    with pytest.raises(ConfigurationError, match="fqdn:NAME"):
        Identity.parse(text)


def test_names_are_the_same_whatever_their_strings_are_encoded_in() -> None:
    """RFC 5280 7.1: UTF8String and PrintableString, capitals and spaces do not tell two names apart."""
    printable = Identity(IdType.DER_ASN1_DN, bytes.fromhex("300c310a30080603550403130158"))
    assert Identity.parse("dn:CN=x").matches(printable)
    assert not Identity.parse("dn:CN=y").matches(printable)
    assert not Identity.parse("dn:CN=x").matches(Identity(IdType.DER_ASN1_DN, b"\x30\x05"))


def test_payloads() -> None:
    identity = Identity.parse("fqdn:cpe.example")
    assert identity.initiator_payload() == IdI(IdType.FQDN, b"cpe.example")
    assert identity.responder_payload() == IdR(IdType.FQDN, b"cpe.example")
    assert Identity.of(IdR(IdType.FQDN, b"cpe.example", b"\1\2\3")) == identity


@pytest.mark.parametrize(
    ("identity", "printed"),
    [
        (Identity(IdType(99), b"\x01"), "UNKNOWN_99:0x01"),
        (Identity(IdType.FQDN, b"\x1b[2J"), "fqdn:0x1b5b324a"),
        (Identity(IdType.IPV4_ADDR, b"\x01"), "ipv4:0x01"),
        (Identity(IdType.DER_ASN1_DN, b"\x01\x02\x03"), "dn:0x010203"),
    ],
)
def test_what_a_peer_sends_prints_without_control_characters(identity: Identity, printed: str) -> None:
    assert str(identity) == printed
