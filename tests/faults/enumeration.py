"""All faults of a run, one at a time, and the report of those that broke a promise."""

import random

import pytest

from tests.faults.exploration import Exploration
from tests.faults.plan import Fault, faults_at

SHOWN = 12  # failures that a report quotes


def faults_of(points: list[str]) -> list[Fault]:
    """Every fault that can be tried in a run that made these I/Os."""
    return [fault for number, point in enumerate(points, 1) for fault in faults_at(number, point)]


async def every_fault(exploration: Exploration, most_failures: int = 10_000) -> None:
    """Runs the scenario undisturbed, and then once with each single fault, until too much went wrong."""
    base = await exploration.base()
    for fault in faults_of(base.plan.points):
        if len(exploration.failures) < most_failures:
            await exploration.disturb(base, fault)


async def some_faults(exploration: Exploration, chance: random.Random, count: int) -> None:
    """Runs the scenario undisturbed, and then with single faults, as many as asked for, that chance picks."""
    base = await exploration.base()
    faults = faults_of(base.plan.points)
    for fault in chance.sample(faults, min(count, len(faults))):
        await exploration.disturb(base, fault)


def report(exploration: Exploration) -> None:
    """Fails with the plans of the runs that broke a promise."""
    if exploration.failures:
        count = f"{len(exploration.failures)} of {exploration.runs} runs broke an invariant"
        pytest.fail("\n".join([count, *exploration.failures[:SHOWN]]), pytrace=False)
