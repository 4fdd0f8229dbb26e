"""Lists of jobs through HTTP: filters, pages and cursors."""

import base64
import json
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from shared.clock import iso
from shared.errors import InvalidRequest
from shared.jobqueue import PageStart
from shared.jobqueue.constants import BAND, HISTORY
from shared.jobqueue.script import script
from shared.jobs.cursors import Cursors
from tests.http.calls import BODY, problem
from tests.http.history import end, fill, listed
from tests.world import AUTH, OTHER_AUTH, PROCESSOR, World, http_client, settings_for


async def test_a_list_shows_the_callers_jobs_in_every_state_newest_first(
    world: World, client: httpx.AsyncClient
) -> None:
    ids = []
    for number in range(4):
        answer = await client.post("/api/submit", json={**BODY, "user_id": f"user{number}"})
        ids.append(answer.json()["id"])
        world.manual.advance(1)
    await client.post("/api/submit", json=BODY, headers=OTHER_AUTH)
    await end(world, ids[0])
    await end(world, ids[1], "failed")
    await client.post(f"/api/jobs/{ids[2]}/cancel")
    document = (await client.get("/api/jobs")).json()
    assert [job["id"] for job in document["jobs"]] == ids[::-1] and document["next_cursor"] is None
    assert [job["status"] for job in document["jobs"]] == ["processing", "canceled", "failed", "completed"]
    failed = document["jobs"][2]
    assert failed["error"] == {"code": "invalid_input", "class": "invalid_input", "retryable": False}
    begun = iso(world.clock.now() - 3000)
    assert failed | {"ended_at": None, "error": None, "links": None} == {
        "id": ids[1], "status": "failed", "stage": "done", "queue": "video", "provider": "replicate",
        "model": "acme/video", "user_id": "user1", "priority": 3, "batch_id": None, "created_at": begun,
        "ended_at": None, "error": None, "links": None,
    }  # fmt: skip
    assert failed["links"]["result"] == f"/api/jobs/{ids[1]}/result"


async def test_each_filter_leaves_what_it_names(world: World, client: httpx.AsyncClient) -> None:
    start = world.clock.now()
    first = await world.enqueue("ada")
    world.manual.advance(1)
    second = await world.enqueue("bob", queue="storyboard")
    world.manual.advance(1)
    await fill(world, "third", user="ada|bob")
    await world.raw("HSET", world.runtime.history.keys.job("third"), "batch", "b1", "model", "acme/other")
    for query, expected in (
        ({}, ["third", second, first]),
        ({"user_id": "ada"}, [first]),
        ({"user_id": "ada|bob"}, ["third"]),
        ({"user_id": "bob"}, [second]),
        ({"status": "pending"}, [second, first]),
        ({"status": "completed"}, ["third"]),
        ({"status": "processing"}, []),
        ({"queue": "storyboard"}, [second]),
        ({"model": "acme/video"}, [second, first]),
        ({"model": "acme/video", "user_id": "ada"}, [first]),
        ({"batch_id": "b1"}, ["third"]),
        ({"created_after": iso(start + 1000)}, ["third", second]),
        ({"created_before": iso(start + 1000)}, [first]),
        ({"created_after": iso(start + 1000), "created_before": iso(start + 1001)}, [second]),
        ({"created_after": iso(start + 1000), "created_before": iso(start)}, []),
    ):
        assert await listed(client, **query) == expected, query


@pytest.mark.parametrize("user", ["ada", "ada|x", "a:b|c", "\u00fc\u4e16\U0001f30d", "%[(*+-"])
async def test_pages_of_jobs_of_one_moment_show_each_once(world: World, client: httpx.AsyncClient, user: str) -> None:
    ids = [f"j{number}" for number in range(7)]
    await fill(world, *ids, user=user)
    await fill(world, "zz", "aa", owner="aaa")
    await fill(world, "zz1", "aa1", owner="zzz")
    for limit in (1, 2, 3, 7, 20):
        found = await listed(client, limit=limit)
        assert found == sorted(ids, reverse=True), limit
        assert await listed(client, limit=limit, user_id=user) == found


