"""Authentication payload (RFC 7296 3.8).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
| Auth Method   |                RESERVED                       |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                      Authentication Data                      ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from vcstack.ikev2.iana import AuthMethod, PayloadType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer


@dataclass(frozen=True, slots=True)
class Auth:
    """Proof that the sender knows its secret."""

    payload_type: ClassVar[PayloadType] = PayloadType.AUTH

    method: AuthMethod
    data: bytes

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when it proves nothing."""
        method = AuthMethod(body.u8())
        body.take(3)
        if not body.remaining:
            raise WireError("no authentication data")
        return cls(method, body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return Writer().u8(self.method).raw(bytes(3)).raw(self.data).getvalue()
