from enum import StrEnum

import pytest

from vcstack.dataplane.counters import COUNTERS_BYTES, Counter, Counters
from vcstack.esp.packet import Drop
from vcstack.gre.packet import Reject


@pytest.mark.parametrize(("prefix", "reasons"), [("ESP", Drop), ("GRE", Reject)])
def test_every_reason_has_a_counter_and_every_counter_a_reason(prefix: str, reasons: type[StrEnum]) -> None:
    counters = Counters()
    counters.set_drops(prefix, {reason: number for number, reason in enumerate(reasons, 1)})
    counted = {name: value for name, value in counters.snapshot().items() if value}
    assert counted == {
        f"{prefix}_drop_{reason.name}".lower(): number for number, reason in enumerate(reasons, 1)
    }
    named = {counter.name for counter in Counter if counter.name.startswith(f"{prefix}_DROP_")}
    assert len(named) == len(reasons)


def test_both_processes_see_one_buffer() -> None:
    shared = bytearray(COUNTERS_BYTES)
    writer, reader = Counters(shared), Counters(memoryview(shared).toreadonly())
    writer.add(Counter.OUTBOUND_PACKETS, 3)
    writer.add(Counter.OUTBOUND_PACKETS)
    writer.set(Counter.LAST_INBOUND_US, 1 << 63)
    assert (reader[Counter.OUTBOUND_PACKETS], reader[Counter.LAST_INBOUND_US]) == (4, 1 << 63)
    with pytest.raises(TypeError):
        reader.add(Counter.OUTBOUND_PACKETS)
