"""AES-GCM with a 16-byte ICV as IPsec uses it (RFC 4106 section 4, RFC 5282 section 4).

The keying material is an AES key followed by a 4-byte salt. The nonce is that salt
followed by the 8-byte IV that travels in the packet, which must never repeat under a key.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vcstack.crypto.errors import AuthenticationFailed

SALT_LENGTH = 4
IV_LENGTH = 8
ICV_LENGTH = 16


class Gcm:
    """One key; `raw` is the library's cipher for sealing in place, with nonce = salt + IV."""

    __slots__ = ("key_bits", "raw", "salt")

    def __init__(self, key: bytes, salt: bytes) -> None:
        self.key_bits = len(key) * 8
        self.raw = AESGCM(key)
        self.salt = salt

    def seal(self, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Ciphertext followed by the ICV: 16 bytes more than `plaintext`."""
        return self.raw.encrypt(self._nonce(iv), plaintext, aad)

    def open(self, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Plaintext of ciphertext and ICV; AuthenticationFailed when they, `aad` or `iv` were changed."""
        try:
            return self.raw.decrypt(self._nonce(iv), data, aad)
        except InvalidTag:
            raise AuthenticationFailed("AES-GCM: the integrity check value does not fit") from None

    def _nonce(self, iv: bytes) -> bytes:
        if len(iv) != IV_LENGTH:
            raise ValueError(f"AES-GCM IV of {len(iv)} bytes, {IV_LENGTH} expected")
        return self.salt + iv


def gcm(key_with_salt: bytes) -> Gcm:
    """Cipher for 20, 28 or 36 bytes of keying material, the salt last; ValueError for other sizes."""
    return Gcm(key_with_salt[:-SALT_LENGTH], key_with_salt[-SALT_LENGTH:])
