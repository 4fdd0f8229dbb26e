"""A tick that looks twice, for schedules that cannot come more often than every minute."""

from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import World, make_world


async def tick(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[float]]:
    """Ticks; while it waits, a job is submitted that nobody else would start."""
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await world.enqueue()

    monkeypatch.setattr(world.runtime.tick, "_sleep", wait)
    return await world.runtime.tick.run(), waits


async def test_a_second_pass_starts_what_came_after_the_first(
    valkey: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world(valkey, ManualClock(), tick_second_pass=15) as world:
        await world.enqueue()
        report, waits = await tick(world, monkeypatch)
        assert report.started == 2 and waits == [pytest.approx(15, abs=5)]


async def test_without_the_setting_a_tick_looks_once(valkey: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_world(valkey, ManualClock()) as world:
        await world.enqueue()
        report, waits = await tick(world, monkeypatch)
        assert report.started == 1 and waits == []
