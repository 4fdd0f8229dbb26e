"""Each job counts once in the sums, whoever folds them, how often, and wherever a fold stops."""

import asyncio
import json
import logging
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from shared.budget import Budget
from shared.clock import ManualClock
from shared.config.timing import MIN_FUNCTION_DURATION
from shared.documents.statistics import other_counts
from shared.statistics import folding
from shared.statistics.folding import HOUR, MINUTE, Folding
from shared.statistics.models import MAX_MODELS, SILENT_FOR, Models
from shared.sums import Amounts, histogram
from tests.statistics.jobs import run_job
from tests.world import AUTH, World, http_client, make_world

SERIES = "video|replicate|acme/video"


async def total(world: World, series: str = SERIES) -> Amounts:
    return (await world.runtime.statistics.totals()).sums.of.get(series, {})


async def test_a_job_counts_when_it_is_admitted_and_when_it_ends(world: World) -> None:
    await run_job(world)
    await run_job(world, outcome="failed")
    waiting = await world.enqueue()
    amounts = await total(world)
    assert (amounts["accepted"], amounts["completed"], amounts["failed.invalid_input"], amounts["started"]) == (
        3,
        1,
        1,
        2,
    )
    await world.runtime.queue.cancel(waiting, "app")
    amounts = await total(world)
    assert (amounts["accepted"], amounts["canceled"]) == (3, 1)
    wait, run = histogram(amounts, "wait"), histogram(amounts, "run")
    assert (wait.count, wait.total_ms, run.count, run.total_ms) == (2, 6000, 1, 20_000)
    assert 15 < (run.quantile(0.5) or 0) <= 20
    assert wait.quantile(0.99) == pytest.approx(3, abs=0.1)


async def test_a_batch_counts_each_job_under_its_model_and_a_retry_counts_its_new_jobs(world: World) -> None:
    async with http_client(**AUTH) as client:
        jobs = [{"input": {"n": 1}}, {"input": {"n": 2}, "model": "acme/other"}, {"input": {"n": 3}}]
        asked = {"user_id": "ada", "model": "acme/video", "queue": "video", "jobs": jobs}
        batch = (await client.post("/api/batches", json=asked)).json()["id"]
        assert (await total(world))["accepted"] == 2
        assert (await total(world, "video|replicate|acme/other"))["accepted"] == 1
        for started in (await world.runtime.queue.claim(3)).started:
            await world.runtime.queue.fail(
                started.id, 1, "", code="content_policy", detail="no", retryable=False, incarnation=started.incarnation
            )
        assert (await total(world))["failed.content_policy"] == 2
        assert (await client.post(f"/api/batches/{batch}/retry")).json()["retried"] == 3
    assert (await total(world))["accepted"] == 4
    assert (await total(world, "video|replicate|acme/other"))["accepted"] == 2


