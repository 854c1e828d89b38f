"""What the forwarder tells of its SAs."""

from tests.esp.support import FAR, NEAR, SPI, parameters
from vcstack.esp.sad import Sad
from vcstack.io.channel import SaUsage
from vcstack.io.reports import Reports


def test_use_of_an_sa_is_told_within_a_second_and_only_when_it_grew() -> None:
    sad, reports = Sad(), Reports(10.0)
    sa = sad.install_outbound(parameters(local=NEAR, remote=FAR), 10.0)
    assert reports.usage_due <= 11.0
    sa.meter.account(3, 300)
    reports.usage(sad, 11.0)
    assert reports.take() == [SaUsage(SPI, False, 3, 300)]
    assert reports.usage_due <= 12.0
    reports.usage(sad, 12.0)
    assert reports.take() == []
