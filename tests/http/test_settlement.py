"""The operator settles a submission of unknown outcome by hand."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.budget import Budget
from shared.providers.base import Prediction, Unknown
from tests.http.calls import problem
from tests.world import AUTH, OPERATOR, World, http_client


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def lose(world: World) -> str:
    world.provider.outcomes = [Unknown("status 503")]
    job_id = await world.enqueue()
    await world.runtime.dispatcher.run(Budget(60))
    return job_id


def path(job_id: str) -> str:
    return f"/api/operate/jobs/{job_id}/settle"


async def test_the_statistics_list_unknown_submissions(world: World, client: httpx.AsyncClient) -> None:
    job_id = await lose(world)
    stats = (await client.get("/api/process-queue")).json()
    assert stats["unknown"] == 1 and [job["id"] for job in stats["unknown_jobs"]] == [job_id]
    await client.post(path(job_id), json={"outcome": "not_made"})
    stats = (await client.get("/api/process-queue")).json()
    assert stats["unknown"] == 0 and stats["unknown_jobs"] == []
    assert stats["counters"]["unknown"] == stats["counters"]["settled"] == 1


async def test_what_was_not_made_has_failed_and_is_tried_again(world: World, client: httpx.AsyncClient) -> None:
    job_id = await lose(world)
    answer = await client.post(path(job_id), json={"outcome": "not_made"})
    assert answer.json() == {"id": job_id, "status": "pending", "prediction": None}
    job = await world.runtime.records.read(job_id)
    assert job.state == "delayed" and job.failed_attempts[0]["code"] == "provider_down"
    problem(await client.post(path(job_id), json={"outcome": "not_made"}), 409, "not_unknown")


@pytest.mark.parametrize(("status", "shown"), [("running", "processing"), ("completed", "completed")])
async def test_what_was_made_goes_on_from_where_it_is(
    world: World, client: httpx.AsyncClient, status: str, shown: str
) -> None:
    job_id = await lose(world)
    world.provider.states["p7"] = Prediction("p7", status, output="x")  # type: ignore[arg-type]
    answer = await client.post(path(job_id), json={"outcome": "made", "prediction": "p7"})
    assert answer.json() == {"id": job_id, "status": shown, "prediction": "p7"}


async def test_what_was_made_for_a_cancelled_job_is_cancelled(world: World, client: httpx.AsyncClient) -> None:
    job_id = await lose(world)
    await world.runtime.queue.cancel(job_id, "app")
    world.provider.states["p7"] = Prediction("p7", "running")
    answer = await client.post(path(job_id), json={"outcome": "made", "prediction": "p7"})
    assert answer.json()["status"] == "canceled" and world.provider.canceled == ["p7"]


async def test_a_provider_that_is_silent_is_asked_later(world: World, client: httpx.AsyncClient) -> None:
    job_id = await lose(world)
    world.provider.is_silent = True
    answer = await client.post(path(job_id), json={"outcome": "made", "prediction": "p7"})
    assert answer.json() == {"id": job_id, "status": "processing", "prediction": "p7"}


async def test_a_prediction_of_another_job_and_an_unknown_one_are_refused(
    world: World, client: httpx.AsyncClient
) -> None:
    other = await world.enqueue("bob", start=True)
    await world.runtime.queue.record(other, 1, "owned")
    job_id = await lose(world)
    world.provider.states["owned"] = Prediction("owned", "running")
    taken = await client.post(path(job_id), json={"outcome": "made", "prediction": "owned"})
    assert problem(taken, 422, "invalid_request")["field"] == "prediction"
    absent = await client.post(path(job_id), json={"outcome": "made", "prediction": "nosuch"})
    assert problem(absent, 422, "invalid_request")["field"] == "prediction"
    assert (await world.runtime.records.read(job_id)).is_lost


async def test_a_job_that_was_submitted_over_http_can_be_settled(world: World, client: httpx.AsyncClient) -> None:
    world.provider.outcomes = [Unknown("status 503")]
    async with http_client(**AUTH) as application:
        body = {"model": "acme/video", "input": {"prompt": "x"}, "user_id": "ada"}
        job_id = (await application.post("/api/submit", json=body)).json()["id"]
    answer = await client.post(path(job_id), json={"outcome": "not_made"})
    assert answer.json() == {"id": job_id, "status": "pending", "prediction": None}


async def test_only_an_unknown_submission_can_be_settled(world: World, client: httpx.AsyncClient) -> None:
    waiting, submitting = await world.enqueue(), await world.enqueue("bob", start=True)
    for job_id in (waiting, submitting):
        problem(await client.post(path(job_id), json={"outcome": "not_made"}), 409, "not_unknown")
    problem(await client.post(path("nosuch"), json={"outcome": "not_made"}), 404, "job_not_found")
    problem(await client.post(path("no:id"), json={"outcome": "not_made"}), 404, "job_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"outcome": "made"}, {"outcome": "not_made", "prediction": "p1"}, {"outcome": "lost"},
        {"outcome": "made", "prediction": "a b"}, {"outcome": "not_made", "more": 1},
    ],
)  # fmt: skip
async def test_a_body_that_says_nothing_clear_is_refused(
    world: World, client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    job_id = await lose(world)
    answer = await client.post(path(job_id), json=body)
    assert answer.status_code == 422
    assert (await client.post(path(job_id), content=b"no json")).status_code in (400, 415, 422)
    assert (await world.runtime.records.read(job_id)).is_lost


async def test_an_application_may_not_settle(world: World) -> None:
    job_id = await lose(world)
    async with http_client(**AUTH) as stranger:
        problem(await stranger.post(path(job_id), json={"outcome": "not_made"}), 401, "unauthenticated")
