"""The order of child events, whatever happens to the children."""

from ipaddress import IPv4Address

from vcstack.ikev2.child_sa import Child, ChildSa
from vcstack.ikev2.children import ChildTable
from vcstack.ikev2.events import ChildRetired, Event, InboundReady, OutboundReady
from vcstack.ikev2.path import Path
from vcstack.wire.secret import Secret

PATH = Path(IPv4Address("198.51.100.1"), 500, IPv4Address("198.51.100.10"), 500)
OWNER = object()


def child(spi: int, *, predecessor: Child | None = None) -> Child:
    """A child that receives on `spi`."""
    value = ChildSa(
        spi_in=spi,
        spi_out=spi + 0x1000,
        encryption="aes-gcm-16",
        key_bits=256,
        key_in=Secret(bytes(36)),
        key_out=Secret(bytes(36)),
        esn=False,
        udp_encapsulation=False,
        path=PATH,
        local_ts=(),
        remote_ts=(),
        pfs_group=None,
        lifetime_s=3600.0,
    )
    return Child(value, OWNER, True, float(spi), 1e9, 1e9, predecessor=predecessor)


class Table(ChildTable):
    """A table that keeps what it emits, as short texts."""

    def __init__(self) -> None:
        self.log: list[str] = []
        super().__init__(self._note)

    def _note(self, event: Event) -> None:
        assert isinstance(event, InboundReady | OutboundReady | ChildRetired)
        spi = event.spi_in if isinstance(event, ChildRetired) else event.child.spi_in
        self.log.append(f"{type(event).__name__} {spi}")

    def with_children(self, *spis: int) -> list[Child]:
        """Children one after the other, each replacing what was sent on before."""
        made = [child(spi) for spi in spis]
        for one in made:
            self.install(one)
            self.switch(one)
        self.log.clear()
        return made


def test_successor_is_switched_to_before_the_old_one_is_retired() -> None:
    table = Table()
    (old,) = table.with_children(300)
    new = child(301, predecessor=old)
    table.install(new)
    table.retire(old, "deleted by the peer")
    assert table.log == ["InboundReady 301", "OutboundReady 301", "ChildRetired 300"]
    assert table.carrying is new


def test_the_own_successor_is_preferred_to_a_younger_child() -> None:
    table = Table()
    (old,) = table.with_children(300)
    successor, stranger = child(301, predecessor=old), child(302)
    table.install(successor)
    table.install(stranger)
    table.retire(old, "expired")
    assert table.carrying is successor


def test_traffic_goes_back_to_a_child_that_lived_on() -> None:
    table = Table()
    old, new = table.with_children(300, 301)
    assert (old.state.value, new.state.value) == ("superseded", "active")
    table.retire(new, "the peer deleted the IKE SA")
    assert table.log == ["OutboundReady 300", "ChildRetired 301"]
    assert old.state.value == "active"


def test_the_loser_of_a_collision_is_never_sent_on() -> None:
    table = Table()
    (old,) = table.with_children(300)
    loser = child(301, predecessor=old)
    table.install(loser)
    table.lose(loser, None)
    table.retire(old, "deleted by the peer")
    assert table.log == ["InboundReady 301", "ChildRetired 300"]
    assert table.carrying is None
    table.switch(loser)
    assert table.carrying is None


def test_retiring_twice_is_once() -> None:
    table = Table()
    (only,) = table.with_children(300)
    table.retire(only, "one reason")
    table.retire(only, "another reason")
    assert table.log == ["ChildRetired 300"]
    assert len(table) == 0


def test_deleting_the_only_child_keeps_sending_until_it_is_gone() -> None:
    table = Table()
    (only,) = table.with_children(300)
    table.begin_delete(only)
    assert table.carrying is only
    table.retire(only, "deleted")
    assert table.carrying is None


def test_found_by_either_spi() -> None:
    table = Table()
    (only,) = table.with_children(300)
    assert table.get(300) is only
    assert table.find_outbound(OWNER, 0x1000 + 300) is only
    assert table.find_outbound(object(), 0x1000 + 300) is None
    assert table.owned_by(OWNER) == [only]


def test_as_responder_switch_at_once_only_without_another() -> None:
    table = Table()
    first, second = child(300), child(301)
    table.install(first)
    table.switch_when_proven(first, 5.0)
    assert table.carrying is first
    table.install(second)
    table.switch_when_proven(second, 5.0)
    assert table.carrying is first
    assert second.switch_at == 5.0
