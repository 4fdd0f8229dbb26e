"""The whole system over real HTTP: many jobs, several instances, overlapping ticks, and no ticks."""

import asyncio
import contextlib
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.deployment import Deployment, poll_until_terminal, running_deployment
from tests.world import AUTH, PROCESSOR

MODEL = "acme/text-to-video"
FULL = 15  # simultaneous runs: as many show that the limits were reached
RUN = 100.0  # s of the provider's clock, which the test moves

# No deadline passes because the machine is slow.
PATIENT = {
    "STORE_CONNECT_TIMEOUT": "20", "STORE_TRY_TIMEOUT": "25", "STORE_TOTAL_TIMEOUT": "55", "PROVIDER_TIMEOUT": "60",
    "FUNCTION_MAX_DURATION": "800",
}  # fmt: skip


async def submit(client: httpx.AsyncClient, url: str, user: str, prompt: str, **changes: Any) -> str:
    queue = changes.pop("queue", "video")
    simulate = {"seconds": 0.05, "start_delay": 0.0, "group": [f"user:{user}", f"queue:{queue}"], **changes}
    body = {"model": MODEL, "input": {"prompt": prompt, "simulate": simulate}, "user_id": user, "queue": queue}
    answer = await client.post(f"{url}/api/submit", json=body, headers=AUTH)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
async def test_three_hundred_jobs_and_five_tickers_exceed_no_limit_and_submit_nothing_twice(
    valkey: RunningServer, simulator: RunningSimulator
) -> None:
    limits = {"MAX_CONCURRENT_TASKS": "20", "QUEUE_CONCURRENCY": "14", "STORYBOARD_CONCURRENCY": "8"}
    with running_deployment(valkey, simulator, limits | PATIENT, instances=2) as deployment:
        async with httpx.AsyncClient(timeout=300, limits=httpx.Limits(max_connections=60)) as client:
            works = [(f"user{n % 100}", f"work {n}", "storyboard" if n % 3 == 0 else "video") for n in range(300)]
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(tick_for_ever(client, deployment, n)) for n in range(5)]
                others.append(group.create_task(end_runs(simulator)))
                jobs = await asyncio.gather(
                    *(
                        submit(client, deployment.url(n, ""), user, prompt, queue=queue, seconds=RUN)
                        for n, (user, prompt, queue) in enumerate(works)
                    )
                )
                documents = [await poll_until_terminal(client, deployment.urls[0], job) for job in jobs]
                for other in others:
                    other.cancel()
    assert len(set(jobs)) == 300
    assert {document["status"] for document in documents} == {"completed"}
    census = simulator.census()
    assert all(census.creates_of(MODEL, prompt).predictions == 1 for _, prompt, _ in works)
    assert FULL <= census.max_running_total <= 20
    assert census.max_running["queue:video"] <= 14
    assert census.max_running["queue:storyboard"] <= 8
    assert max(census.max_running[f"user:user{n}"] for n in range(100)) <= 3


async def end_runs(simulator: RunningSimulator) -> None:
    """Moves the provider's clock past the end of all runs: once the limits are reached, and then five times a second.

    Limits are reached by count, so that a slow machine reaches them too.
    """
    is_full = False
    while True:
        await asyncio.sleep(0.2)
        with contextlib.suppress(httpx.TimeoutException):  # leaves time for the simulator
            is_full = is_full or (await asyncio.to_thread(simulator.census)).running >= FULL
            if is_full:
                await asyncio.to_thread(simulator.advance, RUN)


async def tick_for_ever(client: httpx.AsyncClient, deployment: Deployment, number: int) -> None:
    while True:
        answer = await client.post(deployment.url(number, "/api/process-queue"), headers=PROCESSOR)
        assert answer.status_code == 200, answer.text


async def test_without_any_tick_retries_and_lost_webhooks_come_to_their_end(
    valkey: RunningServer, simulator: RunningSimulator
) -> None:
    timing = {
        "QUEUE_RETRY_DELAY": "300",
        "FIRST_CHECK_AFTER": "1",
        "CHECK_INTERVAL": "2",
        "WAITING_CHECK_INTERVAL": "1",
    }
    with running_deployment(valkey, simulator, {"MAX_CONCURRENT_TASKS": "2", **timing}) as deployment:
        async with httpx.AsyncClient(timeout=60) as client:
            url = deployment.urls[0]
            failing = {"fail_times": 1, "error": "CUDA out of memory"}
            jobs = [
                await submit(client, url, "ada", "fails once", **failing),
                await submit(client, url, "ada", "loses its webhook", webhook="lose"),
                await submit(client, url, "grace", "is throttled once", create="429", create_times=1, retry_after=1),
                await submit(client, url, "grace", "ends before it is recorded", webhook="overtake"),
                await submit(client, url, "eve", "gets its webhook twice", webhook="duplicate"),
                await submit(client, url, "eve", "loses its webhook too", webhook="lose"),
            ]
            documents = await asyncio.gather(*(poll_until_terminal(client, url, job) for job in jobs))
    assert [document["status"] for document in documents] == ["completed"] * 6
    assert [document["attempts"] for document in documents] == [2, 1, 1, 1, 1, 1]


async def test_jobs_of_one_instance_are_not_lost_without_polls(
    valkey: RunningServer, simulator: RunningSimulator
) -> None:
    timing = {"FIRST_CHECK_AFTER": "1", "CHECK_INTERVAL": "2"}
    with running_deployment(valkey, simulator, {"MAX_CONCURRENT_TASKS": "1", **timing}) as deployment:
        async with httpx.AsyncClient(timeout=60) as client:
            url = deployment.urls[0]
            unwatched = await submit(client, url, "ada", "loses its webhook", webhook="lose")
            # No poll reads its status; other users' submits have to notice it.
            for number in range(60):
                await submit(client, url, f"user{number}", f"other {number}", seconds=0.0)
                if (await poll_once(client, valkey, unwatched)) == "done":
                    break
                await asyncio.sleep(0.1)
            assert await poll_once(client, valkey, unwatched) == "done"


async def poll_once(client: httpx.AsyncClient, server: RunningServer, job_id: str) -> str:
    """The job's state in the store: read past the functions, because a poll would repair it."""
    state = server.ask("HGET", f"sluice:test:j:{job_id}", "state")
    return state.decode() if isinstance(state, bytes) else ""
