"""Dead letters: the operator lists them, drops them, and redrives them in steps that can be repeated."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, iso
from shared.errors import QueueFull, StoreUncertain
from shared.signing.derived import redriven_id
from tests.http.calls import problem
from tests.world import AUTH, OPERATOR, World, http_client, make_world

LETTERS = "/api/operate/dead-letters"
REDRIVE = f"{LETTERS}/redrive"
CHANGES: dict[str, Any] = {
    "queue_max_retries": 0, "dispatch_on_submit": False, "max_concurrent_tasks": 1, "circuit_failures": 0,
}  # fmt: skip


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with one attempt a job and one job at a time, which starts nothing at a submit."""
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made


@pytest.fixture
async def valkey_world(valkey: RunningServer, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(valkey, clock, **CHANGES) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def bury(world: World, user: str = "ada", code: str = "provider_down", **changes: Any) -> str:
    """A job that failed for good."""
    job_id = await world.enqueue(user, **changes)
    queue = world.runtime.queue
    (claimed,) = (await queue.claim(1)).started
    assert claimed.id == job_id
    await queue.record(job_id, 1, f"p-{job_id}")
    await queue.fail(job_id, 1, f"p-{job_id}", code=code, detail="it broke", retryable=True)
    return job_id


async def letters(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    for _ in range(100):
        answer = await client.get(LETTERS, params=query)
        assert answer.status_code == 200, answer.text
        found += [letter["id"] for letter in answer.json()["dead_letters"]]
        query["cursor"] = answer.json()["next_cursor"]
        if query["cursor"] is None:
            return found
    raise AssertionError("the pages come to no end")


async def redrive(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(REDRIVE, json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def new_id(world: World, job_id: str) -> str:
    return redriven_id(world.runtime.settings.signing_key, job_id, "")


async def test_a_dead_letter_shows_the_error_of_each_attempt(world: World, client: httpx.AsyncClient) -> None:
    job_id = await bury(world)
    (letter,) = (await client.get(LETTERS)).json()["dead_letters"]
    now = iso(world.clock.now())
    error = {"code": "provider_down", "class": "provider_down", "detail": "it broke"}
    assert letter | {"links": None} == {
        "id": job_id, "status": "failed", "stage": "done", "queue": "video", "provider": "replicate",
        "model": "acme/video", "user_id": "ada", "priority": 3, "batch_id": None, "created_at": now, "ended_at": now,
        "error": {**error, "retryable": True}, "links": None, "key": "app", "attempts": 1,
        "failed_attempts": [{**error, "attempt": 1, "at": now, "prediction": f"p-{job_id}"}],
    }  # fmt: skip


async def test_dead_letters_are_filtered_and_paged_the_last_to_die_first(
    world: World, client: httpx.AsyncClient
) -> None:
    start = world.clock.now()
    first = await bury(world, "ada", "timeout")
    second = await bury(world, "bob", queue="storyboard")
    world.manual.advance(1)
    third = await bury(world, "ada")
    await world.raw("HSET", world.runtime.queue.keys.job(third), "owner", "other", "model", "acme/other")
    for query, expected in (
        ({}, [third, second, first]),
        ({"user_id": "ada"}, [third, first]),
        ({"key": "other"}, [third]),
        ({"key": "app"}, [second, first]),
        ({"queue": "storyboard"}, [second]),
        ({"model": "acme/other"}, [third]),
        ({"code": "timeout"}, [first]),
        ({"code": "timeout", "user_id": "bob"}, []),
        ({"after": iso(start + 1)}, [third]),
        ({"before": iso(start + 1000)}, [second, first]),
    ):
        for limit in (1, 2, 100):
            assert await letters(client, limit=limit, **query) == expected, query
    await world.raw("DEL", world.runtime.queue.keys.job(second))
    assert await letters(client, limit=1) == [third, first]


async def test_an_api_key_that_there_is_not_is_refused_and_not_echoed(client: httpx.AsyncClient) -> None:
    for answer, field in (
        (await client.get(LETTERS, params={"key": "nobody"}), "key"),
        (await client.post(REDRIVE, json={"filter": {"key": "nobody"}}), "filter"),
    ):
        refused = problem(answer, 422, "invalid_request")
        assert refused["field"] == field and "nobody" not in refused["detail"]


async def test_more_letters_of_one_moment_than_a_page_reads_do_not_stop_the_walk(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await bury(world)
    keys = world.runtime.queue.keys
    now = str(world.clock.now())
    await world.raw("ZADD", keys.dead, *(part for n in range(350) for part in (now, f"a{n:03}")))
    await world.raw("ZADD", keys.dead, *(part for n in range(350) for part in (now, f"z{n:03}")))
    assert await letters(client) == [job_id]


async def test_a_dropped_letter_is_gone_and_its_job_stays(world: World, client: httpx.AsyncClient) -> None:
    job_id = await bury(world)
    answer = await client.delete(f"{LETTERS}/{job_id}")
    assert answer.status_code == 204 and answer.content == b""
    for path in (job_id, "no%20id", "unknown"):
        problem(await client.delete(f"{LETTERS}/{path}"), 404, "job_not_found")
    assert await letters(client) == []
    assert (await world.runtime.records.read(job_id)).status == "failed"


async def test_a_dry_run_shows_the_redrive_and_does_nothing(world: World, client: httpx.AsyncClient) -> None:
    job_id = await bury(world)
    report = await redrive(client, all=True, dry_run=True)
    assert report == {
        "redriven": [{"id": job_id, "redriven_as": new_id(world, job_id)}],
        "skipped": [], "stopped_by": None, "next_cursor": None, "dry_run": True,
    }  # fmt: skip
    assert await letters(client) == [job_id]
    assert await world.raw("EXISTS", world.runtime.queue.keys.job(new_id(world, job_id))) == 0


async def test_all_letters_are_redriven_in_bounded_steps_past_the_users_limit(
    world: World, client: httpx.AsyncClient
) -> None:
    ids = [await bury(world) for _ in range(7)]
    redriven, cursor, calls = [], None, 0
    while calls == 0 or cursor is not None:
        report = await redrive(client, all=True, limit=2, cursor=cursor)
        redriven += report["redriven"]
        cursor, calls = report["next_cursor"], calls + 1
    assert {entry["id"]: entry["redriven_as"] for entry in redriven} == {job: new_id(world, job) for job in ids}
    assert calls == 4 and await letters(client) == []
    states = [(await world.runtime.records.read(new_id(world, job))).state for job in ids]
    assert sorted(states) == ["backlog"] * 4 + ["queued"] * 2 + ["running"]
    assert (await redrive(client, all=True))["redriven"] == []


async def test_a_filter_redrives_what_it_names(world: World, client: httpx.AsyncClient) -> None:
    mine, others = await bury(world, "ada"), await bury(world, "bob")
    report = await redrive(client, filter={"user_id": "ada", "after": "2020-01-01T00:00:00Z"})
    assert [entry["id"] for entry in report["redriven"]] == [mine]
    assert await letters(client) == [others]


async def test_given_ids_are_redriven_once_and_the_others_are_reported(world: World, client: httpx.AsyncClient) -> None:
    keys = world.runtime.queue.keys
    job_id, part, live = await bury(world), await bury(world), await world.enqueue("bob")
    await world.raw("HSET", keys.job(part), "batch", "b1")
    ids = [job_id, part, live, "unknown"]
    for _ in range(2):
        report = await redrive(client, ids=ids)
        assert report["redriven"] == [{"id": job_id, "redriven_as": new_id(world, job_id)}]
        assert report["skipped"] == [
            {"id": part, "code": "batch_not_found"},
            {"id": live, "code": "not_failed"},
            {"id": "unknown", "code": "job_not_found"},
        ]
    first = await redrive(client, ids=ids, limit=3)
    rest = await redrive(client, ids=ids, limit=3, cursor=first["next_cursor"])
    assert [entry["id"] for entry in rest["skipped"]] == ["unknown"] and rest["next_cursor"] is None
    answer = await client.post(REDRIVE, json={"ids": ids[:2], "cursor": first["next_cursor"]})
    assert problem(answer, 422, "invalid_request")["field"] == "cursor"
    async with http_client(**AUTH) as application:
        answer = await application.post(f"/api/jobs/{job_id}/retry")
        assert answer.json()["id"] == new_id(world, job_id)


async def test_a_job_that_waited_too_long_is_a_dead_letter_and_can_be_redriven(
    world: World, client: httpx.AsyncClient
) -> None:
    job_id = await world.enqueue()
    world.manual.advance(world.runtime.settings.queue_list[0].ttl)
    assert (await world.runtime.queue.expire(job_id)).outcome == "failed"
    assert await letters(client, code="expired") == [job_id]
    report = await redrive(client, filter={"code": "expired"})
    assert report["redriven"] == [{"id": job_id, "redriven_as": new_id(world, job_id)}]
    assert await letters(client) == []


@pytest.mark.parametrize("policy", ["best_effort", "all_or_nothing"])
async def test_the_failed_jobs_of_a_batch_are_redriven_in_their_places(
    world: World, client: httpx.AsyncClient, policy: str
) -> None:
    queue, body = world.runtime.queue, {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 3}
    async with http_client(**AUTH) as application:
        batch = (await application.post("/api/batches", json={**body, "policy": policy})).json()["id"]
    for number in range(1 if policy == "all_or_nothing" else 2):
        own = await world.incarnation_of(f"{batch}_{number}")
        said: Any = {"code": "provider_down", "detail": "", "retryable": True}
        await queue.claim(1)
        await queue.record(f"{batch}_{number}", 1, f"p{number + 1}", incarnation=own)
        await queue.fail(f"{batch}_{number}", 1, f"p{number + 1}", incarnation=own, **said)
    dead = sorted(await letters(client))
    expected = [{"id": job_id, "redriven_as": f"{job_id}r1"} for job_id in dead]
    assert len(dead) == (1 if policy == "all_or_nothing" else 2)
    assert sorted((await redrive(client, all=True, dry_run=True))["redriven"], key=str) == expected
    assert sorted(await letters(client)) == dead
    for _ in range(2):
        report = await redrive(client, ids=dead)
        assert report["redriven"] == expected and report["skipped"] == []
    assert await letters(client) == []
    if policy == "best_effort":
        assert (await redrive(client, ids=[f"{batch}_2"]))["skipped"] == [{"id": f"{batch}_2", "code": "not_failed"}]
    assert (await world.runtime.records.read(f"{dead[0]}r1")).batch == batch


async def test_a_full_queue_stops_a_redrive_and_the_cursor_goes_on_where_it_stopped(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await bury(world, f"user{number}") for number in range(3)]
    enqueue, room = world.runtime.queue.enqueue, [0]

    async def bounded(*args: Any, **named: Any) -> Any:
        if room[0] == 0:
            raise QueueFull("full", retry_after=1)
        room[0] -= 1
        return await enqueue(*args, **named)

    monkeypatch.setattr(world.runtime.queue, "enqueue", bounded)
    report = await redrive(client, all=True)
    assert (report["stopped_by"], report["redriven"]) == ("queue_full", []) and report["next_cursor"]
    room[0] = 2
    report = await redrive(client, all=True, cursor=report["next_cursor"])
    assert report["stopped_by"] == "queue_full" and len(report["redriven"]) == 2
    room[0] = 9
    report = await redrive(client, all=True, cursor=report["next_cursor"])
    assert report["stopped_by"] is None and report["next_cursor"] is None and len(report["redriven"]) == 1
    assert {(await world.runtime.records.read(job)).redriven_as for job in ids} == {new_id(world, job) for job in ids}


async def test_no_time_left_stops_a_redrive_before_it_does_anything(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bury(world)
    monkeypatch.setattr("shared.budget.Budget.left", 1.0)
    report = await redrive(client, all=True)
    assert (report["stopped_by"], report["redriven"]) == ("out_of_time", []) and report["next_cursor"]


async def test_a_lost_answer_in_the_midst_of_a_redrive_is_healed_by_repeating(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await bury(world, f"user{number}") for number in range(2)]

    async def crash(*_: object) -> None:
        raise StoreUncertain

    with monkeypatch.context() as patch:
        patch.setattr(world.runtime.history, "note_redriven", crash)
        problem(await client.post(REDRIVE, json={"all": True}), 503, "store_uncertain")
    assert sorted(entry["id"] for entry in (await redrive(client, all=True))["redriven"]) == ids
    history = await world.raw("ZRANGE", world.runtime.queue.keys.index, "0", "-1")
    assert len([member for member in history if member.startswith("@")]) == 4
    assert await letters(client) == []


BAD_ORDERS: list[tuple[Any, str | None]] = [
    ({}, None),
    ({"all": True, "ids": ["a"]}, None),
    ({"all": False}, None),
    ({"all": 1}, "all"),
    ({"filter": {}}, None),
    ({"filter": {"colour": "red"}}, "filter"),
    ({"filter": {"after": 1}}, "filter.after"),
    ({"filter": {"after": "soon"}}, "filter.after"),
    ({"filter": []}, "filter"),
    ({"ids": []}, "ids"),
    ({"ids": ["a b"]}, "ids[0]"),
    ({"ids": ["a\n"]}, "ids[0]"),
    ({"ids": ["a", 1]}, "ids[1]"),
    ({"ids": ["a"] * 101}, "ids"),
    ({"all": True, "limit": 0}, "limit"),
    ({"all": True, "limit": 101}, "limit"),
    ({"all": True, "limit": "5"}, "limit"),
    ({"all": True, "dry_run": "yes"}, "dry_run"),
    ({"all": True, "cursor": "x"}, "cursor"),
    ({"all": True, "cursor": 1}, "cursor"),
    ({"all": True, "colour": "red"}, "colour"),
    ([], None),
]


@pytest.mark.parametrize(("order", "field"), BAD_ORDERS, ids=[json.dumps(order)[:40] for order, _ in BAD_ORDERS])
async def test_a_bad_order_gets_a_problem_that_names_the_field(
    valkey_world: World, order: Any, field: str | None
) -> None:
    async with http_client(**OPERATOR) as client:
        document = problem(await client.post(REDRIVE, json=order), 422, "invalid_request")
    assert document.get("field") == field and "red" not in document["detail"].split()


@pytest.mark.parametrize(("method", "path"), [("GET", LETTERS), ("DELETE", f"{LETTERS}/a"), ("POST", REDRIVE)])
async def test_only_the_operator_may(valkey_world: World, method: str, path: str) -> None:
    assert valkey_world.server is not None
    valkey_world.server.reset_bill()
    async with http_client() as client:
        for headers in ({}, AUTH, {"Authorization": "Bearer "}, {"Authorization": "Bearer operator-token"}):
            problem(await client.request(method, path, json={}, headers=headers), 401, "unauthenticated")
    assert valkey_world.server.bill().calls == 0


NAMES = ["key", "user_id", "queue", "model", "code", "after", "before", "limit", "cursor", "owner"]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    query=st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=5), st.text(max_size=40)), max_size=4),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.dictionaries(st.sampled_from(["ids", "filter", "all", "limit", "cursor", *NAMES]), inner)
            | st.lists(inner, max_size=4)
        ),
        max_leaves=8,
    ),
)
async def test_no_query_and_no_body_makes_them_fail(
    valkey_world: World, query: list[tuple[str, str]], body: Any
) -> None:
    url = httpx.URL(LETTERS, params=[(n.encode("utf-8", "replace"), v.encode("utf-8", "replace")) for n, v in query])
    async with http_client(**OPERATOR) as client:
        assert (await client.get(url)).status_code in (200, 422)
        content = json.dumps(body).encode("utf-8", "surrogatepass")
        answer = await client.post(REDRIVE, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 422), answer.text


async def test_a_page_costs_one_call_and_one_command_for_each_job_a_redrive_twelve(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    for number in range(30):
        await bury(world, f"user{number}")
    async with http_client(**OPERATOR) as client:
        for query, shown, billed in (("", 20, 22), ("?limit=100", 30, 32), ("?code=timeout", 0, 32)):
            world.server.reset_bill()
            page = (await client.get(LETTERS + query)).json()
            bill = world.server.bill()
            assert (len(page["dead_letters"]), bill.calls, bill.billed) == (shown, 1, billed)
        world.server.reset_bill()
        await redrive(client, all=True, limit=10, dry_run=True)
        assert (world.server.bill().calls, world.server.bill().billed) == (11, 22)
        await client.patch("/api/operate/limits", json={"system": 0})
        world.server.reset_bill()
        await redrive(client, all=True, limit=10)
        # The dispatch after it starts nothing, and costs one more call.
        assert (world.server.bill().calls, world.server.bill().billed) == (31 + 1, 12 + 10 * 12 + 2)
        world.server.reset_bill()
        await client.delete(f"{LETTERS}/job_3")
        assert (world.server.bill().calls, world.server.bill().billed) == (1, 1)
