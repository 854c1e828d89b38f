from hashlib import sha1
from ipaddress import IPv4Address

from vcstack.ikev2.natd import is_translated, nat_detection_hash

SPI_I, SPI_R = bytes(range(8)), bytes(8)
SEEN = IPv4Address("198.51.100.1")


def test_hash_covers_spis_address_and_port() -> None:
    expected = sha1(bytes(range(8)) + bytes(8) + bytes([198, 51, 100, 1]) + b"\x01\xf4").digest()
    assert nat_detection_hash(SPI_I, SPI_R, SEEN, 500) == expected


def test_a_nat_is_seen_by_address_and_by_port() -> None:
    own = nat_detection_hash(SPI_I, SPI_R, SEEN, 500)
    private = nat_detection_hash(SPI_I, SPI_R, IPv4Address("192.168.1.2"), 500)
    assert not is_translated([own], SPI_I, SPI_R, SEEN, 500)
    assert is_translated([private], SPI_I, SPI_R, SEEN, 500)
    assert is_translated([own], SPI_I, SPI_R, SEEN, 1024)


def test_one_of_several_hashes_is_enough_and_none_means_no_support() -> None:
    own = nat_detection_hash(SPI_I, SPI_R, SEEN, 500)
    assert not is_translated([bytes(20), own], SPI_I, SPI_R, SEEN, 500)
    assert not is_translated([], SPI_I, SPI_R, SEEN, 500)
