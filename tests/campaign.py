"""The size of property tests: a seeded sample, or a long campaign of new examples.

`make test-long` selects the campaign by the Hypothesis profile "long".
"""

from collections.abc import Sequence

import hypothesis

LONG = "long"


def examples(sample: int) -> int:
    """Return how many examples to try of a property that is slow to check."""
    settings = hypothesis.settings
    is_long = settings.get_current_profile_name() == LONG
    return settings.get_profile(LONG).max_examples if is_long else sample


def seeds(sample: int) -> Sequence[int]:
    """Return the seeds of a test with its own random numbers."""
    is_long = hypothesis.settings.get_current_profile_name() == LONG
    return range(100 if is_long else sample)