async def test_each_end_counts_in_its_own_minute_and_hour_however_late_the_fold(world: World) -> None:
    first = world.clock.now() // HOUR * HOUR
    world.manual.true_now = first
    await run_job(world, runs=30)
    world.manual.advance(5 * 60)
    await run_job(world, runs=30)
    world.manual.advance(1000)
    steps = await world.runtime.statistics.range(first, first + 10 * MINUTE, MINUTE)
    ended = {(step.at - first) // MINUTE: step.sums.of[SERIES].get("completed") for step in steps if step.sums.of}
    assert ended == {0: 1, 5: None, 6: 1} or ended == {0: 1, 6: 1}
    (hour,) = await world.runtime.statistics.range(first, first + HOUR, HOUR)
    assert hour.sums.of[SERIES]["completed"] == 2
    (ten,) = await world.runtime.statistics.range(first, first + 10 * MINUTE, 10 * MINUTE)
    assert ten.sums.of == hour.sums.of


async def test_two_folds_at_once_count_each_entry_once(world: World) -> None:
    for _ in range(3):
        await run_job(world)
    others = [Folding(world.runtime.store, world.runtime.settings, world.clock) for _ in range(4)]
    await asyncio.gather(*(other.fold() for other in others))
    assert (await total(world))["completed"] == 3


async def test_a_fold_between_the_reads_of_another_one_makes_it_begin_again(world: World) -> None:
    await run_job(world)
    slow = Folding(world.runtime.store, world.runtime.settings, world.clock)
    counters, is_first = slow._counters, True

    async def overtaken() -> dict[str, int]:
        nonlocal is_first
        if is_first:
            is_first = False
            await run_job(world)
            await world.runtime.folding.fold()
        return await counters()

    slow._counters = overtaken  # type: ignore[method-assign]
    assert not await slow.fold()
    assert (await total(world))["completed"] == 2


async def test_a_fold_that_stops_before_it_drops_its_entries_counts_them_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_job(world)
    keys = world.runtime.queue.keys
    entries = await world.raw("XRANGE", keys.entries, "-", "+")
    await world.runtime.folding.fold()
    assert await world.raw("XLEN", keys.entries) == 0
    for entry, flat in entries:  # as if XTRIM had never come
        # A stream takes no id below its last one, so it is a new stream.
        await world.raw("DEL", keys.entries) if entry == entries[0][0] else None
        await world.raw("XADD", keys.entries, entry, *flat)
    await run_job(world)
    assert (await total(world))["completed"] == 2


async def test_a_repeated_fold_script_changes_nothing(world: World) -> None:
    await run_job(world)
    sent: list[tuple[str, ...]] = []
    execute = world.runtime.store.execute

    async def noted(*command: str) -> Any:
        sent.append(command)
        return await execute(*command)

    world.runtime.store.execute = noted  # type: ignore[method-assign]
    await world.runtime.folding.fold()
    script = next(command for command in sent if command[0] == "EVAL")
    before = await world.raw("HGETALL", world.runtime.queue.keys.sums)
    assert await execute(*script) == ["set"]
    assert await world.raw("HGETALL", world.runtime.queue.keys.sums) == before
    await run_job(world)
    await world.runtime.folding.fold()
    assert await execute(*script) == ["stale"]
    assert (await total(world))["completed"] == 2


async def test_more_models_than_the_bound_count_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.statistics.models.MAX_MODELS", 3)
    for number in range(5):
        await world.enqueue(model=f"junk/m{number}")
    assert (await total(world, "video|replicate|other"))["accepted"] == 2
    for job in range(5):
        await world.runtime.queue.cancel(f"job_{job}", "app")
    await run_job(world, model="acme/real")
    sums = (await world.runtime.statistics.totals()).sums
    assert sums.of["video|replicate|acme/real"]["completed"] == 1
    assert sum(amounts.get("accepted", 0) for amounts in sums.of.values()) == 6
    assert sum(amounts.get("canceled", 0) for amounts in sums.of.values()) == 5
    assert len(sums.of) <= 3 + 2
    assert MAX_MODELS == 64


async def test_old_minutes_and_hours_are_removed(world: World) -> None:
    sums = world.runtime.queue.keys.sums
    await run_job(world)
    await world.runtime.folding.fold()
    first = set(await world.raw("HKEYS", sums))
    assert first >= {"mark", "ledger", "all"} and len(first) > 4
    for _ in range(3):
        world.manual.advance(86_400)
        await run_job(world)
        while await world.runtime.folding.fold():
            pass
    minutes = {name for name in await world.raw("HKEYS", sums) if name[0] == "m" and name != "mark"}
    assert not minutes & first and len(minutes) <= 6
    for _ in range(100):
        world.manual.advance(86_400)
        await run_job(world)
        await world.runtime.folding.fold()
    kept = await world.raw("HKEYS", sums)
    oldest = min(int(name[1:]) for name in kept if name[0] == "h")
    assert world.clock.now() // HOUR - oldest <= 91 * 24
    assert 0 < await world.raw("TTL", sums) <= 91 * 86_400


async def test_events_are_counted_by_what_the_stores_counters_gain(world: World) -> None:
    await run_job(world)
    await world.runtime.folding.fold()
    job_id = await world.enqueue()
    (started,) = (await world.runtime.queue.claim(1)).started
    await world.runtime.queue.snooze(job_id, started.attempt, delay=10, code="unreachable")
    await run_job(world)
    assert (await total(world, ""))["snoozed"] == 1


async def test_a_snooze_and_a_rescue_that_end_their_job_count_too(world: World) -> None:
    queue = world.runtime.queue
    job_id = await world.enqueue()
    (started,) = (await queue.claim(1)).started
    await queue.cancel(job_id, "app")
    await queue.snooze(job_id, started.attempt, delay=10, code="unreachable")
    assert (await total(world))["put_off"] == 1
    lost = await world.enqueue()
    (started,) = (await queue.claim(1)).started
    await queue.cancel(lost, "app")
    world.manual.advance(10_000)
    await queue.rescue(lost, started.attempt)
    amounts = await total(world)
    assert (amounts["given_up"], amounts["canceled"]) == (1, 2)


async def test_without_the_setting_nothing_is_written_and_nothing_is_read(clock: ManualClock) -> None:
    async with make_world(None, clock) as world:
        await run_job(world)
        assert await world.raw("EXISTS", world.runtime.queue.keys.entries) == 0
        assert (await world.runtime.statistics.totals()).sums.of == {}
        steps = await world.runtime.statistics.range(0, 10 * MINUTE, MINUTE)
        assert [step.sums.of for step in steps] == [{}] * 10


async def test_a_sweep_folds_once_enough_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folds, budget = world.runtime.folding, Budget(50)
    await run_job(world)
    await folds.sweep(budget, False)
    assert await folds.waiting() == 2
    await folds.sweep(budget, True)
    assert await folds.waiting() == 0
    monkeypatch.setattr(folding, "FOLD_AT", 8)
    for _ in range(4):
        await run_job(world)
    await folds.sweep(budget, False)
    assert await folds.waiting() == 0
    assert (await total(world))["completed"] == 5


async def test_an_entry_of_the_future_counts_now(world: World) -> None:
    await run_job(world)
    entries = await world.raw("XRANGE", world.runtime.queue.keys.entries, "-", "+")
    ahead = world.clock.now() + 10 * HOUR
    await world.raw("XADD", world.runtime.queue.keys.entries, "*", "e", f"admitted|{ahead}|0|1|acme/video")
    await world.runtime.folding.fold()
    hour = world.clock.now() // HOUR
    names = await world.raw("HKEYS", world.runtime.queue.keys.sums)
    assert f"h{hour}" in names and f"h{hour + 10}" not in names
    assert len(entries) == 2 and json.dumps(names)


UNREADABLE = (
    ("e", "moved|1|0|1|acme/video"),  # a kind of another release
    ("e", "admitted|1|7|1|acme/video"),  # a provider of another release
    ("e", "ended|soon"),
    ("p", "{}"),
    ("p", '{"process":"a","number":1,"parts":[[1,{"":{"refused.queue_full":"many"}}]]}'),
    ("p", '{"process":"a","number":1,"parts":[1]}'),
    ("q", "what only another release knows"),
)


@pytest.mark.parametrize(("name", "text"), UNREADABLE)
async def test_an_entry_that_cannot_be_read_is_counted_and_stops_no_fold(world: World, name: str, text: str) -> None:
    await run_job(world)
    await world.raw("XADD", world.runtime.queue.keys.entries, "*", name, text)
    await run_job(world)
    assert (await total(world))["completed"] == 2
    assert await total(world, "") == {"unreadable": 1}
    assert await world.runtime.folding.waiting() == 0
    assert other_counts(await total(world, ""))["events"] == {"unreadable": 1}


async def test_a_ledger_of_another_release_is_read_by_known_names(world: World) -> None:
    await run_job(world)
    since = (await world.runtime.statistics.totals()).since
    key = world.runtime.queue.keys.sums
    ledger = json.loads(await world.raw("HGET", key, "ledger"))
    del ledger["cleaned"]
    await world.raw("HSET", key, "ledger", json.dumps(ledger | {"of_another_release": 1}))
    await run_job(world)
    assert (await total(world))["completed"] == 2
    assert (await world.runtime.statistics.totals()).since == since


async def test_a_bug_in_a_fold_ends_no_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world.runtime.folding, "fold", fails)
    await world.runtime.folding.sweep(Budget(50), True)