async def test_pages_stay_exact_while_jobs_come_and_go(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, *(f"j{number}" for number in range(9)))
    page = (await client.get("/api/jobs?limit=3")).json()
    assert [job["id"] for job in page["jobs"]] == ["j8", "j7", "j6"]
    for gone in ("j6", "j5"):
        assert (await client.delete(f"/api/jobs/{gone}")).status_code == 204
    await fill(world, "j9")
    world.manual.advance(1)
    await fill(world, "newer")
    page = (await client.get("/api/jobs", params={"limit": 3, "cursor": page["next_cursor"]})).json()
    assert [job["id"] for job in page["jobs"]] == ["j4", "j3", "j2"]


@pytest.mark.parametrize("owner", ["aaa", "app", "zzz"])
async def test_more_entries_of_one_moment_than_a_page_walks_past_do_not_stop_the_walk(
    world: World, client: httpx.AsyncClient, owner: str
) -> None:
    """As after two big batches: of the caller's other user, or of applications that sort before or after the caller."""
    keys = world.runtime.history.keys
    await fill(world, "before", gap=1)
    await fill(world, "same1", "same2")
    score = str(HISTORY * BAND + world.clock.now())
    for first in range(0, 2500, 500):
        members = [part for n in range(first, first + 500) for part in (score, f"@{owner}:crowd|x{n:04}")]
        await world.raw("ZADD", keys.index, *members)
    world.manual.advance(1)
    await fill(world, "after")
    assert await listed(client, user_id="ada") == ["after", "same2", "same1", "before"]
    assert await listed(client, user_id="ada", limit=1) == ["after", "same2", "same1", "before"]
    reply = await world.runtime.history.jobs("app", user="ada", limit=2)
    assert reply.following is None or "crowd" not in reply.following.bound or owner == "app"


async def test_a_cursor_shows_nothing_of_the_entries_that_its_page_walked_past(world: World) -> None:
    """A page of a user ends among others' entries, whose users' names are often addresses of people."""
    score = str(HISTORY * BAND + world.clock.now())
    members = [part for n in range(1200) for part in (score, f"@app:victim@example.com|x{n:04}")]
    await world.raw("ZADD", world.runtime.history.keys.index, *members)
    walk = ("jobs", "app", "")
    page = await world.runtime.history.jobs("app", user="ada", limit=5)
    cursors = world.runtime.listing._cursors
    cursor = cursors.write(page.following, *walk)
    assert page.following is not None and cursor is not None and "victim" in page.following.bound
    held = base64.urlsafe_b64decode(cursor[32:] + "=" * (-len(cursor[32:]) % 4))
    assert b"victim" not in held and b"." not in held[:14], "neither whose entry it is, nor when it was made"
    assert cursors.read(cursor, *walk) == page.following
    assert len({len(cursors.write(PageStart(1, "u" * length), "walk") or "") for length in range(1, 60)}) == 1


@settings(deadline=None)
@given(
    ms=st.integers(0, 10**14),
    bound=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=300),
    place=st.integers(0, 400),
    other=st.characters(),
)
def test_a_cursor_that_was_changed_is_none(ms: int, bound: str, place: int, other: str) -> None:
    cursors, start = Cursors(settings_for(None)), PageStart(ms, bound)
    cursor = cursors.write(start, "walk")
    assert cursor is not None and cursors.read(cursor, "walk") == start
    place = min(place, len(cursor) - 2)  # some bits of the last character stand for nothing
    assume(cursor[place] != other)
    with pytest.raises(InvalidRequest):
        cursors.read(cursor[:place] + other + cursor[place + 1 :], "walk")


