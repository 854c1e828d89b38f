import pytest

from tests.esp.support import FAR, NEAR, SPI, packet, parameters
from vcstack.esp.lifetime import Lifetime
from vcstack.esp.packet import Drop
from vcstack.esp.sa import Expired, FirstUse
from vcstack.esp.sad import Sad
from vcstack.wire.deadline import Deadline

NEW_SPI = 0x1000


def pair() -> tuple[Sad, Sad]:
    near, far = Sad(), Sad()
    near.install_outbound(parameters(local=NEAR, remote=FAR), 0.0)
    far.install_inbound(parameters(local=FAR, remote=NEAR), 0.0)
    return near, far


def seal(sad: Sad, inner: bytes) -> bytes:
    assert sad.current is not None
    return sad.current.seal(inner)


def test_a_rekey_loses_nothing() -> None:
    near, far = pair()
    late = seal(near, packet(b"late"))
    far.install_inbound(parameters(local=FAR, remote=NEAR, spi=NEW_SPI), 10.0)
    assert far.open(seal(near, packet(b"old"))) == packet(b"old")
    near.install_outbound(parameters(local=NEAR, remote=FAR, spi=NEW_SPI), 10.0)
    near.retire_outbound(SPI)
    assert far.open(seal(near, packet(b"new"))) == packet(b"new")
    far.retire_inbound(SPI, 15.0)
    assert far.next_timeout() == Deadline(15.0, "retired inbound SA ends")
    far.handle_timeout(14.9)
    assert far.open(late) == packet(b"late")
    far.handle_timeout(15.0)
    assert far.inbound(SPI) is None
    assert far.open(late) is None
    assert far.drops == {Drop.UNKNOWN_SPI: 1}
    assert [far.next_event(), far.next_event(), far.next_event()] == [FirstUse(SPI), FirstUse(NEW_SPI), None]


def test_drops_of_forgotten_sas_are_kept() -> None:
    near, far = pair()
    data = seal(near, packet())
    far.open(data)
    far.open(data)
    assert far.drops == {Drop.REPLAYED: 1}
    far.retire_inbound(SPI, 1.0)
    far.handle_timeout(1.0)
    assert far.drops == {Drop.REPLAYED: 1}
    far.install_inbound(parameters(local=FAR, remote=NEAR), 2.0)
    far.open(data)
    far.open(data)
    assert far.drops == {Drop.REPLAYED: 2}


def test_without_an_outbound_sa_there_is_nothing_to_seal_with() -> None:
    near, _ = pair()
    near.retire_outbound(SPI)
    assert near.current is None


def test_retiring_the_current_sa_falls_back_to_the_latest_of_the_others() -> None:
    near, _ = pair()
    for spi in (NEW_SPI, NEW_SPI + 1):
        near.install_outbound(parameters(local=NEAR, remote=FAR, spi=spi), 1.0)
    near.retire_outbound(NEW_SPI + 1)
    assert near.current is not None
    assert near.current.spi == NEW_SPI


def test_an_spi_in_use_is_refused() -> None:
    near, far = pair()
    with pytest.raises(ValueError, match="installed already"):
        near.install_outbound(parameters(local=NEAR, remote=FAR), 1.0)
    with pytest.raises(ValueError, match="installed already"):
        far.install_inbound(parameters(local=FAR, remote=NEAR), 1.0)


def test_unknown_spis_are_ignored_when_retired() -> None:
    near, far = pair()
    near.retire_outbound(NEW_SPI)
    far.retire_inbound(NEW_SPI, 1.0)
    far.handle_timeout(2.0)
    assert near.current is not None
    assert far.inbound(SPI) is not None


def test_a_retirement_is_not_put_off_by_a_second_one() -> None:
    _, far = pair()
    far.retire_inbound(SPI, 5.0)
    far.retire_inbound(SPI, 50.0)
    assert far.is_retired(SPI)
    far.handle_timeout(5.0)
    assert far.inbound(SPI) is None


def test_lifetimes_are_told_through_the_common_queue_until_retirement() -> None:
    lifetime = Lifetime(soft_s=10, hard_s=20)
    sad = Sad()
    sad.install_inbound(parameters(local=FAR, remote=NEAR, lifetime=lifetime), 0.0)
    sad.install_outbound(parameters(local=FAR, remote=NEAR, spi=NEW_SPI, lifetime=lifetime), 0.0)
    assert sad.next_timeout() == Deadline(10.0, "SA wants a successor")
    sad.handle_timeout(10.0)
    told = [sad.next_event(), sad.next_event()]
    assert [(event.spi, event.inbound) for event in told if isinstance(event, Expired)] == [
        (SPI, True),
        (NEW_SPI, False),
    ]
    sad.retire_inbound(SPI, 30.0)
    sad.handle_timeout(20.0)
    told = [sad.next_event(), sad.next_event()]
    assert [event.spi for event in told if isinstance(event, Expired)] == [NEW_SPI]


def test_retire_all_forgets_everything() -> None:
    near, far = pair()
    near.retire_all()
    far.retire_all()
    assert (list(near), list(far), near.current, far.next_timeout()) == ([], [], None, None)


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(4), bytes(100)])
def test_packets_without_sa_are_counted(data: bytes) -> None:
    _, far = pair()
    assert far.open(data) is None
    assert far.drops == {Drop.UNKNOWN_SPI: 1}
