"""The keys of an IKE SA at work: its messages, its children, its proofs (RFC 7296 2.13 to 2.18, 3.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcstack.ikev2.keymat import (
    IkeKeys,
    child_keys,
    ike_keys,
    initial_skeyseed,
    prf_function,
    rekeyed_skeyseed,
    sk_ciphers,
)
from vcstack.ikev2.wire.fragment import Fragment, open_fragment, seal_fragments
from vcstack.ikev2.wire.message import Message, open_message, seal_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vcstack.ikev2.collision import Nonces
    from vcstack.ikev2.proposal import EspSuite, IkeSuite
    from vcstack.ikev2.wire.chain import Payload
    from vcstack.ikev2.wire.header import Header
    from vcstack.wire.secret import Secret


class Protection:
    """What an IKE SA can do once both ends have the same keys."""

    def __init__(
        self, suite: IkeSuite, keys: IkeKeys, entropy: Callable[[int], bytes], *, is_initiator: bool
    ) -> None:
        self.suite = suite
        self.prf = prf_function(suite.prf)
        self.keys = keys
        of_initiator, of_responder = sk_ciphers(suite, keys)
        self._outbound, self._inbound = (
            (of_initiator, of_responder) if is_initiator else (of_responder, of_initiator)
        )
        self._entropy = entropy
        self._sealed = 0

    @classmethod
    def initial(
        cls,
        suite: IkeSuite,
        shared: Secret,
        nonces: Nonces,
        spis: tuple[bytes, bytes],
        entropy: Callable[[int], bytes],
        *,
        is_initiator: bool,
    ) -> Protection:
        """From IKE_SA_INIT; `shared` is g^ir, `spis` are the initiator's and the responder's."""
        seed = initial_skeyseed(prf_function(suite.prf), nonces.initiator, nonces.responder, shared)
        keys = ike_keys(suite, seed, nonces.initiator, nonces.responder, *spis)
        return cls(suite, keys, entropy, is_initiator=is_initiator)

    def rekeyed(
        self,
        suite: IkeSuite,
        shared: Secret,
        nonces: Nonces,
        spis: tuple[bytes, bytes],
        *,
        is_initiator: bool,
    ) -> Protection:
        """Of the IKE SA that replaces this one; its roles are those of the exchange that rekeys."""
        seed = rekeyed_skeyseed(self.prf, self.keys.d, nonces.initiator, nonces.responder, shared)
        keys = ike_keys(suite, seed, nonces.initiator, nonces.responder, *spis)
        return Protection(suite, keys, self._entropy, is_initiator=is_initiator)

    def child_keys(self, suite: EspSuite, shared: Secret | None, nonces: Nonces) -> tuple[Secret, Secret]:
        """Keys of a child SA: what the initiator of its exchange seals with, and what the responder does."""
        keys = child_keys(suite, self.prf, self.keys.d, nonces.initiator, nonces.responder, shared)
        return keys.encryption_i, keys.encryption_r

    def seal(self, header: Header, payloads: Iterable[Payload]) -> bytes:
        """The message with its payloads encrypted."""
        return seal_message(header, payloads, self._outbound, self._next_iv())

    def seal_in_fragments(
        self, header: Header, payloads: Iterable[Payload], max_bytes: int
    ) -> tuple[bytes, ...]:
        """The same in datagrams of at most `max_bytes` octets, one if it fits (RFC 7383)."""
        return seal_fragments(header, payloads, self._outbound, self._next_iv, max_bytes)

    def open_fragment(self, data: bytes) -> Fragment:
        """A part of a message; IntegrityCheckFailed when the peer did not seal it."""
        return open_fragment(data, self._inbound)

    def open(self, data: bytes) -> Message:
        """The message inside; IntegrityCheckFailed when the peer did not seal it."""
        return open_message(data, self._inbound)

    def _next_iv(self) -> bytes:
        if self._outbound.block_size > 1:
            return self._entropy(self._outbound.iv_length)
        # RFC 5282 section 3.1: an AEAD's IV must never repeat under a key, and a counter cannot.
        self._sealed += 1
        return self._sealed.to_bytes(self._outbound.iv_length, "big")
