"""One caller's trouble stays their own: innocent jobs next to each guilty party, in simulated time."""

from collections.abc import Callable
from functools import partial

import pytest

from bench.isolation import measure
from bench.trouble import Trouble, failing, flood, refused, storm

JOBS = 100  # innocent ones: enough for each party to do its worst


@pytest.mark.parametrize("scenario", [refused, failing, storm, flood, partial(flood, policy="offset")])
async def test_innocent_jobs_are_served_next_to_a_guilty_party(scenario: Callable[[int], Trouble]) -> None:
    without, with_guilty = await measure([scenario(JOBS)])
    assert not without.unserved and not without.paid_twice
    missed = [name for name, is_met in with_guilty.targets().items() if not is_met]
    assert not missed, with_guilty
