"""Certificates, and requests for them (RFC 7296 3.6, 3.7, RFC 7670 for raw public keys).

```
+-+-+-+-+-+-+-+-+
| Cert Encoding |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~         Certificate Data, or Certification Authority          ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from vcstack.ikev2.iana import CertEncoding, PayloadType
from vcstack.wire.reader import Reader
from vcstack.wire.writer import Writer

KEY_HASH_LENGTH: Final = 20


@dataclass(frozen=True, slots=True)
class _Certification:
    """An encoding, and data whose form it tells; WireError when there is not even an encoding."""

    encoding: CertEncoding
    data: bytes = b""

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header."""
        return cls(CertEncoding(body.u8()), body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return Writer().u8(self.encoding).raw(self.data).getvalue()


@dataclass(frozen=True, slots=True)
class Cert(_Certification):
    """One certificate, or a bare public key as SubjectPublicKeyInfo; of several the first is the sender's."""

    payload_type: ClassVar[PayloadType] = PayloadType.CERT


@dataclass(frozen=True, slots=True)
class CertReq(_Certification):
    """A request for certificates: `data` are hashes of the authorities' keys, nothing for bare keys."""

    payload_type: ClassVar[PayloadType] = PayloadType.CERTREQ

    @classmethod
    def of_authorities(cls, key_hashes: Iterable[bytes]) -> Self:
        """Ask for an X.509 certificate of one of these authorities, each named by the SHA-1 of its key."""
        return cls(CertEncoding.X509_SIGNATURE, b"".join(key_hashes))

    @property
    def key_hashes(self) -> tuple[bytes, ...]:
        """The authorities that are asked for; an incomplete one at the end does not count."""
        whole = len(self.data) // KEY_HASH_LENGTH * KEY_HASH_LENGTH
        return tuple(self.data[at : at + KEY_HASH_LENGTH] for at in range(0, whole, KEY_HASH_LENGTH))