async def test_a_sweep_folds_behind_all_that_heals(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def noted(name: str, original: Any) -> Any:
        async def call(*args: Any) -> Any:
            calls.append(name)
            return await original(*args)

        return call

    folds, records = world.runtime.folding, world.runtime.records
    monkeypatch.setattr(folds, "sweep", noted("fold", folds.sweep))
    monkeypatch.setattr(records, "walk", noted("walk", records.walk))
    await world.runtime.tick.run()
    assert calls == ["walk", "fold"]


@pytest.mark.parametrize(("duration", "second_pass"), [(MIN_FUNCTION_DURATION, 0), (30, 0), (30, 1), (60, 20)])
async def test_a_sweep_has_time_to_fold_in_each_function(
    clock: ManualClock, duration: float, second_pass: float
) -> None:
    """As the second pass has left it, whose round took two seconds."""
    async with make_world(
        None, clock, statistics=True, function_max_duration=duration, tick_second_pass=second_pass
    ) as world:
        await run_job(world)
        await world.runtime.folding.sweep(Budget(world.runtime.settings.tick_budget - second_pass - 2), True)
        assert await world.runtime.folding.waiting() == 0


def test_versions_of_a_model_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.statistics.models.MAX_MODELS", 2)
    models = Models({})
    names = {models.name_of(f"acme/video:{version}", 1, completed=True) for version in range(9)}
    assert names == {"acme/video"} and models.name_of("acme/other", 1, completed=True) == "acme/other"


def test_a_model_that_works_takes_the_place_of_the_one_that_has_been_silent_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.statistics.models.MAX_MODELS", 2)
    models = Models({"acme/older": [1, 1], "acme/old": [2, 1]})
    assert models.name_of("acme/new", SILENT_FOR + 1, completed=True) == "other"
    assert models.name_of("acme/new", SILENT_FOR + 2, completed=False) == "other"
    assert models.name_of("acme/new", SILENT_FOR + 2, completed=True) == "acme/new"
    assert models.dropped == ["acme/older"]
    assert models.name_of("acme/next", SILENT_FOR + 2, completed=True) == "other"


async def test_a_fold_by_a_clock_that_is_days_ahead_drops_no_minute_of_today(world: World) -> None:
    first = world.clock.now()
    await run_job(world)
    await world.runtime.folding.fold()
    await run_job(world)
    ahead = ManualClock()
    ahead.true_now = world.clock.now() + 48 * HOUR
    await Folding(world.runtime.store, world.runtime.settings, ahead).fold()
    steps = await world.runtime.statistics.range(first // MINUTE * MINUTE, world.clock.now() + MINUTE, MINUTE)
    assert sum(step.sums.of.get(SERIES, {}).get("completed", 0) for step in steps) == 2


async def test_one_fold_writes_a_bounded_number_of_fields(world: World) -> None:
    now, most = world.clock.now() // MINUTE, 0
    for number in range(60):
        first = now - 60 * (number + 1) if number < 20 else now - 1440 - 3600 * (number - 20)
        step = 1 if number < 20 else 60
        parts = [[(first + step * place) * MINUTE, {"": {"refused.queue_full": 1}}] for place in range(60)]
        text = json.dumps({"process": f"p{number}", "number": 1, "parts": parts})
        await world.raw("XADD", world.runtime.queue.keys.entries, "*", "p", text)
    execute = world.runtime.store.execute

    async def noted(*command: str) -> Any:
        nonlocal most
        if command[0] == "EVAL":
            most = max(most, len(command))
        return await execute(*command)

    world.runtime.store.execute = noted  # type: ignore[method-assign]
    assert (await total(world, ""))["refused.queue_full"] == 3600
    assert most < 4000


async def test_the_daily_sweep_keeps_the_sums_of_a_quiet_deployment(world: World) -> None:
    await run_job(world)
    await world.runtime.folding.fold()
    key = world.runtime.queue.keys.sums
    await world.raw("EXPIRE", key, "1000")
    await world.runtime.folding.sweep(Budget(50), False)
    assert await world.raw("TTL", key) <= 1000
    await world.runtime.folding.sweep(Budget(50), True)
    assert await world.raw("TTL", key) > 90 * 86_400


async def test_a_stream_that_nears_its_end_is_warned_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "NEARLY_LOST", 1)
    await run_job(world)
    saved = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with capture_logs() as lines:
        await world.runtime.folding.sweep(Budget(50), False)
    structlog.configure(**saved)
    assert [(line["event"], line["waiting"]) for line in lines] == [("entries_nearly_lost", 2)]
