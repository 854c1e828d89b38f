"""For all tests: one Hypothesis profile, and a clean start.

The examples are the same in every run and have no time limit each, so that a busy machine decides nothing.
"""

from hypothesis import settings

from tests.support.netns import sweep

settings.register_profile("vcstack", derandomize=True, deadline=None)
settings.load_profile("vcstack")


def pytest_sessionstart() -> None:
    sweep()
