"""A tick or a webhook handles all follow-ups; a submit or a poll handles its own job's."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.errors import StoreUncertain
from shared.outbox.scope import Scope
from shared.providers.base import Prediction, Submission, SubmissionOutcome
from tests.http.calls import BODY, webhook_url
from tests.receiver import Receiver, receiver
from tests.world import AUTH, OPERATOR, PROCESSOR, ObedientProvider, World, http_client, make_world

HOUR = 3600.0
Caller = Callable[[World, httpx.AsyncClient, str], Awaitable[httpx.Response]]


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """The host of the provider's files."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "text/plain"}, b"a lighthouse")
        yield made


@pytest.fixture
async def owner() -> AsyncIterator[Receiver]:
    """The owner's endpoint."""
    async with receiver() as made:
        yield made


def settings(**changes: Any) -> dict[str, Any]:
    return {"storage_url": f"memory://{secrets.token_hex(8)}", "allow_loopback": True, **changes}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


async def lost(world: World, source: Receiver, owner: Receiver, user: str = "ada") -> str:
    """A job that the provider has ended and whose webhook was lost; its next check is due."""
    job_id = await world.enqueue(user, start=True, hook_url=owner.url(), hook_events=["job.completed"])
    await world.runtime.queue.record(job_id, 1, f"p_{job_id}")
    world.provider.states[f"p_{job_id}"] = Prediction(f"p_{job_id}", "completed", output=[source.url("/story.txt")])
    world.manual.advance(world.runtime.settings.first_check_after + 1)
    return job_id


async def files_of(world: World, job_id: str) -> list[str]:
    """The states of the job's files."""
    return [file["state"] for file in (await world.runtime.records.read(job_id)).files]


def events(owner: Receiver) -> list[tuple[str, str]]:
    """Type and job of each event that the owner received."""
    bodies = [json.loads(received.body) for received in owner.received]
    return [(body["type"], body["data"]["id"]) for body in bodies]


@pytest.mark.parametrize("tick_period", [60.0, HOUR], ids=["every minute", "hourly"])
async def test_a_tick_that_ends_a_run_stores_its_file_and_notifies_its_owner(
    any_store: RunningServer | None, client: httpx.AsyncClient, source: Receiver, owner: Receiver, tick_period: float
) -> None:
    async with make_world(any_store, ManualClock(), **settings(tick_period=tick_period)) as world:
        job_id = await lost(world, source, owner)
        answer = await client.post("/api/process-queue", headers=PROCESSOR)
        assert (answer.json()["looked_at"], answer.json()["followed_up"]) == (1, 2)
        assert await files_of(world, job_id) == ["stored"]
        assert events(owner) == [("job.completed", job_id)]
        assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_a_tick_follows_up_each_of_the_runs_that_it_ends(
    valkey: RunningServer, source: Receiver, owner: Receiver
) -> None:
    async with make_world(valkey, ManualClock(), **settings()) as world:
        jobs = [await lost(world, source, owner, f"user{number}") for number in range(4)]
        await world.runtime.tick.run()
        assert [await files_of(world, job_id) for job_id in jobs] == [["stored"]] * 4
        assert sorted(events(owner)) == sorted(("job.completed", job_id) for job_id in jobs)


