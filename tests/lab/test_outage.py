"""What is concluded from the lines of the probe."""

from vcstack.lab.outage import Flow

INTERVAL_S = 0.005


def flow_of(fates: str, *, start: float = 100.0) -> Flow:
    """One packet per letter: `a` back over 2 hops, `b` over 3, `x` there over 3 and back over 2, `.` lost."""
    flow = Flow()
    for number, fate in enumerate(fates):
        at = start + number * INTERVAL_S
        flow.feed(f"{number} {at:.6f}")
        if fate != ".":
            there, back = {"a": (62, 62), "b": (61, 61), "x": (61, 62)}[fate]
            flow.feed(f"{number} {at + 0.001:.6f} {there} {back}")
    return flow


def test_an_undisturbed_flow_has_no_outage() -> None:
    outage = flow_of("a" * 50).outage(0, 1000)
    assert (outage.outage_ms, outage.lost, outage.sent) == (0.0, 0, 50)


def test_an_outage_lasts_from_the_first_lost_packet_to_the_next_answered_one() -> None:
    outage = flow_of("aaaa" + "." * 40 + "bbbb").outage(0, 1000)
    assert (outage.outage_ms, outage.lost) == (200.0, 40)


def test_the_longest_row_counts_and_every_loss() -> None:
    outage = flow_of("aa.aa" + "." * 10 + "bb..bb").outage(0, 1000)
    assert (outage.outage_ms, outage.lost) == (50.0, 13)


def test_an_outage_that_goes_on_lasts_to_the_end_of_the_period() -> None:
    outage = flow_of("aaaa......").outage(0, 100.1)
    assert (outage.outage_ms, outage.lost) == (80.0, 6)


def test_only_the_period_counts() -> None:
    flow = flow_of("..aaaa....bbbb..")
    outage = flow.outage(100.0 + 2 * INTERVAL_S, 100.0 + 13.5 * INTERVAL_S)
    assert (outage.outage_ms, outage.lost, outage.sent) == (20.0, 4, 12)


def test_a_late_answer_is_an_answer() -> None:
    flow = flow_of("a.a")
    flow.feed("1 105.0 62 62")
    assert flow.outage(0, 1000).lost == 0


def test_settled_asks_for_the_newest_packets_in_a_row_over_the_way_both_ways() -> None:
    assert flow_of("aabbbbb").settled(5, 3, 0)
    assert not flow_of("aabbbb").settled(5, 3, 0)
    assert not flow_of("bb.bbbb").settled(5, 3, 0)
    assert not flow_of("bbxbb").settled(5, 3, 0)
    assert not flow_of("").settled(1, 3, 0)


def test_packets_that_are_still_on_their_way_do_not_unsettle() -> None:
    assert flow_of("bbbbb..").settled(5, 3, 0)


def test_settled_looks_at_nothing_older_than_since() -> None:
    assert not flow_of("aaaaaa").settled(5, 2, since=100.0 + 2 * INTERVAL_S)
    assert flow_of("aaaaaa").settled(4, 2, since=100.0 + 2 * INTERVAL_S)


def test_the_first_packet_over_the_new_way() -> None:
    flow = flow_of("aa..xbb")
    assert flow.first_over(3, 0) == 100.0 + 5 * INTERVAL_S
    assert flow.first_over(4, 0) is None
