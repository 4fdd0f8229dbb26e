"""Times several cases in turn, so that a slow phase of the machine slows all of them."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A call to time. ``prepare`` makes its input and ``is_right`` checks its result; neither is timed."""

    name: str
    call: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    is_right: Callable[[Any], bool] = lambda result: True


@dataclass
class Timing:
    """A case's wall times in ns, and the sum of its CPU time in ns, over all threads of this process."""

    walls: list[int] = field(default_factory=list)
    cpu_sum: int = 0

    def add(self, wall: int, cpu: int) -> None:
        self.walls.append(wall)
        self.cpu_sum += cpu

    @property
    def median(self) -> float:
        return statistics.median(self.walls)

    @property
    def p95(self) -> float:
        return sorted(self.walls)[min(len(self.walls) - 1, int(len(self.walls) * 0.95))]

    @property
    def cpu(self) -> float:
        """The mean CPU time of a call; a single call's is not much above the clock's own cost."""
        return self.cpu_sum / len(self.walls)


class WrongResult(Exception):
    """A case returned a wrong result, so its time means nothing."""


def time_in_turn(cases: Sequence[Case], rounds: int) -> dict[str, Timing]:
    """Returns each case's timing over ``rounds`` rounds, after a warm-up of a tenth as many; raises WrongResult."""
    for _ in range(max(1, rounds // 10)):
        for case in cases:
            _time_once(case, Timing())
    timings = {case.name: Timing() for case in cases}
    order, shuffle = list(cases), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)  # or the same case would always come before it and fill the caches
        for case in order:
            _time_once(case, timings[case.name])
    return timings


def _time_once(case: Case, timing: Timing) -> None:
    given = case.prepare()
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    result = case.call(given)
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    if not case.is_right(result):
        raise WrongResult(f"{case.name}: {result}")
    timing.add(wall, cpu)