async def submit(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.post("/api/submit", json=BODY | {"user_id": "zoe"})


async def poll(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.get(f"/api/status/{own}")


async def cancel(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.post(f"/api/jobs/{own}/cancel")


async def create_batch(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.post("/api/batches", json={"user_id": "zoe", "model": "acme/video", "jobs": [{"input": {}}]})


async def cancel_batch(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    world.another_process(dispatch_on_submit=False)
    batch = (await create_batch(world, client, own)).json()["id"]
    world.another_process(dispatch_on_submit=True)
    return await client.post(f"/api/batches/{batch}/cancel")


async def send_webhook(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.post(await webhook_url(world, own), content=f"p_{own}".encode())


async def change_limit(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.patch("/api/operate/limits", json={"system": 9}, headers=OPERATOR)


async def tick(world: World, client: httpx.AsyncClient, own: str) -> httpx.Response:
    return await client.post("/api/process-queue", headers=PROCESSOR)


@pytest.mark.parametrize("tick_period", [60.0, HOUR], ids=["every minute", "hourly"])
@pytest.mark.parametrize(
    ("call", "does_all"),
    [
        (submit, False), (poll, False), (cancel, False), (create_batch, False), (cancel_batch, False),
        (send_webhook, True), (change_limit, True), (tick, True),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
async def test_what_a_call_ends_for_another_user_is_stored_and_delivered_by_the_next_tick(
    any_store: RunningServer | None,
    client: httpx.AsyncClient,
    source: Receiver,
    owner: Receiver,
    call: Caller,
    does_all: bool,
    tick_period: float,
) -> None:
    """Where ticks are rare, and for calls that need not be quick, within the call; without another call after it."""
    async with make_world(any_store, ManualClock(), **settings(tick_period=tick_period)) as world:
        own, other = await lost(world, source, owner), await lost(world, source, owner, "bob")
        await world.enqueue("eve")
        answer = await call(world, client, own)
        assert answer.status_code < 300, answer.text
        assert (await world.runtime.records.read(other)).status == "completed"
        is_done = does_all or tick_period == HOUR
        assert await files_of(world, other) == ["stored" if is_done else "pending"]
        assert (("job.completed", other) in events(owner)) is is_done
        await world.runtime.tick.run()
        assert await files_of(world, other) == ["stored"] and events(owner).count(("job.completed", other)) == 1
        assert await world.raw("ZCARD", world.runtime.queue.keys.outbox) == 0


async def test_a_poll_shows_the_follow_ups_of_its_own_job(
    any_store: RunningServer | None, client: httpx.AsyncClient, source: Receiver, owner: Receiver
) -> None:
    async with make_world(any_store, ManualClock(), **settings()) as world:
        own = await lost(world, source, owner)
        shown = (await client.get(f"/api/status/{own}")).json()
        assert shown["stage"] == "done" and [file["state"] for file in shown["files"]] == ["stored"]
        assert events(owner) == [("job.completed", own)]


async def test_a_lost_webhook_delays_file_and_event_by_the_check_interval_and_one_tick(
    any_store: RunningServer | None, client: httpx.AsyncClient, source: Receiver, owner: Receiver
) -> None:
    """The published bound; the copy itself takes no time here, and a submit has ended the run for another user."""
    async with make_world(any_store, ManualClock(), **settings()) as world:
        job_id, s = await world.enqueue(start=True, hook_url=owner.url()), world.runtime.settings
        await world.runtime.queue.record(job_id, 1, "p")
        world.provider.states["p"] = Prediction("p", "running")
        world.manual.advance(s.first_check_after + 1)
        await world.runtime.tick.run()  # it still runs, and ends a moment later
        world.provider.states["p"] = Prediction("p", "completed", output=[source.url("/story.txt")])
        world.manual.advance(s.check_interval)
        await submit(world, client, job_id)
        world.manual.advance(s.tick_period)
        await world.runtime.tick.run()
        assert await files_of(world, job_id) == ["stored"] and events(owner) == [("job.completed", job_id)]


async def test_a_row_that_another_caller_has_leased_since_is_not_given_back(
    any_store: RunningServer | None, source: Receiver, owner: Receiver
) -> None:
    async with make_world(any_store, ManualClock(), **settings()) as world:
        outbox, s = world.runtime.outbox, world.runtime.settings
        job_id = await lost(world, source, owner)
        filed = world.provider.states[f"p_{job_id}"]
        await world.runtime.reconciler.apply(job_id, 1, "replicate", filed)
        hooked = await world.enqueue("bob", hook_url=owner.url())
        await world.runtime.queue.cancel(hooked, "app")
        rows = world.follow_ups()
        assert [(row.what, row.id) for row in rows] == [("store", job_id), ("tell", hooked)]
        world.manual.advance(s.lease + 1)
        jobs, lanes = await outbox.claim(5, 5, 5)
        assert [row.id for row in jobs] == [job_id] and len(lanes) == 1
        assert await outbox.release(rows) == 0 and await outbox.claim(5, 5, 5) == ([], [])
        assert await outbox.release([*jobs, *(row for lane in lanes for row in lane.rows)]) == 1
        assert [row.id for row in (await outbox.claim(5, 5, 5))[0]] == [job_id]


async def test_a_store_that_does_not_answer_leaves_the_leases(
    valkey: RunningServer, client: httpx.AsyncClient, source: Receiver, owner: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def uncertain(*_: object) -> None:
        raise StoreUncertain

    async with make_world(valkey, ManualClock(), **settings()) as world:
        other = await lost(world, source, owner, "bob")
        monkeypatch.setattr(world.runtime.outbox, "release", uncertain)
        assert (await submit(world, client, "")).status_code == 202
        await world.runtime.tick.run()
        assert await files_of(world, other) == ["pending"]
        world.manual.advance(world.runtime.settings.lease + 1)
        await world.runtime.tick.run()
        assert await files_of(world, other) == ["stored"] and len(events(owner)) == 1


async def test_where_ticks_are_rare_a_poll_follows_up_all_that_it_ends(
    any_store: RunningServer | None, client: httpx.AsyncClient, source: Receiver, owner: Receiver
) -> None:
    async with make_world(any_store, ManualClock(), **settings(tick_period=HOUR)) as world:
        own, other = await lost(world, source, owner), await lost(world, source, owner, "bob")
        await world.enqueue("eve")
        await client.get(f"/api/status/{own}")
        assert await files_of(world, own) == await files_of(world, other) == ["stored"]
        assert sorted(events(owner)) == [("job.completed", own), ("job.completed", other)]


async def test_where_ticks_are_rare_a_submit_looks_for_what_is_due_once_in_30_seconds(
    valkey: RunningServer, client: httpx.AsyncClient, owner: Receiver
) -> None:
    async with make_world(valkey, ManualClock(), **settings(tick_period=HOUR, max_user_tasks=9)) as world:
        for seconds in (5, 26):
            job_id = await world.enqueue("bob", hook_url=owner.url())
            await world.runtime.queue.cancel(job_id, "app")
            world.follow_ups()  # the process that canceled it has died
            world.manual.advance(seconds)
        for seconds, delivered in ((0, 1), (5, 1), (26, 2)):
            world.manual.advance(seconds)
            assert (await client.post("/api/submit", json=BODY)).status_code == 202
            assert len(owner.received) == delivered


async def test_two_calls_at_once_do_not_take_each_others_follow_ups(
    any_store: RunningServer | None, client: httpx.AsyncClient, source: Receiver, owner: Receiver
) -> None:
    async with make_world(any_store, ManualClock(), **settings()) as world:
        jobs = [await world.enqueue(user, hook_url=owner.url()) for user in ("ada", "bob", "eve")]
        answers = await asyncio.gather(*(client.post(f"/api/jobs/{job_id}/cancel") for job_id in jobs))
        assert [answer.json()["result"] for answer in answers] == ["canceled"] * 3
        assert sorted(events(owner)) == [("job.canceled", job_id) for job_id in jobs]


class Patient(ObedientProvider):
    """Answers a create only when the owner has been notified."""

    def __init__(self, owner: Receiver) -> None:
        super().__init__()
        self._owner = owner

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        async with asyncio.timeout(timeout):
            while not self._owner.received:
                await asyncio.sleep(0.01)
        return await super().create(submission, timeout)


async def test_a_webhook_notifies_the_owner_while_it_starts_the_next_job(
    valkey: RunningServer, client: httpx.AsyncClient, source: Receiver, owner: Receiver
) -> None:
    provider = Patient(owner)
    changes = settings(max_concurrent_tasks=1)
    async with make_world(valkey, ManualClock(), {"replicate": provider}, **changes) as world:
        job_id = await lost(world, source, owner)
        await world.enqueue("bob")
        provider.states["p"] = Prediction(f"p_{job_id}", "completed", output="words")
        answer = await client.post(await webhook_url(world, job_id), content=b"p")
        assert answer.json() == {"result": "finished"} and len(provider.created) == 1


async def test_a_call_that_fails_still_follows_up_what_it_has_ended(
    valkey: RunningServer,
    client: httpx.AsyncClient,
    source: Receiver,
    owner: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def uncertain(*_: object, **__: object) -> None:
        raise StoreUncertain

    async with make_world(valkey, ManualClock(), **settings()) as world:
        job_id = await lost(world, source, owner)
        world.provider.states["p"] = Prediction(f"p_{job_id}", "completed", output="words")
        await world.enqueue("bob")
        monkeypatch.setattr(world.runtime.dispatcher, "run", uncertain)
        assert (await client.post(await webhook_url(world, job_id), content=b"p")).status_code == 503
        assert events(owner) == [("job.completed", job_id)]


async def test_a_call_that_is_cut_off_leaves_nothing_under_way(valkey: RunningServer, owner: Receiver) -> None:
    async with make_world(valkey, ManualClock(), **settings()) as world, asyncio.timeout(10):
        job_id = await world.enqueue(hook_url=owner.url())
        before = asyncio.all_tasks()
        with pytest.raises(asyncio.CancelledError):
            async with Scope(world.runtime.outbox_worker, Budget(50), is_waited_for=False) as scope:
                await world.runtime.queue.cancel(job_id, "app")
                raise asyncio.CancelledError
        assert scope.begun == 1 and asyncio.all_tasks() == before
        assert owner.received == []


async def test_a_call_without_follow_ups_costs_no_store_call(valkey: RunningServer, client: httpx.AsyncClient) -> None:
    async with make_world(valkey, ManualClock(), **settings(tick_period=HOUR)):
        valkey.reset_bill()
        assert (await client.post("/api/jobs/job_1/cancel", headers={"Authorization": ""})).status_code == 401
        assert (await client.get("/api/hooks")).status_code == 200
        assert valkey.bill().calls == 0
