"""A mend that stops at any of its writes leaves what the next one heals; a repeat of a whole one changes nothing."""

from typing import Any

import pytest

from shared.clock import ManualClock
from shared.doctor.examiner import FOLDER, VERBS, Examiner
from shared.errors import StoreScriptError
from shared.jobqueue.script import script
from tests.doctor.plants import (
    Plant,
    ended_batch_without_a_ttl,
    lane_that_is_due_next_year,
    live_job_that_its_batch_has_lost,
    lost_alarm,
    no_ttl_on_an_ended_job,
    provider_pause_forgotten,
    slot_that_is_looked_at_next_year,
    stuck_delivery,
    submission_that_no_list_settles,
    ttl_on_a_live_batch,
    ttl_on_a_live_job,
)
from tests.doctor.ward import Ward, admit, contradictions, snapshot
from tests.world import World, make_world

# Stops a script at one of its writes, as an engine does that refuses this command.
STOPPING = """
local real, writes = redis, 0
local redis = { call = function(name, ...)
  if name == 'PERSIST' or name == 'EXPIRE' or name == 'ZADD' or name == 'ZREM' then writes = writes + 1 end
  if writes == %d then error('stopped') end
  return real.call(name, ...)
end }
"""
MENDS = [script(verb, FOLDER).text for verb in VERBS if verb.startswith("mend_")]


class Stopping:
    """The store, which stops a mend at the write with this number."""

    def __init__(self, world: World, at: int) -> None:
        self._store = world.runtime.store
        self._at = at

    async def execute(self, *command: str) -> Any:
        if command[0] == "EVAL" and command[1] in MENDS:
            command = ("EVAL", STOPPING % self._at + command[1], *command[2:])
        return await self._store.execute(*command)

    async def close(self) -> None:
        """Closes nothing: the world does."""


async def mend(examiner: Examiner, ward: Ward) -> None:
    """Mends all that the ward has, in one order."""
    for job in (ward.running, ward.submitting, ward.backlog, ward.ended, f"{ward.batch}_3"):
        await examiner.mend_job(job)
    await examiner.mend_batch(ward.batch)
    await examiner.mend_lane(ward.lane)
    await examiner.mend_gates(["~p0"])


PLANTS = (
    lost_alarm, slot_that_is_looked_at_next_year, ttl_on_a_live_job, no_ttl_on_an_ended_job, ttl_on_a_live_batch,
    ended_batch_without_a_ttl, live_job_that_its_batch_has_lost, stuck_delivery, lane_that_is_due_next_year,
    provider_pause_forgotten, submission_that_no_list_settles,
)  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_a_mend_that_stops_at_any_write_is_finished_by_the_next_one(plant: Plant) -> None:
    stops = 0
    for at in range(1, 10):
        async with make_world(
            None, ManualClock(), max_user_tasks=2, max_user_queued=5, max_concurrent_tasks=6
        ) as world:
            ward = await admit(world)
            await plant(world, ward)
            settings = world.runtime.settings
            try:
                await mend(Examiner(Stopping(world, at), settings, world.clock), ward)
            except StoreScriptError:
                stops += 1
            await mend(Examiner(world.runtime.store, settings, world.clock), ward)
            assert await contradictions(world) == []
            whole = await snapshot(world)
            await mend(Examiner(world.runtime.store, settings, world.clock), ward)
            assert vars(await snapshot(world)) == vars(whole)
        if stops < at:
            break
    assert stops == (2 if plant is stuck_delivery else 1)


async def test_a_mend_that_comes_late_leaves_alone_what_has_moved_on() -> None:
    """The fault is gone, and the job too: its record decides, not what was read before."""
    async with make_world(None, ManualClock(), max_user_tasks=2, max_user_queued=5) as world:
        ward, keys = await admit(world), world.runtime.queue.keys
        await slot_that_is_looked_at_next_year(world, ward)
        await world.runtime.queue.finish(ward.running, 1, "p-running", "completed", {"output": '"done"'})
        world.follow_ups()
        before = await snapshot(world)
        examiner = Examiner(world.runtime.store, world.runtime.settings, world.clock)
        assert await examiner.mend_job(ward.running) == 0
        assert vars(await snapshot(world)) == vars(before)
        assert await world.raw("ZSCORE", keys.index, ward.running) is None
