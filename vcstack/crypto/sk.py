"""Protection of the Encrypted payload of IKEv2 (RFC 7296 section 3.14, RFC 5282).

```
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                     Initialization Vector                     |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                    Encrypted IKE Payloads                     |
+               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|               |             Padding (0-255 octets)            |
+-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
|                                               |  Pad Length   |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
|                    Integrity Checksum Data                    |
+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
```

The ciphers build and check the padding. `aad` is the message from its IKE header up
to the IV, whose length fields already count what `sealed_length` announces.
"""

from typing import Literal, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from vcstack.crypto.aead import ICV_LENGTH, IV_LENGTH, SALT_LENGTH, gcm
from vcstack.crypto.errors import AuthenticationFailed, PaddingError
from vcstack.crypto.mac import INTEGRITIES, Integrity

Encryption = Literal["aes-gcm-16", "aes-cbc"]
IntegrityName = Literal["sha256", "sha384", "sha512"]

_AES_KEY_BITS = (128, 192, 256)
_AES_BLOCK = 16


class SkCipher(Protocol):
    """One direction of an IKE SA; all lengths in bytes, `key_length` includes the salt of GCM."""

    @property
    def iv_length(self) -> int:
        """Size of the IV that stands in the message."""

    @property
    def icv_length(self) -> int:
        """Size of the integrity check value that ends the message."""

    @property
    def block_size(self) -> int:
        """What the ciphertext's length is a multiple of."""

    @property
    def key_length(self) -> int:
        """Size of SK_ei or SK_er."""

    @property
    def integ_key_length(self) -> int:
        """Size of SK_ai or SK_ar, 0 with an AEAD."""

    def sealed_length(self, plaintext_length: int) -> int:
        """Size of what `seal` returns for that many bytes of payloads; the IV is not counted."""

    def seal(self, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Pad, encrypt and authenticate payloads: ciphertext followed by the ICV."""

    def open(self, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Return the payloads in ciphertext and ICV.

        AuthenticationFailed when the message was changed, PaddingError when it is genuine
        but its padding is longer than itself.
        """


class GcmSk:
    """AES-GCM with a 16-byte ICV (RFC 5282); the IV is 8 bytes, unique under the key."""

    iv_length = IV_LENGTH
    icv_length = ICV_LENGTH
    block_size = 1
    integ_key_length = 0

    def __init__(self, key: bytes) -> None:
        self.key_length = len(key)
        self._gcm = gcm(key)

    def sealed_length(self, plaintext_length: int) -> int:
        """Size of ciphertext and ICV."""
        return plaintext_length + 1 + self.icv_length

    def seal(self, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Encrypt with no padding, only a Pad Length of 0 (RFC 5282 section 3)."""
        return self._gcm.seal(iv, aad, _pad(plaintext, self.block_size))

    def open(self, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Authenticate and decrypt; any padding a peer chose is accepted."""
        return _unpad(self._gcm.open(iv, aad, data))


class CbcHmacSk:
    """AES-CBC, then HMAC over everything before the ICV (RFC 7296 section 3.14).

    The IV is 16 bytes and must be unpredictable.
    """

    iv_length = _AES_BLOCK
    block_size = _AES_BLOCK

    def __init__(self, integrity: Integrity, key: bytes, integ_key: bytes) -> None:
        self.key_length = len(key)
        self.integ_key_length = integrity.key_length
        self.icv_length = integrity.icv_length
        self._aes = AES(key)
        self._integrity = integrity
        self._integ_key = integ_key

    def sealed_length(self, plaintext_length: int) -> int:
        """Size of padded ciphertext and ICV."""
        return (plaintext_length // self.block_size + 1) * self.block_size + self.icv_length

    def seal(self, iv: bytes, aad: bytes, plaintext: bytes) -> bytes:
        """Pad with zeros to whole blocks, encrypt, then authenticate."""
        encryptor = Cipher(self._aes, CBC(iv)).encryptor()
        ciphertext = encryptor.update(_pad(plaintext, self.block_size)) + encryptor.finalize()
        return ciphertext + self._integrity(self._integ_key, aad + iv + ciphertext)

    def open(self, iv: bytes, aad: bytes, data: bytes) -> bytes:
        """Verify the ICV before anything is decrypted."""
        ciphertext, icv = data[: -self.icv_length], data[-self.icv_length :]
        if not self._integrity.verify(self._integ_key, aad + iv + ciphertext, icv):
            raise AuthenticationFailed(f"{self._integrity.name}: the integrity check value does not fit")
        if not ciphertext or len(ciphertext) % self.block_size:
            raise PaddingError(f"AES-CBC: {len(ciphertext)} bytes of ciphertext are not whole blocks")
        decryptor = Cipher(self._aes, CBC(iv)).decryptor()
        return _unpad(decryptor.update(ciphertext) + decryptor.finalize())


def sk_key_lengths(
    encryption: Encryption, key_bits: int, integrity: IntegrityName | None = None
) -> tuple[int, int]:
    """Sizes in bytes of SK_e* (with the salt of GCM) and SK_a* for a negotiated suite.

    ValueError for a suite that does not exist: another AES key size, GCM with an integrity
    algorithm (RFC 5282 section 8), CBC without one.
    """
    if key_bits not in _AES_KEY_BITS or (encryption == "aes-gcm-16") != (integrity is None):
        raise ValueError(f"no IKE cipher {encryption} of {key_bits} bits with integrity {integrity}")
    if integrity is None:
        return key_bits // 8 + SALT_LENGTH, 0
    return key_bits // 8, INTEGRITIES[integrity].key_length


def make_sk_cipher(
    encryption: Encryption,
    key_bits: int,
    integrity: IntegrityName | None,
    key: bytes,
    integ_key: bytes = b"",
) -> SkCipher:
    """Cipher of one direction; ValueError when the suite does not exist or a key has the wrong size."""
    expected = sk_key_lengths(encryption, key_bits, integrity)
    if (len(key), len(integ_key)) != expected:
        raise ValueError(f"IKE keys of {len(key)} and {len(integ_key)} bytes, {expected} expected")
    if integrity is None:
        return GcmSk(key)
    return CbcHmacSk(INTEGRITIES[integrity], key, integ_key)


def _pad(plaintext: bytes, block_size: int) -> bytes:
    pad_length = -(len(plaintext) + 1) % block_size
    return plaintext + bytes(pad_length) + bytes([pad_length])


def _unpad(padded: bytes) -> bytes:
    # RFC 7296 3.14: padding bytes may have any value, so only its length can be wrong.
    if not padded or padded[-1] >= len(padded):
        raise PaddingError(f"pad length {padded[-1:].hex() or 'missing'} in {len(padded)} bytes of plaintext")
    return padded[: len(padded) - 1 - padded[-1]]
