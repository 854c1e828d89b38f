"""Key Exchange payload (RFC 7296 3.4).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|   Diffie-Hellman Group Num    |           RESERVED            |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
~                       Key Exchange Data                       ~
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from vcstack.ikev2.iana import DhGroup, PayloadType
from vcstack.wire.reader import Reader, WireError
from vcstack.wire.writer import Writer


@dataclass(frozen=True, slots=True)
class Ke:
    """A public value. Its length is the group's affair and checked where the group is known."""

    payload_type: ClassVar[PayloadType] = PayloadType.KE

    group: DhGroup
    data: bytes

    @classmethod
    def parse(cls, body: Reader) -> Self:
        """Read the payload after its generic header; WireError when there is no public value."""
        group = DhGroup(body.u16())
        body.u16()
        if not body.remaining:
            raise WireError(f"no public value for DH group {group.value}")
        return cls(group, body.rest())

    def build(self) -> bytes:
        """The payload without its generic header."""
        return Writer().u16(self.group).u16(0).raw(self.data).getvalue()
