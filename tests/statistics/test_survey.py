"""The operator sees what the queue does now, in the last hour, and in any time by steps and groups."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.statistics.folding import HOUR, MINUTE
from tests.statistics.jobs import run_job
from tests.world import AUTH, OPERATOR, World, http_client, make_world

PATH = "/api/operate/statistics"


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def read(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_counters_and_the_last_hour_show_refusals(world: World, client: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await client.post("/api/submit", json={}, headers=AUTH)).status_code == 422
    document = (await client.get("/api/process-queue")).json()
    assert document["counters"] == {"refused": 3}
    assert document["recent"]["refused"] == {"invalid_request": 3}
    assert document["recent"]["submitted"] == 3
    assert document["oldest_startable_age_seconds"] is None


async def test_the_last_hour_has_waits_runs_and_the_success_rate(world: World, client: httpx.AsyncClient) -> None:
    await run_job(world, waits=10, runs=100)
    await run_job(world, waits=10, runs=50)
    await run_job(world, outcome="failed")
    await world.enqueue()
    world.manual.advance(40)
    document = (await client.get("/api/process-queue")).json()
    recent = document["recent"]
    assert (recent["accepted"], recent["completed"], recent["failed"]) == (4, 2, {"invalid_input": 1})
    assert recent["success_rate"] == 0.6667
    assert recent["wait"]["count"] == 3 and 5 < recent["wait"]["p99"] <= 10
    assert 45 < recent["run"]["p50"] <= 60 and 90 < recent["run"]["p99"] <= 120
    assert recent["tell"] == {"count": 0, "p50": None, "p95": None, "p99": None}
    assert document["oldest_startable_age_seconds"] == 40
    world.manual.advance(3700)
    assert (await client.get("/api/process-queue")).json()["recent"]["completed"] == 0


async def test_steps_and_groups_sum_to_the_whole(world: World, client: httpx.AsyncClient) -> None:
    world.manual.true_now = first = world.clock.now() // HOUR * HOUR
    for number in range(6):
        await run_job(world, model=f"acme/m{number % 2}", queue="storyboard" if number % 3 else "video", runs=300)
    last = str(iso(world.clock.now()))
    found = await read(client, **{"from": str(iso(first)), "to": last, "step": "5m", "by": "model"})
    assert found["is_kept"] and found["step_seconds"] == 300 and found["begins_at"] == str(iso(first))
    assert {name: group["completed"] for name, group in found["groups"].items()} == {"acme/m0": 3, "acme/m1": 3}
    assert sum(step["jobs"]["completed"] for step in found["steps"]) == found["jobs"]["completed"] == 6
    for step in found["steps"]:
        assert sum(group["completed"] for group in step["groups"].values()) == step["jobs"]["completed"]
    by_queue = await read(client, **{"from": str(iso(first)), "to": last, "by": "queue"})
    assert {name: group["completed"] for name, group in by_queue["groups"].items()} == {"video": 2, "storyboard": 4}
    assert found["now"]["running"] == 0
    world.manual.advance(26 * 3600)
    by_hour = await read(client, **{"from": str(iso(first)), "to": last, "step": "1h"})
    assert by_hour["jobs"]["completed"] == 6 and by_hour["groups"] == {}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"step": "7m"}, "step"),
        ({"by": "user"}, "by"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T07:00:00Z"}, None),
        ({"from": "2020-01-15T08:00:00Z", "step": "1h"}, "step"),
        ({"from": "2027-01-13T08:00:00Z", "step": "15m"}, "step"),
        ({"from": "2026-09-01T08:00:00Z", "step": "6h"}, "from"),
        ({"since": "1"}, "since"),
    ],
)
async def test_a_query_that_cannot_be_answered_names_the_field(
    clock: ManualClock, query: dict[str, str], field: str | None
) -> None:
    async with make_world(None, clock, statistics=True), http_client(**OPERATOR) as client:
        answer = await client.get(PATH, params=query)
    assert answer.status_code == 422
    assert answer.json().get("field") == field


async def test_without_the_setting_the_queue_is_shown_and_nothing_else_is_read(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock), http_client(**OPERATOR) as client:
        await client.get("/api/process-queue")
        valkey.reset_bill()
        document = (await client.get("/api/process-queue")).json()
        assert "recent" not in document and document["counters"] == {}
        assert valkey.bill().calls == 1
        found = await read(client)
    assert found["is_kept"] is False and found["jobs"]["submitted"] == 0
    assert len(found["steps"]) == 12 and MINUTE == 60_000


async def test_a_day_of_minutes_can_be_asked_for(world: World, client: httpx.AsyncClient) -> None:
    since = str(iso(world.clock.now() - 24 * HOUR))
    assert len((await read(client, **{"from": since, "step": "1m"}))["steps"]) in (1440, 1441)
