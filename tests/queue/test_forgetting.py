"""What no job needs any longer does not stay in the store for ever."""

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.dispatch.tick import FORGETS_EVERY, SWEEP_EVERY
from shared.jobqueue.constants import SPECIAL
from tests.costs import COSTS
from tests.world import World, make_world

DAY = 86_400


async def sweep(world: World) -> None:
    """As many steps of the walk as it takes to meet every key."""
    for _ in range(3):
        walked = await world.runtime.records.walk(1000)
        for user in walked.users:
            await world.runtime.queue.rehome(user)
        await world.runtime.records.forget_runs(walked.models)


async def test_a_users_own_limit_ends_400_days_after_the_user_last_had_a_live_job(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        keys = world.runtime.queue.keys
        for user, limit in (("ada", 1), ("bob", 1000), ("eve", 0)):
            await world.runtime.controls.limit_user("app", user, limit)
        live = await world.enqueue("bob")
        clock.advance(400 * DAY)
        await sweep(world)
        assert await world.raw("ZCARD", keys.user("app", "eve")) == 1
        await world.runtime.controls.limit_user("app", "eve", 0)  # set again
        await world.runtime.queue.cancel(live, "app")
        clock.advance(DAY)
        await sweep(world)
        assert [await world.raw("EXISTS", keys.user("app", user)) for user in ("ada", "bob", "eve")] == [0, 1, 1]
        clock.advance(400 * DAY)
        await sweep(world)
        assert [await world.raw("EXISTS", keys.user("app", user)) for user in ("ada", "bob", "eve")] == [0, 0, 0]


async def test_a_limit_of_before_its_day_was_noted_gets_one(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, max_user_queued=9) as world:
        await world.raw("ZADD", world.runtime.queue.keys.user("app", "ada"), str(SPECIAL + 1), "=")
        await sweep(world)
        clock.advance(DAY)
        await sweep(world)
        assert [(await world.admit(f"job_{number}")).word for number in range(2)] == ["queued", "backlog"]


async def test_a_users_own_limit_holds_whatever_the_day(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, max_user_tasks=3, max_user_queued=9) as world:
        await world.runtime.controls.limit_user("app", "ada", 1)
        clock.advance(7 * DAY)
        words = [(await world.admit(f"job_{number}")).word for number in range(3)]
        assert words == ["queued", "backlog", "backlog"]
        await world.runtime.controls.limit_user("app", "ada", 2)
        assert (await world.raw("HGET", world.runtime.queue.keys.job("job_1"), "state")) == "queued"


async def test_how_runs_of_a_model_went_is_forgotten_30_days_after_the_last_one(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        keys = world.runtime.queue.keys
        for model in ("acme/old", "acme/new"):
            job_id = await world.enqueue(start=True, model=model)
            await world.runtime.queue.record(job_id, 1, f"p-{job_id}")
            await world.runtime.queue.finish(job_id, 1, f"p-{job_id}", "completed", {})
            clock.advance(1)
        clock.advance(30 * DAY - 1)
        await sweep(world)
        assert [await world.raw("EXISTS", keys.runs(0, model)) for model in ("acme/old", "acme/new")] == [0, 1]
        clock.advance(2)
        await sweep(world)
        assert await world.raw("EXISTS", keys.runs(0, "acme/new")) == 0


async def test_ticks_forget_models_within_a_day_or_so(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock) as world:
        runs = world.runtime.queue.keys.runs(0, "acme/video")
        await world.raw("HSET", runs, "at", str(clock.now() - 31 * DAY * 1000))
        for _ in range(round(FORGETS_EVERY / SWEEP_EVERY)):
            await world.runtime.tick.run()
            clock.advance(SWEEP_EVERY)
        assert await world.raw("EXISTS", runs) == 0


async def test_the_sweep_forgets_models_for_one_call_and_two_commands_for_each(valkey: RunningServer) -> None:
    async with make_world(valkey, ManualClock()) as world:
        valkey.reset_bill()
        assert await world.runtime.records.forget_runs([]) == 0 and valkey.bill().calls == 0
        models = ("acme/a", "acme/b")
        for model in models:
            await world.raw("HSET", world.runtime.queue.keys.runs(0, model), "at", "1")
        valkey.reset_bill()
        assert await world.runtime.records.forget_runs([f"0:{model}" for model in models]) == 2
        assert (valkey.bill().calls, valkey.bill().billed) == COSTS["forget the figures of two models"]


async def test_what_a_job_left_is_dropped_unless_its_id_is_in_use_again(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        keys, history = world.runtime.queue.keys, world.runtime.history
        lost, live = await world.enqueue(), await world.enqueue()
        await world.raw("ZADD", keys.archive("app", "ada"), "1", lost, "1", live)
        await world.raw("DEL", keys.job(lost))
        for _ in range(2):
            await history.forget_gone("app", "ada", [lost, live])
        assert await world.raw("ZRANGE", keys.archive("app", "ada"), "0", "-1") == [live]
        assert await world.raw("ZRANGE", keys.user("app", "ada"), "0", "-1") == [live]
        rows = await world.raw("ZRANGE", keys.index, "0", "-1")
        assert f"@app:ada|{live}" in rows and f"@app:ada|{lost}" not in rows


async def test_a_deleted_job_leaves_no_entry_even_if_its_end_had_stopped_half_way(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock) as world:
        keys, job_id = world.runtime.queue.keys, await world.enqueue()
        members = await world.raw("ZRANGE", keys.index, "0", "-1")
        scores = [f"{float(await world.raw('ZSCORE', keys.index, member)):.0f}" for member in members]
        await world.runtime.queue.cancel(job_id, "app")
        pairs = zip(scores, members, strict=True)
        await world.raw("ZADD", keys.index, *(text for pair in pairs for text in pair))
        await world.runtime.history.delete(job_id, "app")
        left = [row for row in await world.raw("ZRANGE", keys.index, "0", "-1") if job_id in row]
        assert left == [] and await world.raw("EXISTS", keys.job(job_id)) == 0


async def test_a_batch_that_was_retried_any_number_of_times_is_forgotten(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """One command dropped its events, and Lua gives a command 8,000 parts at most."""
    async with make_world(any_store, clock) as world:
        keys, job_id = world.runtime.queue.keys, await world.enqueue()
        await world.runtime.queue.cancel(job_id, "app")
        await world.raw("HSET", keys.job(job_id), "batch", "b1")
        ended = ("owner", "app", "ended_at", "1", "rounds", "9000", "hook_lane", "ten")
        await world.raw("HSET", keys.batch("b1"), *ended)
        await world.raw("ZADD", keys.lane_rows("ten"), "1", "batch|b1", "1", "batch9000|b1")
        await world.runtime.history.delete(job_id, "app", batch_too=True)
        assert await world.raw("EXISTS", keys.job(job_id), keys.batch("b1"), keys.lane_rows("ten")) == 0
