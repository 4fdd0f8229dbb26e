"""The HTTP surface except submit: statuses, cancellations, ticks, webhooks and health."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.providers.base import Prediction, Throttled
from shared.signing.derived import nonce
from tests.http.calls import BODY, problem, status_of, webhook_url
from tests.http.history import end
from tests.world import AUTH, OTHER_AUTH, PROCESSOR, World, http_client


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as made:
        yield made


async def test_a_job_is_submitted_started_finished_and_read(world: World, client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/submit", json=BODY, headers=AUTH)
    assert answer.status_code == 202
    job = answer.json()
    assert job["status"] == "processing" and answer.headers["location"] == job["links"]["status"]
    assert len(world.provider.created) == 1
    world.provider.states["p1"] = Prediction("p1", "completed", output=["https://replicate.delivery/x.mp4"])
    assert (await client.post(await webhook_url(world, job["id"]), content=b"p1")).json() == {"result": "finished"}
    document = await status_of(client, job["id"])
    assert document["status"] == "completed" and document["output"] == ["https://replicate.delivery/x.mp4"]


async def test_a_finishing_webhook_starts_the_next_job_in_the_same_call(
    world: World, client: httpx.AsyncClient
) -> None:
    jobs = []
    for number in range(7):
        jobs.append((await client.post("/api/submit", json={**BODY, "user_id": f"user{number}"}, headers=AUTH)).json())
        world.manual.advance(0.001)
    assert [job["status"] for job in jobs] == ["processing"] * 5 + ["pending"] * 2
    assert [job["queue_position"] for job in jobs[5:]] == [1, 2]
    assert len(world.provider.created) == 5
    world.provider.states["p1"] = Prediction("p1", "completed")
    await client.post(await webhook_url(world, jobs[0]["id"]), content=b"p1")
    assert [submission.job_id for submission in world.provider.created[5:]] == [jobs[5]["id"]]


async def test_under_a_named_stage_the_location_of_what_is_accepted_has_its_name(world: World) -> None:
    world.another_process(public_base_url="https://x.execute-api.eu-central-1.amazonaws.com/prod/")
    async with http_client(**AUTH) as client:
        job = await client.post("/api/submit", json=BODY)
        wanted = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}]}
        batch = await client.post("/api/batches", json=wanted)
        await end(world, job.json()["id"], "failed")
        again = await client.post(f"/api/jobs/{job.json()['id']}/retry")
    for answer in (job, batch, again):
        assert (answer.status_code, answer.headers["location"]) == (202, f"/prod{answer.json()['links']['status']}")


async def test_a_webhook_url_carries_job_attempt_and_nonce(valkey_world: World) -> None:
    valkey_world.another_process(public_base_url="https://sluice.example.org")
    async with http_client() as client:
        job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    url = httpx.URL(str(valkey_world.provider.created[0].webhook_url))
    assert url.host == "sluice.example.org" and url.path == "/api/webhook/replicate"
    assert url.params["job"] == job["id"] and url.params["attempt"] == "1"
    key, incarnation = valkey_world.runtime.settings.signing_key, await valkey_world.incarnation_of(job["id"])
    assert incarnation and url.params["incarnation"] == incarnation
    assert url.params["nonce"] == nonce(key, "replicate", job["id"], 1, incarnation)


async def test_anothers_job_and_an_unknown_one_get_the_same_404(world: World, client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=OTHER_AUTH)).json()
    for method, suffix in (("GET", "/api/status/{}"), ("POST", "/api/jobs/{}/cancel")):
        answers = [
            await client.request(method, suffix.format(name), headers=AUTH)
            for name in (job["id"], "job_" + "0" * 32, "no%20id", "%ff")
        ]
        assert len({(answer.status_code, answer.text) for answer in answers}) == 1
        problem(answers[0], 404, "job_not_found")


async def test_many_polls_make_one_store_read_and_carry_what_is_left_of_the_two_seconds(valkey_world: World) -> None:
    assert valkey_world.server is not None
    job_id = await valkey_world.enqueue()
    valkey_world.server.reset_bill()
    async with http_client() as client:
        answers = await asyncio.gather(*(client.get(f"/api/status/{job_id}", headers=AUTH) for _ in range(50)))
        assert valkey_world.server.bill().calls == 1
        etag = answers[0].headers["etag"]
        assert {answer.headers["etag"] for answer in answers} == {etag}
        assert answers[0].headers["cache-control"] in ("private, max-age=1", "private, max-age=0")
        assert answers[0].headers["retry-after"] == "2"
        again = await client.get(f"/api/status/{job_id}", headers=AUTH | {"If-None-Match": etag})
    assert again.status_code == 304 and again.content == b"" and again.headers["etag"] == etag


async def test_a_status_read_of_an_overdue_job_repairs_it(world: World, client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    world.provider.states["p1"] = Prediction("p1", "completed", output="x")
    assert (await status_of(client, job["id"]))["status"] == "processing"
    assert world.provider.asked == []
    world.manual.advance(30)
    world.runtime.statuses.forget(job["id"])
    assert (await status_of(client, job["id"]))["status"] == "completed"
    assert world.provider.asked == ["p1"]


async def test_progress_shows_while_a_job_runs(world: World, client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    world.provider.states["p1"] = Prediction("p1", "running", progress=42)
    world.manual.advance(30)
    assert (await status_of(client, job["id"]))["progress"] == 42


@pytest.mark.parametrize(
    ("code", "stage", "reason"),
    [
        ("rate_limited", "delayed", "rate_limited, refused once, retry at "),
        ("provider_down", "delayed", "provider_down, retry at "),
    ],
)
async def test_a_job_that_was_put_off_is_started_by_a_status_read(
    world: World, client: httpx.AsyncClient, code: Any, stage: str, reason: str
) -> None:
    world.provider.outcomes = [Throttled(code, 5)]
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    document = await status_of(client, job["id"])
    assert document["stage"] == stage and document["waiting_reason"].startswith(reason)
    world.manual.advance(10)
    world.runtime.statuses.forget(job["id"])
    document = await status_of(client, job["id"])
    assert (document["stage"], document["attempts"]) == ("running", 1)


async def test_cancel_answers_for_a_waiting_a_running_and_an_ended_job(world: World, client: httpx.AsyncClient) -> None:
    running = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    silent = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    waiting = await world.enqueue("bob")
    answers = [await client.post(f"/api/jobs/{job}/cancel", headers=AUTH) for job in (waiting, running)]
    assert [(a.status_code, a.json()["result"]) for a in answers] == [(200, "canceled"), (200, "canceled")]
    world.provider.is_silent = True
    answer = await client.post(f"/api/jobs/{silent}/cancel", headers=AUTH)
    assert (answer.status_code, answer.json()["result"]) == (202, "cancel_requested")
    answer = await client.post(f"/api/jobs/{running}/cancel", headers=AUTH)
    assert (answer.status_code, answer.json()["result"]) == (409, "already_terminal")
    assert (await status_of(client, running))["status"] == "canceled"
    assert (await status_of(client, silent))["cancel_requested"] is True


async def test_a_tick_ends_a_run_whose_cancellation_the_provider_did_not_confirm(
    world: World, client: httpx.AsyncClient
) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    world.provider.is_silent = True
    await client.post(f"/api/jobs/{job}/cancel", headers=AUTH)
    world.provider.is_silent = False
    world.provider.states["p1"] = Prediction("p1", "canceled")
    assert (await client.post("/api/process-queue", headers=PROCESSOR)).json()["looked_at"] == 1
    assert (await status_of(client, job))["status"] == "canceled"


async def test_a_cancellation_that_did_not_reach_the_provider_is_sent_again(
    world: World, client: httpx.AsyncClient
) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
    world.provider.is_silent = True
    await client.post(f"/api/jobs/{job}/cancel", headers=AUTH)
    world.provider.is_silent = False
    world.manual.advance(60)
    await client.post("/api/process-queue", headers=PROCESSOR)
    assert world.provider.canceled == ["p1", "p1"]
    assert (await status_of(client, job))["status"] == "canceled"


async def test_a_tick_starts_waiting_jobs_and_statistics_show_it(world: World, client: httpx.AsyncClient) -> None:
    for number in range(7):
        await world.enqueue(f"user{number}")
    tick = await client.post("/api/process-queue", headers=PROCESSOR)
    assert tick.status_code == 200 and tick.json()["started"] == 5
    stats = (await client.get("/api/process-queue", headers=PROCESSOR)).json()
    assert stats["queues"]["video"] == {"running": 5, "ready": 2, "concurrency": 5}
    assert stats["running"] == stats["max_running"] == 5 and stats["last_tick_age_seconds"] == 0


async def test_a_get_with_the_cron_secret_ticks(world: World, client: httpx.AsyncClient) -> None:
    await world.enqueue()
    answer = await client.get("/api/process-queue", headers={"Authorization": "Bearer cron-secret-in-tests"})
    assert answer.json()["started"] == 1


@pytest.mark.parametrize(
    "change",
    [
        "job=other",
        "attempt=2",
        "attempt=x",
        "attempt=",
        "attempt=\u0661",
        "incarnation=other",
        "nonce=00",
        "nonce=\u00e9",
        "nonce=",
    ],
)
async def test_a_webhook_of_another_attempt_is_401_and_changes_nothing(valkey_world: World, change: str) -> None:
    job_id = await valkey_world.enqueue(start=True)
    valkey_world.provider.states["p1"] = Prediction("p1", "completed")
    name, _, value = change.partition("=")
    url = httpx.URL("http://x" + await webhook_url(valkey_world, job_id)).copy_set_param(name, value)
    async with http_client() as client:
        problem(await client.post(str(url.copy_with(host="sluice.test")), content=b"p1"), 401, "unauthenticated")
    assert (await valkey_world.runtime.records.read(job_id)).state == "submitting"


async def test_a_webhook_for_an_unknown_job_is_200(world: World, client: httpx.AsyncClient) -> None:
    world.provider.states["p1"] = Prediction("p1", "completed")
    answer = await client.post(await webhook_url(world, "job_unknown"), content=b"p1")
    assert (answer.status_code, answer.json()) == (200, {"result": "unknown"})


async def test_a_repeated_webhook_has_no_effect(world: World, client: httpx.AsyncClient) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    world.provider.states["p1"] = Prediction("p1", "completed", output="x")
    words = [(await client.post(await webhook_url(world, job["id"]), content=b"p1")).json()["result"] for _ in range(3)]
    assert words == ["finished", "already", "already"]
    assert (await world.runtime.records.stats()).counters["completed"] == 1


async def test_health_shows_the_store_and_the_age_of_the_last_tick(world: World, client: httpx.AsyncClient) -> None:
    await client.post("/api/process-queue", headers=PROCESSOR)
    world.manual.advance(90)
    body = (await client.get("/api/health")).json()
    assert body["status"] == "ok" and body["last_tick_age_seconds"] == 90 and body["tick_is_late"] is False
    world.manual.advance(91)
    world.runtime.cache.forget_all(":health")
    assert (await client.get("/api/health")).json()["tick_is_late"] is True
    assert body["store"]["mode"] == world.runtime.settings.storage_mode


async def test_unknown_paths_and_methods_are_problem_documents(valkey_world: World) -> None:
    async with http_client() as client:
        problem(await client.get("/api/nowhere"), 404, "not_found")
        problem(await client.delete("/api/submit"), 405, "method_not_allowed")
        problem(await client.post("/api/webhook/acme"), 401, "unauthenticated")


async def test_a_prediction_that_is_not_found_is_given_up_only_after_its_deadline(
    world: World, client: httpx.AsyncClient
) -> None:
    job = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()
    del world.provider.states["p1"]
    world.manual.advance(60)
    await client.post("/api/process-queue", headers=PROCESSOR)
    assert (await world.runtime.records.read(job["id"])).state == "running"
    s = world.runtime.settings
    world.manual.advance(s.cancel_after + s.adoption_margin)
    await client.post("/api/process-queue", headers=PROCESSOR)
    assert (await world.runtime.records.read(job["id"])).state == "delayed"


@pytest.mark.parametrize(
    ("prediction", "code"),
    [
        (Prediction("p1", "completed", output=None, removed=True), "result_expired"),
        (Prediction("p1", "completed", output="x" * 8_000_001), "output_too_large"),
        (Prediction("p1", "failed", error="NSFW content detected"), "content_policy"),
        (Prediction("p1", "canceled"), "expired"),
    ],
)
async def test_an_end_without_a_result_is_failed_and_says_why(
    valkey_world: World, prediction: Prediction, code: str
) -> None:
    job_id = await valkey_world.enqueue(start=True)
    valkey_world.provider.states["p1"] = prediction
    async with http_client() as client:
        await client.post(await webhook_url(valkey_world, job_id), content=b"p1")
        document = await status_of(client, job_id)
    assert (document["status"], document["error"]["code"], document["error"]["retryable"]) == ("failed", code, False)
