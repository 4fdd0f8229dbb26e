"""The requirements of the documents that commissioned this system, one test each."""

from collections.abc import AsyncIterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import ManualClock
from shared.jobqueue import priority
from tests.world import AUTH, World, http_client, make_world

ENGLISH = "This user has 3 live tasks and may have 3. Wait until one has ended."
CHINESE = "该用户已有 3 个进行中的任务，最多允许 3 个。请等待其中一个任务结束后再提交。"  # noqa: RUF001
BODY = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": "ada"}


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made


@pytest.mark.parametrize(
    ("accepted", "language", "detail"),
    [
        ("", "en", ENGLISH),
        ("en-GB,en;q=0.8,zh;q=0.5", "en", ENGLISH),
        ("fr", "en", ENGLISH),
        (
            "zh-CN,zh;q=0.9,en;q=0.8",
            "zh",
            CHINESE,
        ),
        ("en;q=0.1,zh", "zh", CHINESE),
        ("en;q=0.1, ZH-tw ; Q=0.9", "zh", CHINESE),
    ],
)
async def test_the_fourth_live_task_of_a_user_is_refused_in_the_users_language(
    world: World, client: httpx.AsyncClient, accepted: str, language: str, detail: str
) -> None:
    for _ in range(3):
        assert (await client.post("/api/submit", json=BODY)).status_code == 202
    answer = await client.post("/api/submit", json=BODY, headers={"Accept-Language": accepted})
    assert (answer.status_code, answer.json()["code"]) == (429, "user_limit_reached")
    assert (answer.headers["content-language"], answer.json()["detail"]) == (language, detail)
    assert int(answer.headers["retry-after"]) > 0


async def test_five_run_system_wide_and_the_sixth_waits(world: World, client: httpx.AsyncClient) -> None:
    answers = [await client.post("/api/submit", json=BODY | {"user_id": f"user{n}"}) for n in range(6)]
    assert [answer.json()["status"] for answer in answers] == ["processing"] * 5 + ["pending"]
    assert answers[5].json()["queue_position"] == 1


@pytest.mark.exhaustive
async def test_a_thousand_wait_and_the_next_is_refused(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, dispatch_on_submit=False) as world, http_client(**AUTH) as client:
        for n in range(1000):
            await world.enqueue(f"user{n}")
        answer = await client.post("/api/submit", json=BODY)
        assert (answer.status_code, answer.json()["code"]) == (503, "queue_full")
        assert int(answer.headers["retry-after"]) > 0


async def started(world: World) -> list[str]:
    return [job.id for _ in range(3) for job in (await world.runtime.queue.claim(1)).started]


async def test_tiers_go_pro_before_premium_before_free(world: World) -> None:
    jobs = [await world.enqueue(tier, tier=tier, job_id=tier) for tier in ("free", "premium", "pro")]
    assert await started(world) == jobs[::-1]


async def test_priority_five_goes_before_one(world: World) -> None:
    jobs = [await world.enqueue(f"user{level}", priority=level) for level in (1, 3, 5)]
    assert await started(world) == jobs[::-1]


async def test_under_multiplicative_a_job_waits_with_its_timestamp_times_six_minus_priority(
    any_store: RunningServer | None, clock: ManualClock
) -> None:
    assert [priority.multiplicative(1000, level) for level in range(1, 6)] == [5000, 4000, 3000, 2000, 1000]
    async with make_world(any_store, clock, priority_policy="multiplicative") as world:
        jobs = [await world.enqueue(f"user{level}", priority=level) for level in (1, 3, 5)]
        for job, level in zip(jobs, (1, 3, 5), strict=True):
            assert await world.raw("HGET", world.runtime.queue.keys.job(job), "score") == str(clock.now() * (6 - level))
        assert await started(world) == jobs[::-1]


async def test_a_storyboard_of_ten_images_says_five_of_ten_done(world: World, client: httpx.AsyncClient) -> None:
    jobs = [{"input": {"prompt": f"scene {n}"}} for n in range(10)]
    batch = (await client.post("/api/batches", json={"user_id": "ada", "model": "acme/still", "jobs": jobs})).json()
    for number in range(5):
        job = f"{batch['id']}_{number}"
        prediction = (await world.runtime.records.read(job)).prediction
        life = await world.incarnation_of(job)
        await world.runtime.queue.finish(job, 1, prediction, "completed", {"output": "1"}, incarnation=life)
        await world.runtime.dispatcher.run(Budget(60))
    assert (await client.get(batch["links"]["status"])).json()["progress"] == "5/10"
