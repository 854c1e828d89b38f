"""Who gives way when both ends rekey, or initiate, at once (RFC 7296 sections 2.8.1 and 2.8.2).

```
 A                                   B
 req1: Ni1 -->          <-- req2: Ni2       both ask
 resp2: Nr2 -->         <-- resp1: Nr1      both answer as usual
 the lowest of {Ni1, Nr1, Ni2, Nr2} loses: whoever sent the request of that exchange deletes
 what it created; the other end deletes what was replaced
```
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nonces:
    """The two nonces of one exchange."""

    initiator: bytes
    responder: bytes

    @property
    def lowest(self) -> bytes:
        """The one that counts; octet by octet, and a prefix is lower than what continues it."""
        return min(self.initiator, self.responder)


def loses(own: Nonces, rival: Nonces) -> bool:
    """Whether the exchange with the nonces `own` gives way to the other."""
    return own.lowest < rival.lowest
