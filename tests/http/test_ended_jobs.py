"""Calls for a job that has ended: result, deletion, retry."""

from typing import Any

import httpx
import pytest

from shared.errors import StoreUncertain
from shared.providers.base import Prediction
from tests.http.calls import BODY, problem
from tests.http.history import end, fill, listed
from tests.world import AUTH, OTHER_AUTH, World, http_client


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("https://x.example/a.mp4?b=1&c=%20", "https://x.example/a.mp4?b=1&c=%20"),
        (["https://x.example/1.png", "https://x.example/2.png"], "https://x.example/1.png"),
        (["text", "https://x.example/2.png"], "https://x.example/2.png"),
        ("just text", None),
        ("half a \ud83d", None),
        ("https://x.example/a\r\nSet-Cookie: a=b", None),
        ("https://[x", None),
        ("https:///nowhere", None),
        ("javascript:alert(1)", None),
        ("https://x.example/" + "a" * 3000, None),
        ({"video": "https://x.example/a.mp4"}, None),
        ([1, None, {}], None),
        ([], None),
        (None, None),
    ],
)
async def test_a_result_is_where_the_output_is_or_the_output(
    world: World, client: httpx.AsyncClient, output: Any, expected: str | None
) -> None:
    job_id = await world.enqueue(start=True)
    await end(world, job_id, output=output)
    answer = await client.get(f"/api/jobs/{job_id}/result")
    if expected is not None:
        assert answer.status_code == 303 and answer.headers["location"] == expected
    else:
        assert answer.status_code == 200 and answer.json() == {"output": output}
    problem(await client.get(f"/api/jobs/{job_id}/result", headers=OTHER_AUTH), 404, "job_not_found")


async def test_a_job_without_a_result_is_409_and_says_whether_it_may_have_one_later(
    world: World, client: httpx.AsyncClient
) -> None:
    live, failed = await world.enqueue("ada", start=True), await world.enqueue("bob", start=True)
    await end(world, failed, "failed")
    answer = await client.get(f"/api/jobs/{live}/result")
    assert problem(answer, 409, "not_completed")["retryable"] is True and "retry-after" in answer.headers
    answer = await client.get(f"/api/jobs/{failed}/result")
    assert problem(answer, 409, "not_completed")["retryable"] is False and "retry-after" not in answer.headers
    problem(await client.get("/api/jobs/no%20id/result"), 404, "job_not_found")


async def test_an_ended_job_is_deleted_with_all_its_traces(world: World, client: httpx.AsyncClient) -> None:
    keys = world.runtime.history.keys
    headers = {"Idempotency-Key": "order-1"}
    job_id = (await client.post("/api/submit", json=BODY, headers=headers)).json()["id"]
    problem(await client.delete(f"/api/jobs/{job_id}"), 409, "not_terminal")
    await end(world, job_id, "failed")
    await world.raw("ZADD", keys.dead, "1", job_id)
    world.runtime.statuses.forget(job_id)
    assert (await client.get(f"/api/status/{job_id}")).status_code == 200
    problem(await client.delete(f"/api/jobs/{job_id}", headers=OTHER_AUTH), 404, "job_not_found")
    answer = await client.delete(f"/api/jobs/{job_id}")
    assert answer.status_code == 204 and answer.content == b""
    for method, path in (("DELETE", "/api/jobs/{}"), ("GET", "/api/status/{}"), ("POST", "/api/jobs/{}/retry")):
        problem(await client.request(method, path.format(job_id)), 404, "job_not_found")
    assert await listed(client) == []
    assert await world.raw("EXISTS", keys.job(job_id), keys.dead) == 0
    assert (await client.post("/api/submit", json=BODY, headers=headers)).json()["id"] == job_id


async def test_a_job_of_a_batch_is_deleted_only_after_the_batch_is_gone(
    world: World, client: httpx.AsyncClient
) -> None:
    keys = world.runtime.history.keys
    await fill(world, "part")
    await world.raw("HSET", keys.job("part"), "batch", "b1", "outcome", "failed")
    await world.raw("HSET", keys.batch("b1"), "owner", "app")
    problem(await client.delete("/api/jobs/part"), 409, "belongs_to_batch")
    problem(await client.post("/api/jobs/part/retry"), 409, "belongs_to_batch")
    await world.raw("DEL", keys.batch("b1"))
    assert (await client.delete("/api/jobs/part")).status_code == 204


