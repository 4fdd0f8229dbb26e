"""The operator reads one job of any API key: all that is kept of it, and its input."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.budget import Budget
from shared.clock import iso
from shared.config.access import EVERY_OWNER
from shared.providers.base import Unknown
from tests.http.calls import problem
from tests.http.history import end
from tests.logs import all_logs
from tests.world import AUTH, OPERATOR, OTHER_AUTH, World, http_client, settings_for

JOBS = "/api/operate/jobs"


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def test_a_job_shows_its_attempts_its_prediction_and_its_steps(world: World, client: httpx.AsyncClient) -> None:
    queue, begun = world.runtime.queue, world.clock.now()
    job_id = await world.enqueue("ada", start=True, owner="other", metadata={"order": "7"})
    world.manual.advance(2)
    await queue.fail(job_id, 1, "", code="provider_down", detail="it broke", retryable=True)
    world.manual.advance(600)
    (claimed,) = (await queue.claim(1)).started
    second = world.clock.now()
    world.manual.advance(1)
    await queue.record(job_id, claimed.attempt, "p2")
    shown = (await client.get(f"{JOBS}/{job_id}")).json()
    (failed,) = shown["failed_attempts"]
    assert (failed["code"], failed["at"]) == ("provider_down", iso(begun + 2000))
    steps = shown.pop("timeline")
    assert [entry["step"] for entry in steps] == ["created", "attempt_failed", "submitted", "started", "next_check"]
    assert [entry["at"] for entry in steps[:4]] == [
        iso(begun), iso(begun + 2000), iso(second), iso(second + 1000),
    ]  # fmt: skip
    assert shown | {"links": None, "failed_attempts": None} == {
        "id": job_id, "status": "processing", "stage": "running", "queue": "video", "provider": "replicate",
        "model": "acme/video", "user_id": "ada", "priority": 3, "batch_id": None, "created_at": iso(begun),
        "ended_at": None, "error": shown["error"], "links": None, "key": "other", "state": "running", "tier": "free",
        "attempts": 2, "max_attempts": shown["max_attempts"], "snoozes": 0, "refusals": 0, "prediction": "p2",
        "held_by": None, "is_unknown": False, "cancel_requested": False, "retry_of": None, "redriven_as": None,
        "failed_attempts": None, "metadata": {"order": "7"},
    }  # fmt: skip


async def test_a_job_of_unknown_outcome_shows_until_when_it_may_be_adopted(
    world: World, client: httpx.AsyncClient
) -> None:
    world.provider.outcomes = [Unknown("status 503")]
    job_id = await world.enqueue("ada")
    await world.runtime.dispatcher.run(Budget(60))
    shown = (await client.get(f"{JOBS}/{job_id}")).json()
    assert (shown["is_unknown"], shown["state"], shown["prediction"]) == (True, "submitting", None)
    assert [entry["step"] for entry in shown["timeline"]] == ["created", "submitted", "next_check", "adoption_ends"]


async def test_a_waiting_job_shows_when_it_expires_and_an_ended_one_when_it_ended(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await world.enqueue("ada")
    shown = (await client.get(f"{JOBS}/{job_id}")).json()
    assert [entry["step"] for entry in shown["timeline"]] == ["created", "expires"]
    world.manual.advance(5)
    await world.runtime.queue.cancel(job_id, "app")
    shown = (await client.get(f"{JOBS}/{job_id}")).json()
    assert [entry["step"] for entry in shown["timeline"]] == ["created", "ended"]
    assert (shown["status"], shown["state"]) == ("canceled", "done")


async def test_an_input_is_read_by_itself_and_the_log_says_so(world: World, client: httpx.AsyncClient) -> None:
    given = {"prompt": "a secret 世界", "seed": 7, "images": ["https://example.com/a.png"]}
    job_id = await world.enqueue("ada", owner="other", input=given)
    assert "secret" not in (await client.get(f"{JOBS}/{job_id}")).text
    with all_logs() as lines:
        shown = (await client.get(f"{JOBS}/{job_id}/input")).json()
    assert shown == {"id": job_id, "key": "other", "user_id": "ada", "model": "acme/video", "input": given}
    (line,) = [line for line in lines if line["event"] == "input_read"]
    assert (line["job"], line["owner"], line["user"]) == (job_id, "other", "ada") and "secret" not in str(lines)


@pytest.mark.parametrize("job_id", ["unknown", "no%20id", "a" * 65])
async def test_what_does_not_exist_is_not_found(world: World, client: httpx.AsyncClient, job_id: str) -> None:
    for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/input"):
        problem(await client.get(path), 404, "job_not_found")


async def test_an_application_reads_neither_even_of_its_own_job(world: World) -> None:
    job_id = await world.enqueue("ada")
    async with http_client(**AUTH) as application:
        for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/input"):
            problem(await application.get(path), 401, "unauthenticated")


async def test_each_read_is_one_call_and_one_command(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    job_id = await world.enqueue("ada")
    async with http_client(**OPERATOR) as client:
        for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/input"):
            world.server.reset_bill()
            assert (await client.get(path)).status_code == 200
            assert (world.server.bill().calls, world.server.bill().billed) == (1, 1)


async def test_the_operator_reads_the_status_result_deliveries_and_batch_of_every_key(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await world.enqueue("ada", owner="other", start=True)
    await world.runtime.queue.record(job_id, 1, f"p-{job_id}")
    await end(world, job_id, output={"text": "x"})
    async with http_client(**OTHER_AUTH) as owner:
        body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}]}
        batch = (await owner.post("/api/batches", json=body)).json()["id"]
        for path in (f"status/{job_id}", f"jobs/{job_id}/result", f"jobs/{job_id}/deliveries"):
            assert (await client.get(f"/api/{path}")).json() == (await owner.get(f"/api/{path}")).json()
        for path in (f"batches/{batch}?count=1", f"batches/{batch}/deliveries"):
            assert (await client.get(f"/api/{path}")).json() == (await owner.get(f"/api/{path}")).json()
        etag = (await owner.get(f"/api/status/{job_id}")).headers["etag"]
        answer = await client.get(f"/api/status/{job_id}", headers={"If-None-Match": etag})
        assert answer.status_code == 304


async def test_a_strangers_read_after_the_operators_finds_nothing(world: World, client: httpx.AsyncClient) -> None:
    """Both go through one cache."""
    job_id = await world.enqueue("ada", owner="other")
    assert (await client.get(f"/api/status/{job_id}")).status_code == 200
    async with http_client(**AUTH) as stranger:
        for path in (f"status/{job_id}", f"jobs/{job_id}/result", f"jobs/{job_id}/deliveries"):
            problem(await stranger.get(f"/api/{path}"), 404, "job_not_found")


@pytest.mark.parametrize("path", ["status/{}", "jobs/{}/result", "jobs/{}/deliveries"])
async def test_the_operator_finds_no_job_that_there_is_not(world: World, client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(f"/api/{path.format('unknown')}"), 404, "job_not_found")
    batch = path.replace("status", "batches").replace("jobs", "batches").replace("/result", "")
    problem(await client.get(f"/api/{batch.format('unknown')}"), 404, "batch_not_found")


def test_no_api_key_can_have_the_name_of_every_owner() -> None:
    with pytest.raises(ValueError, match="names of letters, digits"):
        settings_for(None, api_keys=f"{EVERY_OWNER}:a-key-that-is-long-enough-for-this")
