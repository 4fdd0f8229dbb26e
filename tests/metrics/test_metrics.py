"""What `GET /api/metrics` says, to whom, and what it costs."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.rest_server.running import RunningServer
from shared.cache import MAX_VALUE
from shared.clock import SystemClock
from shared.sums import Sums
from tests.costs import COSTS
from tests.http.calls import problem
from tests.world import METRICS, OPERATOR, PROCESSOR, World, http_client, make_world

PATH = "/api/metrics"
PROMTOOL = shutil.which("promtool")
EVERYTHING = {"count_commands": True, "commands_quota": 500_000, "statistics": True}
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
async def scraper(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**METRICS) as made:
        yield made


def values_of(text: str) -> Values:
    """Each sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(client: httpx.AsyncClient) -> Values:
    answer = await client.get(PATH)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return values_of(answer.text)


async def test_a_scrape_has_lengths_limits_and_the_last_tick(world: World, scraper: httpx.AsyncClient) -> None:
    for user in ("ada", "bob", "cleo"):
        await world.enqueue(user)
    await world.runtime.queue.claim(1)
    await scraper.post("/api/process-queue", headers=PROCESSOR)
    found = await scrape(scraper)
    running, ready = (found[f"sluice_jobs_{name}", (("queue", "video"),)] for name in ("running", "ready"))
    assert running + ready == 3 and running >= 1
    assert found["sluice_running_limit", ()] == world.runtime.settings.max_concurrent_tasks
    assert found["sluice_queue_running_limit", (("queue", "storyboard"),)] == 3
    assert found["sluice_provider_refusing", (("provider", "replicate"),)] == 0
    assert found["sluice_last_tick_timestamp_seconds", ()] == world.clock.now() / 1000
    assert ("sluice_store_commands_forecast", ()) not in found


async def test_a_scrape_has_a_pause_and_a_limit_of_the_operator(world: World, scraper: httpx.AsyncClient) -> None:
    change = {"queues": {"video": 0}, "system": 2}
    assert (await scraper.patch("/api/operate/limits", json=change, headers=OPERATOR)).status_code == 200
    found = await scrape(scraper)
    assert found["sluice_queue_running_limit", (("queue", "video"),)] == 0
    assert found["sluice_running_limit", ()] == 2


async def test_an_answer_is_kept_for_a_moment(world: World, scraper: httpx.AsyncClient) -> None:
    before = await scrape(scraper)
    await world.enqueue("ada")
    assert await scrape(scraper) == before
    world.runtime.cache.forget_all("metrics")
    assert (await scrape(scraper))["sluice_jobs_ready", (("queue", "video"),)] == 1


async def test_the_metrics_token_opens_nothing_else(scraper: httpx.AsyncClient) -> None:
    for path in ("/api/process-queue", "/api/operate/limits", "/api/jobs", "/api/operate/usage"):
        problem(await scraper.get(path), 401, "unauthenticated")
    problem(await scraper.get(PATH, headers=PROCESSOR), 401, "unauthenticated")
    assert (await scraper.get(PATH, headers=OPERATOR)).status_code == 200


async def test_counters_and_histograms_are_those_of_the_statistics(any_store: RunningServer | None) -> None:
    clock = SystemClock()
    async with make_world(any_store, clock, **EVERYTHING) as world, http_client(**METRICS) as client:
        done, failed = await world.enqueue("ada"), await world.enqueue("bob", model="acme/other")
        await world.runtime.queue.claim(2)
        for number, job_id in enumerate((done, failed)):
            await world.runtime.queue.record(job_id, 1, f"p{number}")
        await world.runtime.queue.finish(done, 1, "p0", "completed", {"output": "x"})
        await world.runtime.queue.finish(failed, 1, "p1", "canceled", {})
        found = await scrape(client)
        sums = (await world.runtime.statistics.totals()).sums
    series = (("model", "acme/video"), ("provider", "replicate"), ("queue", "video"))
    assert found["sluice_job_moves_total", (series[0], ("move", "completed"), *series[1:])] == 1
    odd = (("model", "acme/other"), ("move", "accepted"), ("provider", "replicate"), ("queue", "video"))
    assert found["sluice_job_moves_total", odd] == 1
    assert found["sluice_job_run_seconds_count", series] == 1
    assert found["sluice_job_run_seconds_bucket", (("le", "+Inf"), *series)] == 1
    assert Sums.read(sums.written()).of["video|replicate|acme/video"]["completed"] == 1
    assert found["sluice_store_commands_quota", ()] == 500_000


async def test_each_count_of_processes_appears(any_store: RunningServer | None) -> None:
    async with make_world(any_store, SystemClock(), **EVERYTHING) as world, http_client(**METRICS) as client:
        assert world.runtime.sending is not None
        names = ("cache.hits", "cache.loads", "copies.stored", "copied_bytes", "unreadable")
        for number, name in enumerate(names, 1000):
            world.runtime.sending.tally.count(name, number)
        found = await scrape(client)
    for number, name in enumerate(names, 1000):
        assert found["sluice_work_total", (("kind", name),)] >= number


async def test_an_answer_with_many_models_is_kept_too(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock(), **EVERYTHING) as world, http_client(**METRICS) as client:
        sending = world.runtime.sending
        assert sending is not None
        for model in range(40):
            for name in ("wait", "run", "store", "tell"):
                sending.tally.time(name, 1000, series=f"video|replicate|acme/m{model}")
        first = await client.get(PATH)
        assert len(first.content) > MAX_VALUE
        valkey.reset_bill()
        assert (await client.get(PATH)).content == first.content
        assert valkey.bill().calls == 0


async def test_a_wrong_token_is_told_of_the_metrics_token(world: World, scraper: httpx.AsyncClient) -> None:
    answer = await scraper.get(PATH, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401 and "metrics' token" in answer.json()["detail"]


async def test_a_scrape_costs_what_the_table_says(valkey: RunningServer) -> None:
    counted = {}
    every = {"count_commands": True}
    for name, changes in (
        ("scrape of the metrics, two queues and two API keys", {}),
        ("the same, with the own count of commands", every),
        ("the same, with statistics too, and their fold", every | {"statistics": True}),
    ):
        async with make_world(valkey, SystemClock(), **changes) as world, http_client(**METRICS) as client:
            if "count_commands" in changes:
                world.runtime.store._left = _Never()  # type: ignore[attr-defined]
            if "statistics" in changes:
                await client.get(PATH)  # the store knows the fold's script then
                world.runtime.cache.forget_all("metrics")
            valkey.reset_bill()
            await client.get(PATH)
            counted[name] = (valkey.bill().calls, valkey.bill().billed)
            valkey.reset_bill()
            await client.get(PATH)
            counted["scrape of the metrics from the cache"] = (valkey.bill().calls, valkey.bill().billed)
    assert counted == {name: COSTS[name] for name in counted}


class _Never(dict[str, int]):
    """Lets no call count itself."""

    def get(self, key: str, default: object = None) -> int:
        return 1


@pytest.mark.skipif(
    PROMTOOL is None and "CI" not in os.environ, reason="promtool is not on PATH (apt install prometheus)"
)
async def test_promtool_has_nothing_to_say_against_it(any_store: RunningServer | None) -> None:
    async with make_world(any_store, SystemClock(), **EVERYTHING) as world, http_client(**METRICS) as client:
        await world.enqueue("ada")
        await world.runtime.queue.claim(1)
        text = (await client.get(PATH)).content
    assert PROMTOOL is not None
    ran = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, b"")
