"""When the sweep runs, whatever calls the tick."""

from datetime import UTC, datetime

import pytest

from shared.clock import ManualClock
from shared.runtime import Runtime
from tests.world import World, make_world

MINUTE, HOUR, DAY = 60, 3600, 86_400


async def swept_at(world: World) -> int:
    return int(await world.raw("HGET", world.runtime.queue.keys.stats, "swept_at") or 0)


def until(clock: ManualClock, hour: int | None, minute: int) -> float:
    """Returns the s until the clock shows this minute, and this hour if one is given."""
    now = datetime.fromtimestamp(clock.now() / 1000, UTC)
    passed = now.minute * MINUTE + now.second + (0 if hour is None else now.hour * HOUR)
    wanted, period = minute * MINUTE + (hour or 0) * HOUR, HOUR if hour is None else DAY
    return (wanted - passed) % period or period


@pytest.mark.parametrize(
    ("hour", "minute"), [(None, 7), (5, 23), (None, 0)], ids=["hourly at :07", "at 05:23", "at :00"]
)
@pytest.mark.parametrize("tick_period", [60.0, 300.0])
async def test_each_tick_of_a_rare_schedule_sweeps(hour: int | None, minute: int, tick_period: float) -> None:
    clock = ManualClock()
    async with make_world(None, clock, tick_period=tick_period) as world:
        for _ in range(10):
            clock.advance(until(clock, hour, minute))
            await world.runtime.tick.run()
            assert await swept_at(world) == clock.now()


@pytest.mark.parametrize(("hour", "minute", "ticks"), [(None, 7, 26), (5, 23, 2)], ids=["hourly at :07", "at 05:23"])
async def test_a_rare_schedule_forgets_models_once_a_day_too(hour: int | None, minute: int, ticks: int) -> None:
    clock = ManualClock()
    async with make_world(None, clock) as world:
        await world.runtime.tick.run()
        runs = world.runtime.queue.keys.runs(0, "acme/video")
        await world.raw("HSET", runs, "at", str(clock.now() - 31 * DAY * 1000))
        forgotten = []
        for _ in range(ticks):
            clock.advance(until(clock, hour, minute))
            await world.runtime.tick.run()
            forgotten.append(await world.raw("EXISTS", runs) == 0)
    assert forgotten[-1] and forgotten[0] == (hour is not None)


async def test_processes_that_tick_in_turn_sweep_once_in_a_quarter_of_an_hour() -> None:
    clock, moments = ManualClock(1_800_000_030_000), []
    async with make_world(None, clock) as world:
        settings, store = world.runtime.settings, world.runtime.store
        processes = [world.runtime, *(Runtime(settings, store, clock) for _ in range(2))]
        for minute in range(46):
            await processes[minute % 3].tick.run()
            moments.append(await swept_at(world))
            clock.advance(MINUTE)
    assert sorted({(moment - moments[0]) / 1000 for moment in moments}) == [0, 900, 1800, 2700]


async def test_a_new_process_asks_for_the_last_sweep_once_and_not_at_each_tick() -> None:
    clock = ManualClock()
    async with make_world(None, clock) as world:
        await world.runtime.tick.run()
        other = Runtime(world.runtime.settings, world.runtime.store, clock)
        asked = []
        execute = world.runtime.store.execute

        async def counted(*command: str) -> object:
            asked.append(command[0])
            return await execute(*command)

        world.runtime.store.execute = counted  # type: ignore[method-assign]
        for _ in range(5):
            clock.advance(MINUTE)
            await other.tick.run()
        assert asked.count("HMGET") == 1 and "SCAN" not in asked


async def test_a_clock_that_was_wrong_once_does_not_end_the_sweeps() -> None:
    clock = ManualClock()
    async with make_world(None, clock) as world:
        await world.raw("HSET", world.runtime.queue.keys.stats, "swept_at", str(clock.now() + DAY * 1000))
        await world.runtime.tick.run()
        assert await swept_at(world) == clock.now()
        assert "swept_at" not in (await world.runtime.records.stats()).counters
