"""What lists cost, and how the history is trimmed."""

import httpx

from shared.clock import ManualClock
from shared.jobqueue.constants import BAND
from shared.jobqueue.history import MAX_MOMENT
from shared.jobqueue.replies import Trimmed
from shared.jobs.listing import EPOCH
from tests.http.history import fill, listed
from tests.world import AUTH, PROCESSOR, World, http_client, make_world


async def test_a_page_costs_one_call_two_commands_and_one_for_each_job_read(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    ids = [f"j{number:03}" for number in range(150)]
    await fill(world, *ids, gap=0.001)
    await fill(world, *(f"f{number:04}" for number in range(60)), owner="other", gap=0.001)
    async with http_client(**AUTH) as client:
        for query, shown, billed in (
            ("", 20, 22),
            ("?limit=100", 100, 102),
            ("?user_id=unknown", 0, 2),
            ("?status=failed&limit=1", 0, 102),
        ):
            world.server.reset_bill()
            page = (await client.get(f"/api/jobs{query}")).json()
            bill = world.server.bill()
            assert (len(page["jobs"]), bill.calls, bill.billed) == (shown, 1, billed), query
        assert await listed(client, status="failed", limit=1) == []


async def test_the_sweep_trims_the_history_for_one_call_and_three_commands(valkey_world: World) -> None:
    world, history = valkey_world, valkey_world.runtime.history
    assert world.server is not None
    history.max_listed = 3
    live = await world.enqueue()
    await fill(world, "old", gap=10 * 86_400)  # a week, a day of waiting, four runs, and a day more
    await fill(world, "j1", "j2", "j3", gap=1)
    await world.raw("ZADD", history.keys.index, str(-BAND), "~gate")
    world.server.reset_bill()
    assert await history.trim() == Trimmed(2, 0)  # of the live job only its entry
    assert (world.server.bill().calls, world.server.bill().billed) == (1, 3)
    await fill(world, "j4", "j5")
    world.server.reset_bill()
    assert await history.trim() == Trimmed(0, 2)
    assert (world.server.bill().calls, world.server.bill().billed) == (1, 8)
    assert await history.trim() == Trimmed(0, 0)
    members = await world.raw("ZRANGE", history.keys.index, "0", "-1")
    assert members == ["~gate", live, f"!{live}", f"%{live}", "@app:ada|j3", "@app:ada|j4", "@app:ada|j5"]


async def test_where_jobs_are_kept_for_decades_no_entry_is_too_old(clock: ManualClock) -> None:
    async with make_world(None, clock, task_ttl=10**10) as world:
        await world.enqueue()
        assert await world.runtime.history.trim() == Trimmed(0, 0)


async def test_every_fifteenth_minutes_tick_trims(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, "old")
    world.manual.advance(2 * world.runtime.settings.task_ttl)
    for _ in range(15):
        world.manual.advance(60)
        await client.post("/api/process-queue", headers=PROCESSOR)
    assert await world.raw("ZRANGE", world.runtime.history.keys.index, "0", "-1") == []


def test_the_latest_moment_is_the_last_that_a_score_can_hold() -> None:
    assert MAX_MOMENT + 1 == 20_000_000_000_000 and EPOCH.timestamp() == 0
