"""Folds that crash, lose answers, stop half-way and overlap count each job once."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.errors import StoreScriptError, StoreUncertain
from shared.jobqueue.script import script
from shared.statistics.folding import FOLDER, Folding
from shared.sums import Sums
from tests.faults.engines import MemoryEngine
from tests.statistics.jobs import run_job
from tests.world import World, make_world

ROUNDS = 20
FOLD, FINISH = script("fold", FOLDER).text, script("finish").text


class Flaky:
    """A store that loses calls before or after they are applied, and lets other tasks run in between."""

    def __init__(self, store: Any, chance: random.Random) -> None:
        self._store = store
        self._chance = chance

    async def execute(self, *command: str) -> Any:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        fate = self._chance.random()
        if fate < 0.1:
            raise StoreUncertain
        answer = await self._store.execute(*command)
        if fate > 0.9:
            raise StoreUncertain
        if fate > 0.85:
            return await self._store.execute(*command) if command[0] == "EVAL" else answer  # the client's repeat
        return answer


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    yield ManualClock()


def ends_in(sums: Sums) -> dict[str, int]:
    found = sums.grouped("").get("", {})
    return {name: found.get(name, 0) for name in ("accepted", "completed", "failed.invalid_input", "canceled")}


@pytest.mark.parametrize("seed", range(4))
async def test_folds_that_crash_and_overlap_count_each_job_once(clock: ManualClock, seed: int) -> None:
    chance = random.Random(seed)
    async with make_world(None, clock, statistics=True, max_user_tasks=10, queue_max_retries=0) as world:
        expected = {"accepted": 0, "completed": 0, "failed.invalid_input": 0, "canceled": 0}
        flaky = Flaky(world.runtime.store, chance)
        for _ in range(ROUNDS):
            folds = [Folding(flaky, world.runtime.settings, clock) for _ in range(3)]  # type: ignore[arg-type]
            tasks = [asyncio.ensure_future(_quietly(fold)) for fold in folds]
            await asyncio.sleep(0)
            await _one_job(world, chance, expected)
            for task in tasks:
                if chance.random() < 0.3:
                    task.cancel()
            await asyncio.wait(tasks)
        assert ends_in((await world.runtime.statistics.totals()).sums) == expected
        assert sum(expected.values()) == 2 * ROUNDS


async def _quietly(fold: Folding) -> None:
    try:
        await fold.fold()
    except StoreUncertain:
        return


async def _one_job(world: World, chance: random.Random, expected: dict[str, int]) -> None:
    outcome = chance.choice(["completed", "failed", "canceled"])
    expected["accepted"] += 1
    expected["failed.invalid_input" if outcome == "failed" else outcome] += 1
    if outcome == "canceled":
        await world.runtime.queue.cancel(await world.enqueue(), "app")
    else:
        await run_job(world, outcome=outcome)


async def test_a_fold_that_stops_at_any_of_its_commands_counts_each_job_once(clock: ManualClock) -> None:
    stops = 0
    for stop_at in range(1, 10):
        async with make_world(None, clock, statistics=True, max_user_tasks=10) as world:
            engine = MemoryEngine(world.runtime.settings.prefix)
            world.runtime.store.execute = engine.execute  # type: ignore[method-assign]
            await run_job(world)
            await world.runtime.folding.fold()
            clock.advance(2 * 3600)  # so that the next fold also removes what is old
            await run_job(world)
            stopping = Folding(Stopping(engine, FOLD, stop_at), world.runtime.settings, clock)  # type: ignore[arg-type]
            try:
                await stopping.fold()
            except (StoreUncertain, StoreScriptError):
                stops += 1
            await run_job(world)
            assert ends_in((await world.runtime.statistics.totals()).sums)["completed"] == 3, stop_at
    assert stops >= 5


async def test_an_end_that_stops_at_any_of_its_commands_has_one_entry_unless_it_stops_before_that(
    clock: ManualClock,
) -> None:
    entries = []
    for stop_at in range(1, 20):
        async with make_world(None, clock, statistics=True, max_user_tasks=10) as world:
            engine, queue = MemoryEngine(world.runtime.settings.prefix), world.runtime.queue
            world.runtime.store.execute = engine.execute  # type: ignore[method-assign]
            job_id = await world.enqueue()
            (started,) = (await queue.claim(1)).started
            await queue.record(job_id, started.attempt, "p1")
            world.runtime.store.execute = Stopping(engine, FINISH, stop_at).execute  # type: ignore[method-assign]
            with suppress(StoreUncertain):
                await queue.finish(job_id, started.attempt, "p1", "completed", {})
            world.runtime.store.execute = engine.execute  # type: ignore[method-assign]
            await queue.finish(job_id, started.attempt, "p1", "completed", {})
            assert (await world.runtime.records.read(job_id)).status == "completed"
            entries.append(ends_in((await world.runtime.statistics.totals()).sums)["completed"])
    # Of all stops, two are between the record and its entry: at its time to live, and at the entry itself.
    assert entries.count(0) == 2 and entries.count(1) == len(entries) - 2


class Stopping:
    """A store that refuses one command of a script; those before it are kept."""

    def __init__(self, engine: MemoryEngine, text: str, stop_at: int) -> None:
        self._engine = engine
        self._text = text
        self._stop_at = stop_at

    async def execute(self, *command: str) -> Any:
        if command[0] != "EVAL" or command[1] != self._text:
            return await self._engine.execute(*command)
        try:
            await self._engine.stop_half_way(self._stop_at, *command)
        except AssertionError:  # it has fewer commands, and was applied whole
            raise StoreUncertain from None
        raise StoreUncertain