async def test_a_walk_goes_on_among_many_of_one_moment_after_its_last_job_is_gone(world: World) -> None:
    history = world.runtime.history
    score = str(HISTORY * BAND + world.clock.now())
    members = [part for n in range(1500) for part in (score, f"@app:ada|x{n:04}")]
    await world.raw("ZADD", history.keys.index, *members)
    await fill(world, "x0300")
    page = await history.jobs("app", start=PageStart(world.clock.now(), "ada|x0301~"), limit=5)
    assert [job.id for job in page.jobs] == ["x0300"]


async def test_a_job_whose_record_has_expired_is_left_out(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, "kept", "expired", "kept2")
    await world.raw("DEL", world.runtime.history.keys.job("expired"))
    assert await listed(client, limit=1) == ["kept2", "kept"]


async def test_a_cursor_works_for_its_own_request_alone(world: World, client: httpx.AsyncClient) -> None:
    await fill(world, "a1", "a2", "a3")
    cursor = (await client.get("/api/jobs?limit=1")).json()["next_cursor"]
    assert (await client.get("/api/jobs", params={"limit": 2, "cursor": cursor})).status_code == 200
    for params, headers in (
        ({"cursor": cursor, "user_id": "ada"}, AUTH),
        ({"cursor": cursor}, OTHER_AUTH),
        ({"cursor": cursor + "A"}, AUTH),
        ({"cursor": cursor[:-1]}, AUTH),
        ({"cursor": "\u00e9" * 40}, AUTH),
        ({"cursor": "x"}, AUTH),
        ({"cursor": "0" * 32 + "MS4="}, AUTH),
        ({"cursor": "x" * 3000}, AUTH),
        ({"cursor": ""}, AUTH),
    ):
        answer = await client.get("/api/jobs", params=params, headers=headers)
        assert problem(answer, 422, "invalid_request")["field"] == "cursor"


BAD_QUERIES = [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=ten", "limit"), ("limit=-1", "limit"), ("limit=1e1", "limit"),
    ("limit=%D9%A1", "limit"), ("limit=", "limit"), ("limit=1&limit=2", "limit"), ("limit=" + "9" * 5000, "limit"),
    ("status=done", "status"), ("status=", "status"), ("user_id=", "user_id"), ("user_id=a%00b", "user_id"),
    ("user_id=" + "u" * 129, "user_id"), ("queue=a%20b", "queue"), ("model=%FF", "model"), ("batch_id=%0A", "batch_id"),
    ("created_after=yesterday", "created_after"), ("created_after=2026-01-01", "created_after"),
    ("created_after=2026-13-01T00:00:00Z", "created_after"), ("created_after=2026-01-01T00:00:00", "created_after"),
    ("created_before=2026-01-01T00:00:00+02:00", "created_before"), ("created_before=1e9", "created_before"),
    ("created_before=2026-01-01T00:00:00%2B99:00", "created_before"),
    ("created_before=20260101T000000Z", "created_before"), ("colour=red", "colour"), ("%F0%9F=1", None),
]  # fmt: skip


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES)
async def test_a_bad_query_gets_a_problem_that_names_the_parameter(
    valkey_world: World, query: str, field: str | None
) -> None:
    async with http_client(**AUTH) as client:
        document = problem(await client.get(f"/api/jobs?{query}"), 422, "invalid_request")
    assert document.get("field") == field
    assert "yesterday" not in json.dumps(document) and "red" not in document["detail"].split()


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999999-14:00",
        "1969-12-31t23:59:59z",
        "2026-01-01T00:00:00Z",
    ],
)
async def test_any_moment_may_be_asked_for(valkey_world: World, moment: str) -> None:
    await fill(valkey_world, "job")
    async with http_client(**AUTH) as client:
        for name, early in (("created_after", True), ("created_before", False)):
            answer = await client.get("/api/jobs", params={name: moment})
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["jobs"]) == int(early is not moment.startswith("9999"))


