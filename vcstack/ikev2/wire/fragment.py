"""Fragmentation of protected messages (RFC 7383).

```
    one message too long for the path:   [ header | SK { a b c d e f g } ]
    becomes, each sealed on its own:     [ header | SKF 1/3 { a b c } ] [ header | SKF 2/3 { d e f } ] ...
```

Only authenticated fragments are kept, so that nobody else can fill or poison the reassembly (RFC 7383 5).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vcstack.crypto.sk import SkCipher
from vcstack.ikev2.constants import HEADER_LENGTH, PAYLOAD_HEADER_LENGTH
from vcstack.ikev2.errors import InvalidSyntax, LocalProtocolError
from vcstack.ikev2.iana import PayloadType
from vcstack.ikev2.wire.chain import Payload, build_chain, first_type
from vcstack.ikev2.wire.header import MAX_MESSAGE_BYTES, Header
from vcstack.ikev2.wire.message import Message, opened_message, parse_message, seal_message
from vcstack.ikev2.wire.sk import Skf, open_body
from vcstack.wire.writer import Writer

MAX_FRAGMENTS: Final = 64
"""Enough for the largest message in fragments of 280 octets, below any sensible path MTU."""

_NUMBERS_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class Fragment:
    """An opened fragment; `first` is the type of the message's first payload in number 1, elsewhere NONE."""

    header: Header
    number: int
    total: int
    first: PayloadType
    plaintext: bytes


def seal_fragments(
    header: Header, payloads: Iterable[Payload], sk: SkCipher, next_iv: Callable[[], bytes], max_bytes: int
) -> tuple[bytes, ...]:
    """The message sealed in datagrams of at most `max_bytes` octets of IKE: one, if it fits unfragmented.

    `next_iv` gives a fresh IV per datagram; LocalProtocolError when it takes more than MAX_FRAGMENTS.
    """
    chosen = tuple(payloads)
    plaintext = build_chain(chosen)
    overhead = HEADER_LENGTH + PAYLOAD_HEADER_LENGTH + sk.iv_length
    if overhead + sk.sealed_length(len(plaintext)) <= max_bytes:
        return (seal_message(header, chosen, sk, next_iv()),)
    blocks = (max_bytes - overhead - _NUMBERS_LENGTH - sk.icv_length) // sk.block_size
    room = blocks * sk.block_size - 1
    if room < 1 or len(plaintext) > room * MAX_FRAGMENTS:
        raise LocalProtocolError(f"{len(plaintext)} octets of payloads in fragments of {max_bytes}")
    parts = [plaintext[start : start + room] for start in range(0, len(plaintext), room)]
    return tuple(
        _seal_fragment(
            Fragment(
                header, number, len(parts), first_type(chosen) if number == 1 else PayloadType.NONE, part
            ),
            sk,
            next_iv(),
        )
        for number, part in enumerate(parts, start=1)
    )


def open_fragment(data: bytes, sk: SkCipher) -> Fragment:
    """One fragment, authenticated: errors as of `message.open_message`."""
    outer = parse_message(data)
    sealed = outer.payloads[-1] if outer.payloads else None
    if not isinstance(sealed, Skf):
        raise InvalidSyntax(f"{outer.header.exchange} without an Encrypted Fragment payload")
    plaintext = open_body(data, sealed.body, sk)
    return Fragment(outer.header, sealed.number, sealed.total, sealed.inner, plaintext)


class Reassembly:
    """Collects the fragments of one message at a time; the next message displaces an unfinished one."""

    def __init__(self, max_fragments: int = MAX_FRAGMENTS, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_fragments = max_fragments
        self._max_bytes = max_bytes
        self._fragments: dict[int, Fragment] = {}

    def add(self, fragment: Fragment) -> Message | None:
        """Take an opened fragment; the message once it is whole, else None.

        RFC 7383 2.6: a duplicate is dropped; more fragments in total than before mean that the peer started
        over with smaller ones, fewer that an old one arrived late. InvalidSyntax, authenticated, beyond the
        limits or when the whole is malformed: all fragments are forgotten then.
        """
        if fragment.total > self._max_fragments:
            raise self._refused(f"{fragment.total} fragments, at most {self._max_fragments} are taken")
        current = next(iter(self._fragments.values()), None)
        if current is not None and (fragment.header != current.header or fragment.total > current.total):
            self._fragments.clear()
        elif current is not None and fragment.total < current.total:
            return None
        self._fragments.setdefault(fragment.number, fragment)
        if sum(len(kept.plaintext) for kept in self._fragments.values()) > self._max_bytes:
            raise self._refused(f"fragments of more than {self._max_bytes} octets")
        return self._whole(fragment) if len(self._fragments) == fragment.total else None

    @property
    def is_empty(self) -> bool:
        """Whether no fragment is kept."""
        return not self._fragments

    def clear(self) -> None:
        """Forget an unfinished message."""
        self._fragments.clear()

    def _whole(self, last: Fragment) -> Message:
        plaintext = b"".join(self._fragments[number].plaintext for number in range(1, last.total + 1))
        first = self._fragments[1].first
        self._fragments.clear()
        return opened_message(last.header, first, plaintext)

    def _refused(self, reason: str) -> InvalidSyntax:
        self._fragments.clear()
        error = InvalidSyntax(reason)
        error.authenticated = True
        return error


def _seal_fragment(fragment: Fragment, sk: SkCipher, iv: bytes) -> bytes:
    length = (
        PAYLOAD_HEADER_LENGTH + _NUMBERS_LENGTH + sk.iv_length + sk.sealed_length(len(fragment.plaintext))
    )
    generic = Writer().u8(fragment.first).u8(0).u16(length).u16(fragment.number).u16(fragment.total)
    associated = fragment.header.build(PayloadType.SKF, HEADER_LENGTH + length) + generic.getvalue()
    return associated + iv + sk.seal(iv, associated, fragment.plaintext)
