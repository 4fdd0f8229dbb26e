"""A tick with a second pass, for schedulers whose shortest interval is a minute."""

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import World, make_world


class BusyClock(ManualClock):
    """While a tick waits, a job is submitted that no other call would start."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.world.enqueue()


async def test_a_second_pass_starts_what_came_after_the_first(valkey: RunningServer) -> None:
    clock = BusyClock()
    async with make_world(valkey, clock, tick_second_pass=15) as clock.world:
        await clock.world.enqueue()
        report = await clock.world.runtime.tick.run()
        assert report.started == 2 and clock.waits == [pytest.approx(15, abs=5)]


async def test_without_the_setting_a_tick_looks_once(valkey: RunningServer) -> None:
    clock = BusyClock()
    async with make_world(valkey, clock) as clock.world:
        await clock.world.enqueue()
        assert (await clock.world.runtime.tick.run()).started == 1 and clock.waits == []