async def test_a_failed_job_is_retried_as_a_new_one_once(world: World, client: httpx.AsyncClient) -> None:
    body = {**BODY, "priority": 4, "tier": "pro", "metadata": {"order": "17"}, "hook_url": "https://example.com/h"}
    old = (await client.post("/api/submit", json=body)).json()["id"]
    problem(await client.post(f"/api/jobs/{old}/retry"), 409, "not_failed")
    await end(world, old, "failed")
    world.runtime.statuses.forget(old)
    assert (await client.get(f"/api/status/{old}")).json()["redriven_as"] is None
    answer = await client.post(f"/api/jobs/{old}/retry")
    new = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == new["links"]["status"]
    assert new["id"] != old and new["status"] == "processing" and new["retry_of"] == old
    again = (await client.post(f"/api/jobs/{old}/retry")).json()
    assert again["id"] == new["id"] and len(world.provider.created) == 2
    documents = [(await client.get(f"/api/status/{job_id}")).json() for job_id in (old, new["id"])]
    assert [(d["status"], d["retry_of"], d["redriven_as"]) for d in documents] == [
        ("failed", None, new["id"]), ("processing", old, None),
    ]  # fmt: skip
    for name in ("priority", "tier", "metadata", "model", "user_id", "queue"):
        assert documents[0][name] == documents[1][name]
    records = world.runtime.records
    assert await records.request_of(old) == await records.request_of(new["id"])
    assert await listed(client) in ([new["id"], old], [old, new["id"]])
    problem(await client.post(f"/api/jobs/{old}/retry", headers=OTHER_AUTH), 404, "job_not_found")
    problem(await client.post("/api/jobs/no%20id/retry"), 404, "job_not_found")


async def test_a_retry_is_refused_by_the_users_limit_and_changes_nothing(
    world: World, client: httpx.AsyncClient
) -> None:
    old = await world.enqueue(start=True)
    await end(world, old, "failed")
    for _ in range(3):
        await world.enqueue()
    problem(await client.post(f"/api/jobs/{old}/retry"), 429, "user_limit_reached")
    assert (await world.runtime.records.read(old)).redriven_as is None


async def test_a_crash_between_the_new_job_and_the_note_is_healed_by_repeating(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await world.enqueue(start=True)
    await end(world, old, "failed")

    async def crash(*_: object) -> None:
        raise StoreUncertain

    with monkeypatch.context() as patch:
        patch.setattr(world.runtime.history, "note_redriven", crash)
        problem(await client.post(f"/api/jobs/{old}/retry"), 503, "store_uncertain")
    assert len(world.provider.created) == 1
    new = (await client.post(f"/api/jobs/{old}/retry")).json()["id"]
    assert len(world.provider.created) == 1 and len(await listed(client)) == 2
    assert (await world.runtime.records.read(old)).redriven_as == new


async def test_a_retry_that_was_deleted_is_not_made_again(world: World, client: httpx.AsyncClient) -> None:
    old = await world.enqueue(start=True)
    await end(world, old, "failed")
    new = (await client.post(f"/api/jobs/{old}/retry")).json()["id"]
    world.provider.states["p1"] = Prediction("p1", "canceled")
    await client.post(f"/api/jobs/{new}/cancel")
    assert (await client.delete(f"/api/jobs/{new}")).status_code == 204
    problem(await client.post(f"/api/jobs/{old}/retry"), 409, "already_redriven")


async def test_a_request_that_could_no_longer_be_submitted_is_not_retried(
    world: World, client: httpx.AsyncClient
) -> None:
    await fill(world, "old")
    keys = world.runtime.history.keys
    await world.raw("HSET", keys.job("old"), "outcome", "failed", "input", "{", "tier", "free", "metadata", "{}")
    problem(await client.post("/api/jobs/old/retry"), 422, "invalid_request")
    await world.raw("HSET", keys.job("old"), "input", "{}", "hook_url", "", "queue", "gone")
    assert problem(await client.post("/api/jobs/old/retry"), 422, "invalid_request")["field"] == "queue"


async def test_what_each_verb_costs(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    old = await world.enqueue(start=True)
    await end(world, old, "failed")
    world.another_process(dispatch_on_submit=False)
    async with http_client(**AUTH) as client:
        for method, path, calls, billed in (
            ("POST", f"/api/jobs/{old}/retry", 3, 12),
            ("POST", f"/api/jobs/{old}/retry", 2, 2),
            ("DELETE", f"/api/jobs/{old}", 1, 5),
        ):
            world.server.reset_bill()
            assert (await client.request(method, path)).is_success
            bill = world.server.bill()
            assert (bill.calls, bill.billed) == (calls, billed), path


BATCH = {"user_id": "ada", "model": "acme/image", "jobs": [{"input": {"prompt": "a"}}]}


async def test_a_batch_that_meets_the_deletion_of_its_like_is_made_anew(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, queue = {"Idempotency-Key": "storyboard-1"}, world.runtime.batches._queue
    first = (await client.post("/api/batches", json=BATCH, headers=key)).json()
    read, deletions = queue.read, iter([1])

    async def deleted_before(batch_id: str, *page: int) -> Any:
        for _ in deletions:
            await world.raw("DEL", world.runtime.queue.keys.batch(batch_id))
        return await read(batch_id, *page)

    monkeypatch.setattr(queue, "read", deleted_before)
    again = await client.post("/api/batches", json=BATCH, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert (await client.get(f"/api/batches/{first['id']}")).status_code == 200
