from ipaddress import IPv4Address

import pytest

from vcstack.ikev2.errors import InvalidSyntax
from vcstack.ikev2.iana import (
    AttributeType,
    DhGroup,
    EncryptionId,
    IdType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
    TsType,
)
from vcstack.ikev2.wire.chain import Payload, parse_chain
from vcstack.ikev2.wire.delete import Delete
from vcstack.ikev2.wire.identity import IdI, IdR
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import MAX_PROPOSALS, MAX_TRANSFORMS, Attribute, Proposal, Sa, Transform
from vcstack.ikev2.wire.ts import OtherSelector, TsI
from vcstack.ikev2.wire.vendor import Vendor
from vcstack.wire.selector import TrafficSelector


def one(kind: PayloadType, body: bytes) -> Payload:
    """The single payload of a chain with that body."""
    (payload,) = parse_chain(kind, b"\0\0" + (4 + len(body)).to_bytes(2) + body)
    return payload


def test_octets_of_a_proposal() -> None:
    """RFC 7296 3.3: a key length is an attribute in TV format, lasts are marked 0."""
    sa = Sa(
        (
            Proposal(
                1,
                ProtocolId.ESP,
                b"\xde\xad\xbe\xef",
                (
                    Transform(TransformType.ENCRYPTION, EncryptionId.AES_GCM_16, 256),
                    Transform(TransformType.ESN, 0),
                ),
            ),
        )
    )
    assert sa.build().hex() == "0000002001030402deadbeef0300000c01000014800e01000000000805000000"
    assert one(PayloadType.SA, sa.build()) == sa


def test_a_key_length_in_the_wrong_format_makes_an_unusable_transform() -> None:
    tlv = bytes.fromhex("00000016010100010000000e01000014000e00020100")
    sa = one(PayloadType.SA, tlv)
    assert isinstance(sa, Sa)
    (transform,) = sa.proposals[0].transforms
    assert transform.key_length is None
    assert transform.other_attributes == (Attribute(AttributeType.KEY_LENGTH, b"\1\0", is_tv=False),)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "expected"),
        ("0000000701010000", "at least 8"),
        ("0000000801010001", "expected"),
        ("0000000801010200", "2 octets of SPI for IKE"),
        ("0000000801030000", "0 octets of SPI for ESP"),
        ("0100000801010000", "1 where 0"),
        ("0200000801010000", "expected"),
        ("00000010010100010100000804000013", "1 where 0"),
        ("00000010010100010000000704000013", "at least 8"),
        ("00000010010100010300000804000013", "expected"),
        ("00000010010100020000000804000013", "2 transforms announced, 1 came"),
        ("00000010010100000000000804000013", "after the end"),
        ("00000012010100010000000a01000014800e", "expected"),
        ("00000014010100010000000c01000014000e0001", "expected"),
        ("00000008010100000000000801010000", "after the end"),
        ("0200000801010000" * (MAX_PROPOSALS + 1), "more than 64 proposals"),
    ],
)
def test_malformed_proposals(body: str, reason: str) -> None:
    with pytest.raises(InvalidSyntax, match=reason):
        one(PayloadType.SA, bytes.fromhex(body))


