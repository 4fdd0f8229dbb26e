"""The limits that an API key of the store has in place of the deployment's."""

from typing import Any

import httpx
import pytest

from tests.access.stored_keys import bearer, made_key, operate
from tests.http.calls import BODY, problem
from tests.world import World

BATCH: dict[str, Any] = {"user_id": "ada", "model": "acme/video"}


async def submit(client: httpx.AsyncClient, made: dict[str, Any], user: str = "ada") -> httpx.Response:
    return await client.post("/api/submit", json=BODY | {"user_id": user}, headers=bearer(made))


async def state(world: World, job: str) -> str:
    return (await world.runtime.records.read(job)).state


async def test_a_key_submits_no_faster_than_its_own_rate_and_others_of_its_owner_as_they_may(
    client: httpx.AsyncClient,
) -> None:
    made = await made_key(client, defaults={"limits": {"submit_rate": "2/hour"}})
    other = await made_key(client)
    for user in ("ada", "bob"):
        answer = await submit(client, made, user)
        assert (answer.status_code, answer.headers["ratelimit-policy"]) == (202, '"key";q=2;w=3600')
    problem(await submit(client, made), 429, "rate_limited")
    assert "ratelimit" not in (await submit(client, other)).headers


async def test_two_keys_of_an_owner_with_the_same_rate_are_counted_apart(client: httpx.AsyncClient) -> None:
    for user in ("ada", "bob"):
        made = await made_key(client, defaults={"limits": {"submit_rate": "1/hour"}})
        assert (await submit(client, made, user)).status_code == 202


async def test_no_more_jobs_of_a_key_wait_than_its_own_limit_allows(world: World, client: httpx.AsyncClient) -> None:
    await world.runtime.controls.set_gates({"=s": 0})
    made = await made_key(client, defaults={"limits": {"max_waiting": 2}})
    batch = BATCH | {"jobs": [{"input": {}}] * 3}
    problem(await client.post("/api/batches", json=batch, headers=bearer(made)), 429, "key_queue_full")
    assert [(await submit(client, made, user)).status_code for user in ("ada", "bob")] == [202, 202]
    document = problem(await submit(client, made, "eve"), 429, "key_queue_full")
    assert document["detail"] == "2 jobs of this API key wait, and 2 may wait, which is its limit."


async def test_no_more_jobs_of_a_key_run_than_its_own_limit_allows(world: World, client: httpx.AsyncClient) -> None:
    made = await made_key(client, defaults={"limits": {"max_running": 1}})
    first, second = [(await submit(client, made, user)).json()["id"] for user in ("ada", "bob")]
    assert [await state(world, job) for job in (first, second)] == ["running", "queued"]
    other = await world.enqueue("eve")
    await world.runtime.queue.claim(5)
    assert [await state(world, job) for job in (second, other)] == ["delayed", "submitting"]
    shown = (await client.get(f"/api/status/{second}", headers=bearer(made))).json()
    assert shown["waiting_reason"] == "API key limit of 1 jobs at once"
    ran = await world.runtime.records.read(first)
    assert ran.prediction is not None
    done = {"output": "1"}
    await world.runtime.queue.finish(first, 1, ran.prediction, "completed", done, incarnation=ran.incarnation)
    assert [job.id for job in (await world.runtime.queue.claim(5)).started] == [second]


async def test_a_job_of_a_batch_has_the_limit_of_its_key(world: World, client: httpx.AsyncClient) -> None:
    made = await made_key(client, defaults={"limits": {"max_running": 1}})
    batch = BATCH | {"jobs": [{"input": {}}] * 2}
    answer = await client.post("/api/batches", json=batch, headers=bearer(made))
    assert answer.json()["counts"]["processing"] == 1


@pytest.mark.parametrize(
    "limits",
    [
        {"submit_rate": "0/hour"}, {"submit_rate": "5"}, {"max_waiting": 0}, {"max_waiting": True},
        {"max_running": 10_001}, {"slots": 1}, [],
    ],
)  # fmt: skip
async def test_a_limit_that_makes_no_sense_is_refused(client: httpx.AsyncClient, limits: object) -> None:
    body = {"owner": "shop", "defaults": {"limits": limits}}
    assert problem(await operate(client, "POST", "", **body), 422, "invalid_request")["field"].startswith(
        "defaults.limits"
    )
