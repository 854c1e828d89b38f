"""scapy's IKEv2 layer as an independent codec: it reads what we build, and we read what it builds."""

from typing import Any

import pytest

from tests.ikev2.wire.samples import (
    AUTH_REQUEST,
    ESP_SA,
    ID_I,
    IKE_SA,
    KE,
    NONCE,
    TS_I,
    gcm_cipher,
    header,
    init_header,
)
from vcstack.ikev2.iana import DhGroup, ExchangeType, NotifyType, PayloadType, ProtocolId, TransformType
from vcstack.ikev2.wire.chain import build_chain
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.message import build_message, parse_message, seal_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Proposal, Sa, Transform

ikev2: Any = pytest.importorskip("scapy.contrib.ikev2")


def test_scapy_reads_our_ike_sa_init() -> None:
    cookie = Notify(NotifyType.COOKIE, data=b"cookie")
    read = ikev2.IKEv2(build_message(init_header(), [cookie, IKE_SA, KE, NONCE]))
    assert (read.version, read.exch_type, read.id) == (0x20, 34, 0)
    assert read.flags.value == 0x08
    assert read[ikev2.IKEv2_Notify].type == NotifyType.COOKIE
    assert bytes(read[ikev2.IKEv2_Notify].notify) == b"cookie"
    assert (read[ikev2.IKEv2_KE].group, bytes(read[ikev2.IKEv2_KE].ke)) == (20, KE.data)
    assert bytes(read[ikev2.IKEv2_Nonce].nonce) == NONCE.data
    proposal = read[ikev2.IKEv2_Proposal]
    assert (proposal.proposal, proposal.proto, proposal.trans_nb) == (1, ProtocolId.IKE, 3)
    transforms, layer = [], proposal.trans
    while isinstance(layer, ikev2.IKEv2_Transform):
        transforms.append((layer.transform_type, layer.transform_id, layer.key_length))
        layer = layer.payload
    assert transforms == [(1, 20, 256), (2, 6, None), (4, 20, None)]


def test_scapy_reads_our_chain_of_ike_auth() -> None:
    read = ikev2.IKEv2_IDi(build_chain(AUTH_REQUEST))
    assert (read.IDtype, bytes(read.ID)) == (ID_I.kind, ID_I.data)
    assert read[ikev2.IKEv2_AUTH].auth_type == 2
    assert bytes(read[ikev2.IKEv2_Proposal].SPI) == ESP_SA.proposals[0].spi
    selectors = read[ikev2.IKEv2_TSi].traffic_selector
    assert len(selectors) == 1
    assert selectors[0].IP_protocol_ID == 47
    assert selectors[0].starting_address_v4 == str(TS_I.selectors[0].start)


def test_scapy_reads_our_encrypted_payload() -> None:
    octets = seal_message(header(ExchangeType.IKE_AUTH), AUTH_REQUEST, gcm_cipher(), bytes(8))
    read = ikev2.IKEv2(octets)
    assert read.next_payload == PayloadType.SK
    assert read[ikev2.IKEv2_Encrypted].next_payload == PayloadType.ID_I
    assert len(read[ikev2.IKEv2_Encrypted].load) == len(octets) - 32


def test_we_read_what_scapy_builds() -> None:
    built = bytes(
        ikev2.IKEv2(init_SPI=b"initiatr", exch_type="IKE_SA_INIT", flags="Initiator", id=0)
        / ikev2.IKEv2_SA(
            prop=ikev2.IKEv2_Proposal(
                proposal=1,
                proto="IKE",
                trans_nb=2,
                trans=ikev2.IKEv2_Transform(transform_type=1, transform_id=20, length=12, key_length=256)
                / ikev2.IKEv2_Transform(transform_type=4, transform_id=19),
            )
        )
        / ikev2.IKEv2_KE(group=19, ke=bytes(64))
        / ikev2.IKEv2_Nonce(nonce=bytes(range(32)))
        / ikev2.IKEv2_Notify(type=16388, notify=bytes(20))
    )
    message = parse_message(built)
    assert message.require(Ke) == Ke(DhGroup.ECP_256, bytes(64))
    assert message.require(Nonce).data == bytes(range(32))
    assert message.notify(NotifyType.NAT_DETECTION_SOURCE_IP) is not None
    transforms = (Transform(TransformType.ENCRYPTION, 20, 256), Transform(TransformType.DH_GROUP, 19))
    assert message.require(Sa) == Sa((Proposal(1, ProtocolId.IKE, b"", transforms),))