def test_the_number_of_transforms_is_bounded() -> None:
    proposal = Proposal(1, ProtocolId.IKE, b"", (Transform(TransformType.PRF, 5),) * (MAX_TRANSFORMS // 4))
    assert one(PayloadType.SA, Sa((proposal,) * 4).build()) == Sa((proposal,) * 4)
    with pytest.raises(InvalidSyntax, match=f"more than {MAX_TRANSFORMS} transforms"):
        one(PayloadType.SA, Sa((proposal,) * 5).build())


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (PayloadType.KE, "00130000", "no public value for DH group 19"),
        (PayloadType.KE, "0013", "expected"),
        (PayloadType.NONCE, "00" * 15, "16 to 256 expected"),
        (PayloadType.NONCE, "00" * 257, "16 to 256 expected"),
        (PayloadType.ID_I, "01000000c63364", "4 to 4 expected"),
        (PayloadType.ID_R, "02000000", "1 to"),
        (PayloadType.ID_R, "0200", "expected"),
        (PayloadType.ID_I, "0b000000" + "61" * 1025, "to 1024 expected"),
        (PayloadType.AUTH, "02000000", "no authentication data"),
        (PayloadType.NOTIFY, "000000", "expected"),
        (PayloadType.NOTIFY, "00044000aabb", "expected"),
        (PayloadType.NOTIFY, "0000001113", "2 to 2 expected"),
        (PayloadType.NOTIFY, "00004004" + "00" * 19, "20 to 20 expected"),
        (PayloadType.NOTIFY, "00004006", "1 to 64 expected"),
        (PayloadType.NOTIFY, "00004006" + "00" * 65, "1 to 64 expected"),
        (PayloadType.NOTIFY, "03004009", "0 octets of SPI of ESP"),
        (PayloadType.NOTIFY, "0104400900000001", "4 octets of SPI of IKE"),
        (PayloadType.DELETE, "01080001" + "00" * 8, "8 octets of SPI for IKE, 0 expected"),
        (PayloadType.DELETE, "01000001", "1 SPIs of 0 octets"),
        (PayloadType.DELETE, "0304000200000100", "2 SPIs of 4 octets announced in 4"),
        (PayloadType.DELETE, "0904000100000100", "expected"),
        (PayloadType.TS_I, "00000000", "no traffic selector"),
        (PayloadType.TS_I, "01000000", "expected"),
        (PayloadType.TS_R, "01000000072f0003", "at least 4 expected"),
        (PayloadType.TS_R, "01000000072f00080000ffff", "expected"),
        (PayloadType.TS_R, "01000000082f0005aa00", "after the end"),
        (PayloadType.TS_R, "01000000072f00100000ffff0a0000020a000001", "reversed"),
        (PayloadType.SKF, "00000001", "fragment 0 of 1"),
        (PayloadType.SKF, "00030002", "fragment 3 of 2"),
    ],
)
def test_malformed_payloads(kind: PayloadType, body: str, reason: str) -> None:
    with pytest.raises(InvalidSyntax, match=reason):
        one(kind, bytes.fromhex(body))


def test_reserved_octets_of_an_identity_are_kept_because_auth_covers_them() -> None:
    identity = one(PayloadType.ID_I, bytes.fromhex("02aabbcc") + b"cpe")
    assert identity == IdI(IdType.FQDN, b"cpe", bytes.fromhex("aabbcc"))
    assert identity.build() == bytes.fromhex("02aabbcc") + b"cpe"
    assert IdR(IdType.FQDN, b"cpe").build() == bytes.fromhex("02000000") + b"cpe"


def test_octets_of_traffic_selectors_for_gre_between_two_hosts() -> None:
    selectors = TsI((TrafficSelector.host(IPv4Address("198.51.100.1"), 47),))
    assert selectors.build().hex() == "01000000072f00100000ffffc6336401c6336401"


def test_selectors_of_other_types_are_kept_apart() -> None:
    other = OtherSelector(TsType.IPV6_ADDR_RANGE, 47, bytes(36))
    host = TrafficSelector.host(IPv4Address("10.0.0.1"))
    assert one(PayloadType.TS_I, b"\2\0\0\0" + other.build() + host.build()) == TsI((host,), (other,))


def test_notifications_of_unknown_types_are_kept() -> None:
    notify = one(PayloadType.NOTIFY, bytes.fromhex("0000a027cafe"))
    assert notify == Notify(NotifyType(40999), data=b"\xca\xfe")
    assert NotifyType(40999).name == "UNKNOWN_40999"


def test_octets_of_a_delete() -> None:
    assert Delete(ProtocolId.IKE).build().hex() == "01000000"
    assert Delete(ProtocolId.ESP, (b"\0\0\1\0",)).build().hex() == "0304000100000100"


def test_a_public_value_of_an_unknown_group_is_kept() -> None:
    assert one(PayloadType.KE, bytes.fromhex("03e80000aa")) == Ke(DhGroup(1000), b"\xaa")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"CISCO-DELETE-REASON", "Cisco delete reason"),
        (b"CISCO(COPYRIGHT)&Copyright (c) 2009 Cisco Systems, Inc.", "Cisco"),
        (b"FLEXVPN-SUPPORTED", "Cisco FlexVPN"),
        (bytes(16), None),
    ],
)
def test_vendors_by_name(data: bytes, name: str | None) -> None:
    assert Vendor(data).name == name
