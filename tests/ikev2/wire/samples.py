"""Payloads and ciphers that several tests of messages share."""

from ipaddress import IPv4Address

from vcstack.crypto.sk import SkCipher, make_sk_cipher
from vcstack.ikev2.iana import AuthMethod, DhGroup, ExchangeType, IdType
from vcstack.ikev2.proposal import EspProposal, IkeProposal, offer
from vcstack.ikev2.wire.auth import Auth
from vcstack.ikev2.wire.header import Header
from vcstack.ikev2.wire.identity import IdI, IdR
from vcstack.ikev2.wire.ke import Ke
from vcstack.ikev2.wire.nonce import Nonce
from vcstack.ikev2.wire.ts import TsI, TsR
from vcstack.wire.selector import TrafficSelector

SPI_I, SPI_R = bytes(range(1, 9)), bytes(range(17, 25))

IKE_SA = offer([IkeProposal.parse("aes256gcm16-prfsha384-ecp384")])
IKE_SA_REKEY = offer([IkeProposal.parse("aes256gcm16-prfsha384-ecp384")], bytes(range(33, 41)))
ESP_SA = offer([EspProposal.parse("aes256gcm16-ecp384")], b"\xc0\x01\x02\x03")
KE = Ke(DhGroup.ECP_384, bytes(range(96)))
NONCE = Nonce(bytes(32))
ID_I = IdI(IdType.FQDN, b"cpe.example")
ID_R = IdR(IdType.IPV4_ADDR, bytes([198, 51, 100, 10]))
AUTH = Auth(AuthMethod.SHARED_KEY_MIC, bytes(48))
TS_I = TsI((TrafficSelector.host(IPv4Address("198.51.100.1"), 47),))
TS_R = TsR((TrafficSelector.host(IPv4Address("198.51.100.10"), 47),))

AUTH_REQUEST = (ID_I, ID_R, AUTH, ESP_SA, TS_I, TS_R)


def header(
    exchange: ExchangeType, *, is_response: bool = False, is_initiator: bool = True, message_id: int = 1
) -> Header:
    """A header of a message within an IKE SA."""
    return Header(SPI_I, SPI_R, exchange, is_initiator, is_response, message_id)


def init_header(*, is_response: bool = False) -> Header:
    """A header of IKE_SA_INIT."""
    responder_spi = SPI_R if is_response else bytes(8)
    return Header(SPI_I, responder_spi, ExchangeType.IKE_SA_INIT, not is_response, is_response, 0)


def gcm_cipher(seed: int = 1) -> SkCipher:
    """AES-GCM-16 with 256 bits."""
    return make_sk_cipher("aes-gcm-16", 256, None, bytes([seed]) * 36)


def cbc_cipher(seed: int = 1) -> SkCipher:
    """AES-CBC with 128 bits and HMAC-SHA2-256-128."""
    return make_sk_cipher("aes-cbc", 128, "sha256", bytes([seed]) * 16, bytes([seed]) * 32)
