"""Failures in a row open the circuit of a model, and a probe closes it."""

from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.jobqueue.constants import BAND, DELAYED, PROVIDERS, READY
from shared.providers.base import Unknown
from tests.queue.providers import fail, gates, open_circuit, run, started
from tests.world import ObedientProvider, World, make_world


async def test_failures_in_a_row_open_the_models_circuit_and_other_models_go_on(world: World) -> None:
    await open_circuit(world)
    blocked, other = await world.enqueue("ada"), await world.enqueue("bob", model="acme/still")
    claim = await world.runtime.queue.claim(10)
    assert [job.id for job in claim.started] == [other] and claim.parked == 1
    record = await world.runtime.records.read(blocked)
    assert (record.state, record.attempts, record.snooze_code) == ("delayed", 0, "circuit_open")


@pytest.mark.parametrize("code", ["invalid_input", "content_policy"])
async def test_a_users_own_faults_open_no_circuit(world: World, code: str) -> None:
    await open_circuit(world, code)
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_success_in_between_starts_the_count_anew(world: World) -> None:
    for n in range(2 * world.runtime.settings.circuit_failures - 2):
        job = await world.enqueue(f"user{n}")
        (claimed,) = (await world.runtime.queue.claim(1)).started
        await world.runtime.queue.record(job, claimed.attempt, f"f{job}")
        if n == world.runtime.settings.circuit_failures - 2:
            await world.runtime.queue.finish(job, claimed.attempt, f"f{job}", "completed", {"output": "1"})
        else:
            await fail(world, job)
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_after_its_pause_one_job_probes_the_model_and_success_closes_the_circuit(world: World) -> None:
    await open_circuit(world)
    first, second = await world.enqueue("ada"), await world.enqueue("bob")
    await started(world)
    world.manual.advance(world.runtime.settings.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.id in (first, second)
    await world.runtime.queue.record(probe.id, probe.attempt, "p1")
    await world.runtime.queue.finish(probe.id, probe.attempt, "p1", "completed", {"output": "1"})
    world.manual.advance(world.runtime.settings.check_interval + 1)
    assert len(await started(world)) == 1
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_failed_probe_opens_the_circuit_for_twice_as_long(world: World) -> None:
    await open_circuit(world)
    await world.enqueue("ada")
    await started(world)
    world.manual.advance(world.runtime.settings.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    await world.runtime.queue.record(probe.id, probe.attempt, "p1")
    await fail(world, probe.id)
    until = (await gates(world))["~o0:acme/video"]
    assert until - world.manual.true_now == 2 * world.runtime.settings.circuit_pause * 1000


async def test_a_probe_that_is_refused_lets_another_job_probe_its_model(world: World) -> None:
    """The circuit stayed shut until the probe's lease was over."""
    await open_circuit(world)
    await world.enqueue("ada")
    await started(world)
    world.manual.advance(world.runtime.settings.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.probe == "~o0:acme/video"
    await world.runtime.queue.snooze(probe.id, probe.attempt, delay=5, code="rate_limited", status=429, pause=True)
    assert (await gates(world))["~o0:acme/video"] == world.manual.true_now
    other = await world.enqueue("bob")
    world.manual.advance(6)
    assert await started(world) == [other]


async def test_submissions_without_an_answer_open_the_circuit_too(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=2) as world:
        world.provider.outcomes = [Unknown("status 500")] * 2
        for n in range(2):
            await world.enqueue(f"user{n}")
        await run(world)
        await world.enqueue("late")
        await run(world)
        assert len(world.provider.created) == 2


async def test_a_circuit_never_opens_when_it_is_switched_off(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=0) as world:
        for n in range(9):
            job = await world.enqueue(f"user{n}")
            await started(world)
            await world.runtime.queue.record(job, 1, f"f{job}")
            await fail(world, job)
        assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_lost_submission_that_is_found_to_have_failed_counts_once(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    async with make_world(any_store, clock, circuit_failures=2) as world:
        job = await world.enqueue("ada", start=True)
        await world.runtime.queue.trip(job, 1)
        await world.runtime.queue.fail(job, 1, "p1", code="timeout", detail="", retryable=True)
        assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_a_failure_of_a_model_that_many_users_have_used_removes_some_of_them(world: World) -> None:
    """A script that removed 9,000 users of earlier rows in one command stopped behind its first writes."""
    key = world.runtime.queue.keys.runs(0, "acme/video")
    for first in range(0, 9000, 1000):
        pairs = [part for n in range(first, first + 1000) for part in (f"pair:{n}", "5|1|0|0")]
        await world.raw("HSET", key, *pairs, "since", "7")
    job = await world.enqueue("ada")
    await started(world)
    await world.runtime.queue.record(job, 1, "p1")
    await fail(world, job)
    assert await world.raw("HLEN", key) == 9000 - 500 + 3  # and since, at, pair:


async def test_a_job_counts_once_in_a_row_of_failures_however_often_it_is_tried(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    """One job with six retries opened the circuit of its user."""
    changes: dict[str, Any] = {"queue_max_retries": 6, "dispatch_on_submit": False}
    async with make_world(any_store, clock, **changes) as world:
        failing, jobs = world.runtime.settings.circuit_failures, []
        jobs.append(await world.enqueue("ada"))
        for n in range(1, failing + 1):
            assert await started(world) == jobs
            await world.runtime.queue.record(jobs[0], n, f"p{n}")
            await world.runtime.queue.fail(jobs[0], n, f"p{n}", code="timeout", detail="", retryable=True)
            assert not [name for name in await gates(world) if name.startswith("~o")]
            world.manual.advance(3600)
        for _ in range(failing - 1):
            assert not [name for name in await gates(world) if name.startswith("~o")]
            await fail_for(world, "ada")
        assert [name for name in await gates(world) if name.startswith("~o0:acme/video|")]


async def test_a_claim_drops_any_number_of_lost_jobs(any_store: RunningServer | None, clock: ManualClock) -> None:
    """After the time of a circuit it looks at 50 jobs of each lane. One command took all that it wrote."""
    brings, queues = {"wavespeed": ObedientProvider("wavespeed")}, ",".join(f"queue{n}" for n in range(18))
    changes: dict[str, Any] = {"queues": queues, "max_concurrent_tasks": 1000, "dispatch_on_submit": False}
    changes |= {"provider_rates": "wavespeed:600", "provider_concurrency": "wavespeed:1000"}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", **changes) as world:
        index, now = world.runtime.queue.keys.index, world.manual.true_now
        lanes = [PROVIDERS * queue + provider for queue in range(20) for provider in range(2)]
        for first, count in [*((READY + lane, 50) for lane in lanes), (DELAYED, 1000)]:
            score = str(first * BAND + now - 1000)
            await world.raw("ZADD", index, *(part for n in range(count) for part in (score, f"lost_{first}_{n}")))
        await world.raw("ZADD", index, str(now - 1000 - BAND), "~o0:acme/video")
        assert (await world.runtime.queue.claim(1000)).missing == 3000


async def test_a_claim_holds_any_number_of_jobs(any_store: RunningServer | None, clock: ManualClock) -> None:
    """One command took all of them, and Lua gives a command 8,000 parts at most."""
    changes: dict[str, Any] = {"queues": "one,two,three,four", "max_concurrent_tasks": 1000, "max_key_tasks": 1}
    changes |= {"provider_rates": "replicate:60000", "provider_concurrency": "replicate:1000"}
    async with make_world(any_store, clock, **changes, dispatch_on_submit=False) as world:
        keys, job = world.runtime.queue.keys, await world.enqueue("ada")
        found = await world.raw("HGETALL", keys.job(job))
        fields = [part for pair in found.items() for part in pair] if isinstance(found, dict) else found
        for lane in range(0, 6 * PROVIDERS, PROVIDERS):
            score, names = str((READY + lane) * BAND + 1), [f"j{lane}_{n}" for n in range(850)]
            for name in names:
                await world.raw("HSET", keys.job(name), *fields, "lane", str(lane))
            await world.raw("ZADD", keys.index, *(part for name in names for part in (score, name)))
        assert (await world.runtime.queue.claim(1000)).parked > 4000
        assert await world.raw("ZCARD", keys.held("app")) > 4000


async def fail_for(world: World, user: str, model: str = "acme/video") -> str:
    """One more job of a user, which fails."""
    job = await world.enqueue(user, model=model, priority=5)
    while job not in await started(world):
        world.manual.advance(1)
    record = await world.runtime.records.read(job)
    await world.runtime.queue.record(job, record.attempt, f"f{job}")
    await fail(world, job)
    return job


async def test_one_user_alone_opens_a_circuit_for_that_user_alone(world: World) -> None:
    """One user within the limit of three made others wait for up to 82 minutes."""
    for _ in range(world.runtime.settings.circuit_failures):
        await fail_for(world, "ada")
    own, other = await world.enqueue("ada"), await world.enqueue("bob")
    claim = await world.runtime.queue.claim(10)
    assert [job.id for job in claim.started] == [other] and claim.parked == 1
    assert (await world.runtime.records.read(own)).snooze_code == "circuit_open"
    (gate,) = [name for name in await gates(world) if name.startswith("~o")]
    assert gate.startswith("~o0:acme/video|")
    assert (await world.admit("new", "bob", start=True)).word == "started"
    assert (await world.admit("own", "ada", start=True)).word == "queued"


async def test_failures_of_one_user_count_once_against_the_model(world: World) -> None:
    for _ in range(world.runtime.settings.circuit_failures - 1):
        await fail_for(world, "ada")
    await fail_for(world, "bob")
    assert not [name for name in await gates(world) if name.startswith("~o")]


async def test_the_probe_is_of_a_user_whose_jobs_have_not_failed_and_a_retry_goes_last(world: World) -> None:
    queue, s = world.runtime.queue, world.runtime.settings
    await open_circuit(world)
    guilty, again = await world.enqueue("unlucky0", priority=5), await world.enqueue("bob", priority=4)
    fresh = await world.enqueue("eve")
    # An earlier attempt of this one has failed, so it has a head start.
    await world.raw("HSET", queue.keys.job(again), "error_code", "timeout")
    order = []
    for _ in range(3):
        await started(world)
        world.manual.advance(16 * s.circuit_pause + s.check_interval)
        (probe,) = (await queue.claim(10)).started
        order.append(probe.id)
        await queue.fail(probe.id, probe.attempt, "", code="invalid_input", detail="", retryable=False)
    assert order == [fresh, again, guilty]


async def test_another_name_of_a_version_is_the_same_model(world: World) -> None:
    version = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
    for n in range(world.runtime.settings.circuit_failures):
        await fail_for(world, f"user{n}", f"acme/{n}:{version}")
    assert f"~o0:{version}" in await gates(world)
    await world.enqueue("ada", model=version)
    await world.enqueue("bob", model=f"acme/other:{version}")
    assert await started(world) == []


async def test_a_users_own_circuit_is_probed_and_opens_for_longer(world: World) -> None:
    s = world.runtime.settings
    for _ in range(s.circuit_failures):
        await fail_for(world, "ada")
    first, second = await world.enqueue("ada"), await world.enqueue("ada")
    await started(world)
    world.manual.advance(s.circuit_pause + 1)
    (probe,) = (await world.runtime.queue.claim(10)).started
    assert probe.id in (first, second)
    await world.runtime.queue.record(probe.id, probe.attempt, "p1")
    await fail(world, probe.id)
    (until,) = [until for name, until in (await gates(world)).items() if name.startswith("~o")]
    assert until - world.manual.true_now == 2 * s.circuit_pause * 1000


async def test_own_circuits_leave_room_for_those_of_models(any_store: RunningServer | None, clock: ManualClock) -> None:
    changes = {"circuit_failures": 2, "provider_rates": "replicate:10000", "max_user_tasks": 100}
    async with make_world(any_store, clock, **changes) as world:
        for n in range(40):
            for _ in range(2):
                await fail_for(world, "ada", f"acme/{n}")
        await fail_for(world, "bob", "acme/39")
        circuits = [name for name in await gates(world) if name.startswith("~o")]
        assert len([name for name in circuits if "|" in name]) <= 32 and "~o0:acme/39" in circuits


async def test_a_model_keeps_no_users_of_earlier_rows(world: World) -> None:
    key = world.runtime.queue.keys.runs(0, "acme/video")
    for n in range(3):
        for user in range(10):
            job = await world.enqueue(f"user{n}_{user}")
            (claimed,) = (await world.runtime.queue.claim(1)).started
            await world.runtime.queue.record(job, claimed.attempt, f"f{job}")
            if user == 9:
                await world.runtime.queue.finish(job, claimed.attempt, f"f{job}", "completed", {"output": "1"})
            else:
                await fail(world, job, "timeout")
            world.manual.advance(16 * world.runtime.settings.circuit_pause + 31)
    kept = [name for name in await world.raw("HGETALL", key) if str(name).startswith("pair:")]
    assert len(kept) <= 20 + 9 and not [name for name in kept if "user" in name]


async def test_a_retry_behind_many_jobs_that_a_circuit_has_put_aside_starts_at_the_next_tick(
    clock: ManualClock,
) -> None:
    """A claim read ten of them, and put them aside again: the retry of another model waited for three minutes."""
    async with make_world(None, clock, dispatch_on_submit=False) as world:
        queue = world.runtime.queue
        await world.runtime.controls.set_gates({"~o0:acme/video": world.manual.true_now + 300_000})
        for n in range(950):
            await world.admit(f"job_{n}", f"user{n}")
        for _ in range(6):
            await run(world)
        world.manual.advance(230)
        await world.admit("job_o", "o", model="acme/still", owner="other")
        await run(world)
        record = await world.runtime.records.read("job_o")
        failed = await queue.fail("job_o", 1, record.prediction, code="timeout", detail="", retryable=True)
        assert failed.word == "delayed"
        world.manual.advance(96)
        await world.runtime.tick.run()
        assert (await world.runtime.records.read("job_o")).state == "running"


async def test_others_wait_for_no_user_whose_jobs_all_fail(any_store: RunningServer | None, clock: ManualClock) -> None:
    """Three of a user's jobs are tried again and again; bob's jobs of 5 s, one a minute, start within a minute."""
    async with make_world(any_store, clock) as world:
        queue, waits = world.runtime.queue, []
        waiting: dict[str, int] = {}
        for second in range(0, 3600, 5):
            if second % 20 == 0 and (await world.raw("ZCARD", queue.keys.user("app", "ada"))) < 3:
                await world.enqueue("ada", priority=5)
            if second % 60 == 0:
                waiting[await world.enqueue("bob")] = world.manual.true_now
            for job in (await queue.claim(10)).started:
                await queue.record(job.id, job.attempt, f"p{job.id}{job.attempt}", probe=job.probe)
                if job.user == "bob":
                    waits.append(world.manual.true_now - waiting.pop(job.id))
                    await queue.finish(job.id, job.attempt, f"p{job.id}{job.attempt}", "completed", {"output": "1"})
                else:
                    prediction = f"p{job.id}{job.attempt}"
                    await queue.fail(job.id, job.attempt, prediction, code="timeout", detail="", retryable=True)
            world.manual.advance(5)
        assert not waiting or max(world.manual.true_now - since for since in waiting.values()) <= 60_000
        assert len(waits) >= 58 and max(waits) <= 60_000
