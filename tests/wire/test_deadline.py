from vcstack.wire.deadline import Deadline


def test_the_earliest_is_the_minimum() -> None:
    late, early = Deadline(9.5, "rekey"), Deadline(2.0, "retransmit")
    assert min(late, early) is early
    assert min(late, early).reason == "retransmit"
