"""What can be wrong with cryptographic input from a peer."""


class CryptoError(Exception):
    """A peer's key or protected message that cannot be accepted."""


class AuthenticationFailed(CryptoError):  # noqa: N818  # the outcome's name in RFC 5116 and 7296, not a fault of ours
    """The integrity check value does not fit; nothing of the message may be believed."""


class PaddingError(CryptoError):
    """Authenticated plaintext whose padding is malformed: the peer is genuine and wrong."""
