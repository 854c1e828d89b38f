import pytest
from hypothesis import given

from tests.wire.strategies import u8, u16, u32
from vcstack.wire.reader import Reader
from vcstack.wire.writer import Writer


def test_fields_are_appended_in_network_order() -> None:
    writer = Writer().u8(1).u16(0x0203).u32(0x04050607).u64(0x08090A0B0C0D0E0F).raw(b"\x10")
    assert writer.position == 16
    assert writer.getvalue() == bytes(range(1, 17))


def test_lengths_are_patched_afterwards() -> None:
    writer = Writer().u16(0).u32(0).raw(b"tail")
    writer.patch_u16(0, 0x0102).patch_u32(2, 0x03040506)
    assert writer.getvalue() == b"\1\2\3\4\5\6tail"


@pytest.mark.parametrize(("field", "bits"), [("u8", 8), ("u16", 16), ("u32", 32), ("u64", 64)])
def test_values_that_do_not_fit_are_our_mistake(field: str, bits: int) -> None:
    append = getattr(Writer(), field)
    append((1 << bits) - 1)
    for value in (1 << bits, -1):
        with pytest.raises(OverflowError):
            append(value)


@pytest.mark.parametrize("at", [-1, 3, 9])
def test_patch_never_grows_what_was_written(at: int) -> None:
    writer = Writer().u32(7)
    with pytest.raises(IndexError):
        writer.patch_u16(at, 0xFFFF)
    assert writer.getvalue() == b"\0\0\0\7"


@given(u8, u16, u32)
def test_reader_returns_what_was_written(one: int, two: int, four: int) -> None:
    reader = Reader(Writer().u8(one).u16(two).u32(four).getvalue())
    assert (reader.u8(), reader.u16(), reader.u32()) == (one, two, four)
    reader.check_end()
