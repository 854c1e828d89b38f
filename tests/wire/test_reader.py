import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcstack.wire.reader import Reader, WireError


def test_fields_are_big_endian_and_in_order() -> None:
    reader = Reader(bytes(range(1, 20)))
    assert (reader.u8(), reader.u16(), reader.u32()) == (0x01, 0x0203, 0x04050607)
    assert reader.u64() == 0x08090A0B0C0D0E0F
    assert reader.position == 15
    assert reader.remaining == 4
    assert reader.take(1) == b"\x10"
    assert reader.rest() == b"\x11\x12\x13"
    reader.check_end()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes_is_read_and_copied_out(kind: type) -> None:
    reader = Reader(kind(b"abc"))
    assert type(reader.take(1)) is bytes
    assert reader.rest() == b"bc"


@pytest.mark.parametrize(("field", "size"), [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)])
def test_short_field_names_owner_place_and_lengths(field: str, size: int) -> None:
    reader = Reader(bytes(size), "nonce")
    reader.u8()
    with pytest.raises(WireError, match=rf"^nonce: {size} bytes expected at byte 1, {size - 1} are left$"):
        getattr(reader, field)()
    assert reader.position == 1


@pytest.mark.parametrize("length", [-1, 4])
def test_take_refuses_lengths_outside_what_is_left(length: int) -> None:
    with pytest.raises(WireError):
        Reader(b"abc").take(length)


def test_sub_confines_and_steps_over() -> None:
    reader = Reader(b"abcdef", "outer")
    inner = reader.sub(3, "inner")
    assert reader.u8() == ord("d")
    assert inner.take(3) == b"abc"
    with pytest.raises(WireError, match=r"^inner: "):
        inner.u8()
    with pytest.raises(WireError, match=r"^outer: 3 bytes expected"):
        reader.sub(3)


def test_sub_inherits_the_name() -> None:
    with pytest.raises(WireError, match=r"^outer: "):
        Reader(b"a", "outer").sub(1).u16()


def test_left_over_bytes_are_an_error() -> None:
    reader = Reader(b"abc", "delete")
    reader.u8()
    with pytest.raises(WireError, match=r"^delete: 2 bytes after the end at byte 1$"):
        reader.check_end()


@given(st.binary(max_size=40), st.lists(st.integers(-2, 12), max_size=8))
def test_any_sequence_of_reads_stays_inside(data: bytes, lengths: list[int]) -> None:
    reader = Reader(data)
    taken = b""
    for length in lengths:
        try:
            taken += reader.take(length)
        except WireError:
            assert length < 0 or length > reader.remaining
    assert data.startswith(taken)
    assert len(taken) == reader.position == len(data) - reader.remaining