NAMES = ["user_id", "status", "queue", "model", "batch_id", "created_after", "created_before", "limit", "cursor", "x"]
PATHS = ["/api/jobs", "/api/jobs/{}/result", "/api/status/{}"]


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    query=st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=5), st.text(max_size=40)), max_size=4),
    raw=st.none() | st.binary(max_size=60).map(lambda data: "".join(f"%{byte:02x}" for byte in data)),
)
async def test_no_query_makes_a_list_fail(valkey_world: World, query: list[tuple[str, str]], raw: str | None) -> None:
    url = httpx.URL(
        "/api/jobs", params=[(n.encode("utf-8", "replace"), v.encode("utf-8", "replace")) for n, v in query]
    )
    async with http_client(**AUTH) as client:
        answer = await client.get(f"/api/jobs?{raw}" if raw is not None else url)
    assert answer.status_code in (200, 422)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    entries=st.lists(
        st.tuples(st.sampled_from(["aaa", "app", "app2", "zzz"]), st.sampled_from(["ada", "bob|x"]), st.integers(0, 2)),
        min_size=1,
        max_size=25,
    ),
    gone=st.lists(st.integers(0, 24), max_size=8),
    user=st.sampled_from(["", "ada"]),
    limit=st.integers(1, 4),
)
async def test_every_job_that_stays_is_shown_once_and_in_order(
    valkey_world: World, entries: list[tuple[str, str, int]], gone: list[int], user: str, limit: int
) -> None:
    """With pages that walk past 4 entries and read 3, while others are deleted between the pages."""
    world, history = valkey_world, valkey_world.runtime.history
    whole = script("list")
    small = replace(whole, text=whole.text.replace("MAX_WALKED, MAX_READ = 1000, 100", "MAX_WALKED, MAX_READ = 4, 3"))
    assert small.text != whole.text
    await world.raw("FLUSHALL")
    base, members = world.clock.now(), {}
    for number, (owner, name, ms) in enumerate(entries):
        world.manual.true_now = base + ms
        await fill(world, f"j{number}", user=name, owner=owner)
        members[f"j{number}"] = (ms, f"@{owner}:{name}|j{number}")
    world.manual.true_now = base
    mine = [job for job, (_, member) in members.items() if member.startswith(f"@app:{user}|" if user else "@app:")]
    order = sorted(mine, key=members.__getitem__, reverse=True)
    shown: list[str] = []
    doomed = [f"j{number}" for number in gone if number < len(entries)]
    start, removed = None, set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.jobqueue.scripted.script", lambda verb, _: small if verb == "list" else script(verb))
        for _ in range(100):
            page = await history.jobs("app", user=user, start=start, limit=limit)
            shown += [job.id for job in page.jobs]
            start = page.following
            if start is None:
                break
            if doomed:
                removed.add(job := doomed.pop())
                await world.raw("ZREM", history.keys.index, members[job][1])
                await world.raw("DEL", history.keys.job(job))
    assert start is None and shown == [job for job in order if job in shown]
    assert set(order) - removed <= set(shown)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", "/job_1"), ("POST", "/job_1/retry"), ("GET", "/job_1/result")],
)
async def test_without_a_key_nothing_is_read(valkey_world: World, method: str, path: str) -> None:
    assert valkey_world.server is not None
    valkey_world.server.reset_bill()
    async with http_client(**PROCESSOR) as client:
        problem(await client.request(method, f"/api/jobs{path}"), 401, "unauthenticated")
    assert valkey_world.server.bill().calls == 0


async def test_the_jobs_of_a_batch_are_listed_by_its_id_and_stay_its_own(
    world: World, client: httpx.AsyncClient
) -> None:
    await world.enqueue("bob")
    body = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}] * 5}
    batch = (await client.post("/api/batches", json=body)).json()
    found = await listed(client, batch_id=batch["id"], limit=2)
    assert len(found) == 5 == len(set(found))
    await client.post(f"/api/batches/{batch['id']}/cancel")
    for job_id in found:
        problem(await client.delete(f"/api/jobs/{job_id}"), 409, "belongs_to_batch")
        problem(await client.post(f"/api/jobs/{job_id}/retry"), 409, "belongs_to_batch")
