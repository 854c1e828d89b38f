import pytest

from vcstack.ikev2.iana import CertEncoding
from vcstack.ikev2.wire.certificate import Cert, CertReq
from vcstack.wire.reader import Reader, WireError


def test_a_request_names_authorities_by_their_keys() -> None:
    """RFC 7296 3.7: hashes of 20 octets, one after the other."""
    hashes = (b"a" * 20, b"b" * 20)
    request = CertReq.of_authorities(hashes)
    assert request.build() == b"\x04" + b"".join(hashes)
    assert CertReq.parse(Reader(request.build() + b"short")).key_hashes == hashes


def test_an_encoding_is_the_least() -> None:
    assert Cert.parse(Reader(b"\x0f")) == Cert(CertEncoding.RAW_PUBLIC_KEY)
    with pytest.raises(WireError):
        Cert.parse(Reader(b""))
