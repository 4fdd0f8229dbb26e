"""All faults of a run, one at a time, and a report of those that broke an invariant."""

import random

import pytest

from tests.faults.exploration import Exploration
from tests.faults.plan import FREEZES, Fault, FaultPlan, Path, faults_at, stops_at

LATE = (*FREEZES, "stale_repeat")
SHOWN = 12  # failures that a report quotes


def faults_of(points: list[str]) -> list[Fault]:
    """Returns every fault that can strike a run with these I/Os.

    A submit that comes late brings an erased job back, which DESIGN admits. So it is not tried where users are erased.
    """
    faults = [fault for number, point in enumerate(points, 1) for fault in faults_at(number, point)]
    if not any(point.startswith("erase ") for point in points):
        return faults
    return [fault for fault in faults if points[fault.number - 1] != "submit store:enqueue" or fault.kind not in LATE]


def stops_of(plan: FaultPlan) -> list[Fault]:
    """Returns the stops of the run's scripts, of each path once."""
    stops: list[Fault] = []
    tried: set[Path] = set()
    for number, path in plan.paths.items():
        if path not in tried:
            tried.add(path)
            stops += stops_at(number, path)
    return stops


async def every_fault(exploration: Exploration, max_failures: int = 10_000) -> None:
    """Runs the scenario without faults, and then once with each single fault, until ``max_failures`` runs failed."""
    base = await exploration.base()
    for fault in faults_of(base.plan.points):
        if len(exploration.failures) < max_failures:
            await exploration.disturb(base, fault)


async def every_stop(exploration: Exploration, max_failures: int = 10_000) -> None:
    """Stops each script on each of its paths at each of its writes, until ``max_failures`` runs failed."""
    base = await exploration.base()
    for fault in stops_of(base.plan):
        if len(exploration.failures) < max_failures:
            await exploration.disturb(base, fault)


async def some_faults(exploration: Exploration, chance: random.Random, count: int) -> None:
    """Runs the scenario without faults, and then with ``count`` random single faults."""
    base = await exploration.base()
    faults = faults_of(base.plan.points)
    for fault in chance.sample(faults, min(count, len(faults))):
        await exploration.disturb(base, fault)


def report(exploration: Exploration) -> None:
    """Fails with the plans of the runs that broke an invariant."""
    if exploration.failures:
        count = f"{len(exploration.failures)} of {exploration.runs} runs broke an invariant"
        pytest.fail("\n".join([count, *exploration.failures[:SHOWN]]), pytrace=False)
