"""Messages that others sent: malformed ones of libreswan, captures of tcpdump's tests."""

from collections.abc import Iterator

import pytest

from tests.ikev2.wire.samples import gcm_cipher
from tests.support.shared import shared_json, shared_path
from vcstack.crypto.mac import Integrity
from vcstack.crypto.sk import CbcHmacSk
from vcstack.ikev2.errors import IntegrityCheckFailed, RemoteProtocolError
from vcstack.ikev2.iana import (
    AuthMethod,
    DhGroup,
    EncryptionId,
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
    TransformType,
)
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.chain import parse_chain
from vcstack.ikev2.wire.identity import IdI
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.message import build_message, open_message, parse_message
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.notify import Notify
from vcstack.ikev2.wire.sa import Sa, Transform
from vcstack.ikev2.wire.sk import Sk


def datagrams(name: str) -> Iterator[bytes]:
    """UDP payloads of a capture, without the non-ESP marker."""
    from scapy.layers.inet import UDP
    from scapy.utils import PcapReader

    with PcapReader(str(shared_path(f"corpus/pcap/tcpdump/{name}"))) as capture:
        for packet in capture:
            if UDP in packet:
                data = bytes(packet[UDP].payload)
                yield data[4:] if 4500 in (packet[UDP].sport, packet[UDP].dport) else data


def test_malformed_messages_of_libreswan_are_refused() -> None:
    packets = [
        bytes.fromhex(packet) for packet in shared_json("corpus/ike/libreswan-bad-packets.json")["packets"]
    ]
    assert len(packets) == 10
    for packet in packets:
        with pytest.raises(RemoteProtocolError):
            open_message(packet, gcm_cipher()) if packet[16] == PayloadType.SK else parse_message(packet)


def test_a_session_of_ikev2_in_a_capture() -> None:
    """ikev2four.pcap: IKE_SA_INIT with a cookie, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL."""
    messages = [parse_message(data) for data in datagrams("ikev2four.pcap")]
    assert len(messages) == 21
    assert [message.header.exchange for message in messages[:7]] == [
        *(ExchangeType.IKE_SA_INIT,) * 4,
        *(ExchangeType.IKE_AUTH,) * 2,
        ExchangeType.CREATE_CHILD_SA,
    ]
    assert all(message.is_sealed for message in messages[4:])
    init, cookie, retry = messages[:3]
    assert init.require(Ke).group == DhGroup.MODP_1024
    assert len(init.require(Nonce).data) == 32
    first = init.require(Sa).proposals[0].transforms
    assert first[0] == Transform(TransformType.ENCRYPTION, EncryptionId.AES_CBC, 128)
    assert len(first) == 12
    assert [notify.type for notify in init.all(Notify)] == [
        NotifyType.NAT_DETECTION_SOURCE_IP,
        NotifyType.NAT_DETECTION_DESTINATION_IP,
    ]
    assert cookie.notify(NotifyType.COOKIE) == retry.notify(NotifyType.COOKIE)
    assert retry.require(Nonce) == init.require(Nonce)


def test_messages_of_a_capture_build_to_the_same_octets() -> None:
    for data in datagrams("ikev2four.pcap"):
        message = parse_message(data)
        assert build_message(message.header, message.payloads) == data


def test_an_encrypted_message_of_a_capture_opens_with_its_keys() -> None:
    """ikev2pI2.pcap: AES-CBC-128 with HMAC-SHA1-96; its sender left the header out of the checksum."""
    secrets = shared_path("corpus/pcap/tcpdump/ikev2pI2-secrets.txt").read_text().splitlines()
    words = next(line for line in secrets if line.startswith("ikev2 I")).split()
    integrity_key, key = (bytes.fromhex(word.split(":0x")[1]) for word in words[-2:])
    sk = CbcHmacSk(Integrity("hmac-sha1-96", "sha1", key_length=20, icv_length=12), key, integrity_key)
    data = list(datagrams("ikev2pI2.pcap"))[1]
    (sealed,) = parse_message(data).payloads
    assert isinstance(sealed, Sk)
    identity, auth = parse_chain(sealed.inner, sk.open(sealed.body[:16], b"", sealed.body[16:]))
    with pytest.raises(IntegrityCheckFailed):
        open_message(data, sk)
    assert identity == IdI(IdType.FQDN, b"west")
    assert auth == Auth(AuthMethod.RSA_SIGNATURE, bytes(192))


@pytest.mark.parametrize(
    "name",
    [
        *("ikev2-id-normal.pcap", "ikev2-id-short.pcap", "ikev2pI2-segfault.pcapng", "ISAKMP_sa_setup.pcap"),
        *("isakmp-delete-segfault.pcap", "isakmp-identification-segfault.pcap", "isakmp-pointer-loop.pcap"),
        *(
            "isakmp-no-none-np.pcapng",
            "isakmp-various-oobr.pcap",
            "isakmpv1-attr-oobr.pcap",
            "isakmp4500.pcap",
        ),
        *("isakmp-ikev1_n_print-oobr.pcap", "ikev1_id_ipv6_addr_subnet-oobr.pcap"),
    ],
)
def test_ikev1_and_what_crashed_others_is_refused(name: str) -> None:
    received = list(datagrams(name))
    assert received
    for data in received:
        with pytest.raises(RemoteProtocolError):
            parse_message(data)
