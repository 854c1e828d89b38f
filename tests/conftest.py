"""One Hypothesis profile for all tests: the same examples in every run, without a time limit for each."""

from hypothesis import settings

settings.register_profile("vcstack", derandomize=True, deadline=None)
settings.load_profile("vcstack")
