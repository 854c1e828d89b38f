from hypothesis import assume, given
from hypothesis import strategies as st

from tests.wire.strategies import u16
from vcstack.wire.checksum import checksum_update, internet_checksum


def one_by_one(data: bytes, initial: int = 0) -> int:
    """RFC 1071 section 4.1, word by word with the carry added back each time."""
    total = (initial >> 16) + (initial & 0xFFFF)
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"))
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_example_of_rfc_1071() -> None:
    # Section 3: 0001 f203 f4f5 f6f7 sum to ddf2.
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2 ^ 0xFFFF


def test_example_of_rfc_1624() -> None:
    # Section 4: checksum DD2F, a word changes from 5555 to 3285.
    assert checksum_update(0xDD2F, 0x5555, 0x3285) == 0x0000


def test_sums_of_nothing_and_of_zero() -> None:
    assert internet_checksum(b"") == 0xFFFF
    assert internet_checksum(bytes(8)) == 0xFFFF
    assert internet_checksum(b"\xff\xff") == 0x0000


@given(st.binary(max_size=80), st.integers(0, 0xFFFF))
def test_agrees_with_the_word_by_word_sum(data: bytes, initial: int) -> None:
    assert internet_checksum(data, initial) == one_by_one(data, initial)
    assert internet_checksum(memoryview(data), initial) == internet_checksum(bytearray(data), initial)


@given(st.binary(min_size=2, max_size=60))
def test_block_with_its_checksum_sums_to_zero(data: bytes) -> None:
    data = data[: len(data) // 2 * 2]
    assert internet_checksum(data + internet_checksum(data).to_bytes(2)) == 0


@given(st.binary(min_size=2, max_size=60), st.integers(0), u16)
def test_update_agrees_with_recomputation(data: bytes, where: int, new: int) -> None:
    data = data[: len(data) // 2 * 2]
    at = where % (len(data) // 2) * 2
    changed = data[:at] + new.to_bytes(2) + data[at + 2 :]
    # A block of nothing but zeros has two checksums; no header is one.
    assume(any(data) and any(changed))
    old = int.from_bytes(data[at : at + 2])
    assert checksum_update(internet_checksum(data), old, new) == internet_checksum(changed)
