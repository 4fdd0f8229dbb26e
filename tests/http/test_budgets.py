"""What callers see of prices and budgets."""

from typing import Any

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.documents.event import job_event
from shared.jobqueue.record import JobRecord
from shared.providers.base import Prediction
from tests.http.calls import BODY, problem, status_of, webhook_url
from tests.world import AUTH, http_client, make_world

PRICES = {"default": {"run": 0.5}}
BUDGETS = {"user": {"day": 1.0}}


async def test_a_submit_beyond_a_budget_gets_429_and_when_to_come_again(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    changes: dict[str, Any] = {"prices": PRICES, "budgets": BUDGETS, "max_user_tasks": 10}
    async with make_world(any_store, clock, **changes), http_client() as client:
        for _ in range(2):
            assert (await client.post("/api/submit", json=BODY, headers=AUTH)).status_code == 202
        refused = await client.post("/api/submit", json=BODY, headers=AUTH)
        document = problem(refused, 429, "budget_exceeded")
        assert document["field"] == "user_id" and document["retryable"]
        assert 0 < int(refused.headers["Retry-After"]) <= 86_400
        other = await client.post("/api/submit", json={**BODY, "user_id": "someone-else"}, headers=AUTH)
        assert other.status_code == 202


async def test_the_status_of_an_ended_job_tells_its_cost(any_store: RunningServer | None, clock: ManualClock) -> None:
    async with make_world(any_store, clock, prices=PRICES) as world, http_client() as client:
        job_id = (await client.post("/api/submit", json=BODY, headers=AUTH)).json()["id"]
        assert (await status_of(client, job_id))["cost"] is None
        world.provider.states["p1"] = Prediction("p1", "completed", output="a boat")
        url = await webhook_url(world, job_id, incarnation=await world.incarnation_of(job_id))
        assert (await client.post(url, content=b"p1")).status_code == 200
        assert (await status_of(client, job_id))["cost"] == 0.5


def test_the_event_of_an_end_tells_the_cost_and_that_of_a_start_does_not() -> None:
    fields = {"state": "done", "outcome": "completed", "charged": "125000", "output": "1", "created_at": "1"}
    job = JobRecord("job_1", fields)
    assert job_event(job, "completed", str, gone_before=0)["cost"] == 0.125
    assert "cost" not in job_event(job, "processing", str, gone_before=0)
