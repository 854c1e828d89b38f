"""Encrypted payload (RFC 7296 3.14) and Encrypted Fragment payload (RFC 7383 2.5).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|        Fragment Number        |        Total Fragments        |  SKF only
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                     Initialization Vector                     |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~     Encrypted IKE Payloads, Padding, Pad Length, Checksum     ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

Everything from the start of the message to the initialization vector is authenticated with it.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from vcstack.crypto.errors import CryptoError, PaddingError
from vcstack.crypto.sk import SkCipher
from vcstack.ikev2.errors import IntegrityCheckFailed, InvalidSyntax
from vcstack.ikev2.iana import PayloadType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer


@dataclass(frozen=True, slots=True)
class Sk:
    """An unopened Encrypted payload: first payload's type, then IV, ciphertext and checksum."""

    payload_type: ClassVar[PayloadType] = PayloadType.SK

    inner: PayloadType
    body: bytes

    @classmethod
    def parse(cls, inner: PayloadType, body: Reader) -> Self:
        """Read the payload after its generic header, which says `inner`."""
        return cls(inner, body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return self.body


@dataclass(frozen=True, slots=True)
class Skf:
    """An unopened Encrypted Fragment payload; `inner` counts in fragment number 1 only."""

    payload_type: ClassVar[PayloadType] = PayloadType.SKF

    inner: PayloadType
    number: int
    total: int
    body: bytes

    @classmethod
    def parse(cls, inner: PayloadType, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when the number is not one of 1 to total."""
        number, total = body.u16(), body.u16()
        if not 1 <= number <= total:
            raise WireError(f"fragment {number} of {total}")
        return cls(inner, number, total, body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return Writer().u16(self.number).u16(self.total).raw(self.body).getvalue()


def open_body(message: bytes, body: bytes, sk: SkCipher) -> bytes:
    """Plaintext of the encrypted `body` that ends `message`.

    IntegrityCheckFailed when it is too short or was not sealed under this key; InvalidSyntax, marked as
    authenticated, when the peer itself padded it wrongly.
    """
    if len(body) < sk.iv_length + sk.sealed_length(0):
        raise IntegrityCheckFailed(f"{len(body)} octets are too few for an encrypted payload")
    associated, iv = message[: len(message) - len(body)], body[: sk.iv_length]
    try:
        return sk.open(iv, associated, body[sk.iv_length :])
    except PaddingError as error:
        wrong = InvalidSyntax(str(error))
        wrong.authenticated = True
        raise wrong from error
    except CryptoError as error:
        raise IntegrityCheckFailed(str(error)) from error
