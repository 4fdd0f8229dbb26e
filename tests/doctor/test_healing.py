"""What a heal must not do, and what it does a second time; cursors, limits and the audit of the doctor's call."""

from typing import Any

import httpx
import pytest

from shared.budget import Budget
from shared.clock import ManualClock
from shared.doctor.examiner import Examiner
from shared.doctor.order import DoctorQuery
from shared.errors import StoreUncertain
from shared.jobqueue.constants import BAND, LIMIT_SPAN, SPECIAL
from tests.doctor.plants import (
    batch_that_has_not_ended_with_its_last_job,
    batch_that_lost_a_member,
    hash_without_index,
    index_entry_without_hash,
    leaked_slot,
    ttl_on_a_live_job,
)
from tests.doctor.ward import admit, contradictions, fix, found_in, look, snapshot
from tests.hooks.outbox import ended, lane_of
from tests.http.calls import problem
from tests.receiver import receiver
from tests.world import OPERATOR, World, http_client, make_world

HOUR = 3_600_000


def examiner_of(world: World) -> Examiner:
    return Examiner(world.runtime.store, world.runtime.settings, world.clock)


async def test_a_mend_leaves_alone_what_has_no_fault(world: World) -> None:
    ward, examiner = await admit(world), examiner_of(world)
    before = await snapshot(world)
    for job in before.jobs:
        assert await examiner.mend_job(job) == 0
    assert await examiner.mend_job("job_unknown") == 0
    assert await examiner.mend_batch(ward.batch) == await examiner.mend_batch("bat_unknown") == 0
    assert await examiner.mend_lane(ward.lane) == await examiner.mend_lane("app:unknown") == 0
    # What is only late is for a worker.
    await world.raw("ZADD", world.runtime.queue.keys.outbox, "1000", ward.lane)
    assert await examiner.mend_lane(ward.lane) == 0
    after = await snapshot(world)
    assert {**vars(after), "outbox": before.outbox} == vars(before)


async def test_only_automatic_pauses_beyond_their_bound_are_ended(world: World) -> None:
    examiner, now, index = examiner_of(world), world.clock.now(), world.runtime.queue.keys.index
    gates = {"~p0": now + 100_000, "~o0:acme/video": now + 365 * 24 * HOUR, "=s": now + 365 * 24 * HOUR, "~v": now * 2}
    for gate, value in gates.items():
        await world.raw("ZADD", index, str(value - BAND), gate)
    assert await examiner.mend_gates([*gates, "~p7"]) == 1
    scores = {gate: int(float(await world.raw("ZSCORE", index, gate))) + BAND for gate in gates}
    assert scores == gates | {"~o0:acme/video": now}
    assert await examiner.mend_gates([*gates]) == 0


async def test_what_only_one_of_two_looks_sees_is_no_finding(
    world: World, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that a script's stop has interrupted repeats it between the two."""
    ward, keys = await admit(world), world.runtime.queue.keys
    await ttl_on_a_live_job(world, ward)
    await world.raw("ZREM", keys.index, f"!{ward.running}", f"%{ward.running}")
    waited = []

    async def sleep(_: ManualClock, seconds: float) -> None:
        waited.append(seconds)
        await world.raw("PERSIST", keys.job(ward.running))

    monkeypatch.setattr(ManualClock, "sleep", sleep)
    assert found_in(await look(operator)) == {("unaccompanied", ward.running)}
    assert waited == [2.0]


async def test_a_system_in_order_is_looked_at_once(
    world: World, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admit(world)
    monkeypatch.setattr(ManualClock, "sleep", None)
    assert (await fix(operator))["status"] == "well"


async def test_several_faults_at_once_are_healed_in_one_call(world: World, operator: httpx.AsyncClient) -> None:
    ward = await admit(world)
    planted = {
        *await leaked_slot(world, ward),
        *await index_entry_without_hash(world, ward),
        *await hash_without_index(world, ward),
    }
    fixed = await fix(operator)
    assert found_in(fixed) == planted and fixed["healed"] == len(planted)
    assert found_in(await look(operator)) == set() and await contradictions(world) == []


async def test_a_call_walks_no_further_than_its_limit_and_the_next_one_goes_on(
    valkey: Any, clock: ManualClock, operator: httpx.AsyncClient
) -> None:
    async with make_world(valkey, clock, max_user_tasks=1, max_user_queued=600) as world:
        jobs = [await world.enqueue("ada") for _ in range(600)]
        await world.raw("PERSIST", world.runtime.queue.keys.job(jobs[0]))
        await world.raw("EXPIRE", world.runtime.queue.keys.job(jobs[-1]), "3600")
        report = await fix(operator, limit=400)
        calls, found = 1, found_in(report)
        while report["next_cursor"] is not None:
            assert report["stopped_by"] == "limit"
            report = await fix(operator, limit=400, cursor=report["next_cursor"])
            calls, found = calls + 1, found | found_in(report)
        assert found == {("ttl_on_live", jobs[-1])} and 3 <= calls <= 10


async def test_a_lane_that_no_call_claims_is_delivered(any_store: Any, clock: ManualClock) -> None:
    async with make_world(any_store, clock, allow_loopback=True) as world, receiver() as owner:
        job, keys = await ended(world, hook_url=owner.url()), world.runtime.queue.keys
        world.follow_ups()
        lane, long_ago = await lane_of(world, job), str(clock.now() - 86_400_000)
        for zset, member in ((keys.outbox, lane), (keys.lane_rows(lane), f"completed|{job}")):
            await world.raw("ZADD", zset, long_ago, member)
        async with http_client(**OPERATOR) as operator:
            fixed = await fix(operator)
            assert found_in(fixed) == {("late_lane", lane)} and fixed["healed"] == 1
        assert len(owner.received) == 1


async def test_the_audit_has_each_call_that_may_heal(
    valkey: Any, clock: ManualClock, operator: httpx.AsyncClient
) -> None:
    async with make_world(valkey, clock, audit_entries=100) as world:
        await ttl_on_a_live_job(world, await admit(world))
        await look(operator)
        await fix(operator, fix=False)
        await fix(operator)
        entries = (await operator.get("/api/operate/audit")).json()["entries"]
    assert [(entry["what"], entry["about"]) for entry in entries] == [
        ("doctor.fix", ["1 of 1 healed"]),
        ("doctor.look", ["0 of 1 healed"]),
    ]


BAD_ORDERS = ({"cursor": "index.x"}, {"cursor": f"keys.{2**64}"}, {"limit": 0}, {"only": "all"})


@pytest.mark.parametrize("order", BAD_ORDERS, ids=str)
async def test_an_order_that_is_none_is_refused(
    order: dict[str, Any], world: World, operator: httpx.AsyncClient
) -> None:
    (field,) = order
    answer = await operator.post("/api/operate/doctor", json=order)
    assert problem(answer, 422, "invalid_request")["field"] == field
    answer = await operator.get("/api/operate/doctor", params=order)
    assert problem(answer, 422, "invalid_request")["field"] == field


async def test_what_no_heal_is_safe_for_is_only_found(world: World, operator: httpx.AsyncClient) -> None:
    keys, now = world.runtime.queue.keys, world.clock.now()
    await world.raw("SET", f"{keys.root}mystery", "1")
    await world.raw("SET", keys.job_of_prediction("p1"), "job_1:1:")
    await world.raw("ZADD", keys.batch_queue("bat_gone"), "-1", "bat_gone_0")
    await operator.patch("/api/operate/limits", json={"system": 0})
    world.manual.advance(2 * 86_400)
    fixed = await fix(operator)
    assert found_in(fixed) == {
        ("unknown_key", "mystery"), ("key_without_ttl", "o:p1"), ("no_batch", "bat_gone"), ("long_pause", "=s"),
    }  # fmt: skip
    assert {found["healed"] for found in fixed["checks"][0]["findings"]} == {None}
    assert world.clock.now() > now and await world.raw("EXISTS", f"{keys.root}mystery") == 1


async def test_a_users_own_limit_counts_for_free_seats(world: World, operator: httpx.AsyncClient) -> None:
    await admit(world)
    keys = world.runtime.queue.keys
    await world.raw("ZADD", keys.user("app", "ada"), str(SPECIAL + 3 + 0 * LIMIT_SPAN), "=")
    assert found_in(await look(operator)) == {("free_seats", "app:ada")}


async def outcomes_of(world: World, batch: str) -> list[Any]:
    return [await world.raw("HGET", world.runtime.queue.keys.batch(batch), f"s{number}") for number in range(4)]


@pytest.mark.parametrize("expired", [(0,), (0, 1, 2, 3)], ids=["first", "all"])
async def test_a_batch_ends_with_the_outcomes_that_it_knows_when_records_of_its_jobs_have_expired(
    expired: tuple[int, ...], world: World, operator: httpx.AsyncClient
) -> None:
    ward, keys = await admit(world), world.runtime.queue.keys
    planted = await batch_that_has_not_ended_with_its_last_job(world, ward)
    await world.raw("HSET", keys.batch(ward.batch), "s0", "completed", "s1", "completed")
    await world.raw("ZREM", keys.user("app", "eve"), f"#{ward.batch}")
    for number in expired:
        await world.raw("DEL", keys.job(f"{ward.batch}_{number}"))
    known = await outcomes_of(world, ward.batch)
    fixed = await fix(operator)
    assert found_in(fixed) == planted and fixed["healed"] == 1
    # A job that is there says itself how it ended.
    expected = known if 1 in expired else ["completed", "canceled", *known[2:]]
    assert await outcomes_of(world, ward.batch) == expected


async def test_a_batch_counts_a_job_that_is_gone_by_the_end_that_it_knows(
    world: World, operator: httpx.AsyncClient
) -> None:
    ward, keys = await admit(world), world.runtime.queue.keys
    await batch_that_lost_a_member(world, ward)
    await world.raw("HSET", keys.batch(ward.batch), "s3", "completed")
    await fix(operator)
    assert (await outcomes_of(world, ward.batch))[3] == "completed"
    assert await world.raw("ZSCORE", keys.batch_queue(ward.batch), f"{ward.batch}_3") is None


@pytest.mark.parametrize("field", ["lane", "score", "expire_at", "owner", "due_at"])
async def test_a_record_that_lacks_a_field_is_found_and_the_others_are_looked_at(
    field: str, world: World, operator: httpx.AsyncClient
) -> None:
    ward, keys = await admit(world), world.runtime.queue.keys
    await world.raw("HDEL", keys.job(ward.delayed), field)
    planted = {("broken_record", ward.delayed), *await leaked_slot(world, ward)}
    report = await look(operator)
    assert found_in(report) == planted and report["next_cursor"] is None
    (broken,) = [found for found in report["checks"][0]["findings"] if found["code"] == "broken_record"]
    assert broken["evidence"]["what"] == [field]
    assert (await fix(operator))["healed"] == 1


@pytest.mark.parametrize("kind", ["job", "user", "batch", "batch_queue", "lane_rows"])
async def test_a_key_of_another_type_is_found_and_ends_no_walk(
    kind: str, world: World, operator: httpx.AsyncClient
) -> None:
    ward, keys = await admit(world), world.runtime.queue.keys
    key = {
        "job": keys.job(ward.delayed), "user": keys.user("app", "bob"), "batch": keys.batch(ward.batch),
        "batch_queue": keys.batch_queue(ward.batch), "lane_rows": keys.lane_rows(ward.lane),
    }[kind]  # fmt: skip
    await world.raw("DEL", key)
    await world.raw("SET", key, "of another")
    report = await look(operator)
    assert "broken_record" in {code for code, _ in found_in(report)} and report["next_cursor"] is None
    assert (await fix(operator))["next_cursor"] is None


async def test_keys_of_others_count_and_the_lifetimes_of_many_keys_are_one_call(
    valkey: Any, clock: ManualClock, operator: httpx.AsyncClient
) -> None:
    async with make_world(valkey, clock) as world:
        await world.raw("EVAL", "for i = 1, 3000 do redis.call('SET', 'other' .. i, '1') end", "0")
        valkey.reset_bill()
        report = await look(operator, limit=1)
        assert report["next_cursor"] is not None and report["status"] == "unfinished"
        report = await look(operator, limit=1, cursor=report["next_cursor"])
        assert report["status"] == "unfinished" and valkey.bill().by_command["scan"] == 2
        for number in range(30):
            await world.raw("SET", world.runtime.queue.keys.job_of_prediction(f"p{number}"), "job_1:1:", "EX", "900")
        valkey.reset_bill()
        assert await world.runtime.doctor._queue._walk._lasting([f"o:p{number}" for number in range(30)]) == []
        assert valkey.bill().calls <= 2


async def test_users_with_large_sets_are_looked_at_in_several_calls(valkey: Any, clock: ManualClock) -> None:
    async with make_world(valkey, clock) as world:
        names = [f"app:u{number}" for number in range(3)]
        for name in names:
            script = "for i = 1, 1000 do redis.call('ZADD', KEYS[1], i, 'job_' .. i) end"
            await world.raw("EVAL", script, "1", world.runtime.queue.keys.users + name)
        examiner = examiner_of(world)
        await examiner.users(names[:1])
        valkey.reset_bill()
        assert [suspect.id for suspect in await examiner.users(names)] == names
        assert valkey.bill().calls == 3


async def test_a_store_that_fails_during_the_heals_does_not_lose_what_was_found(
    world: World, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = await ttl_on_a_live_job(world, await admit(world))

    async def silent(*_: Any) -> int:
        raise StoreUncertain()

    monkeypatch.setattr(Examiner, "mend_job", silent)
    fixed = await fix(operator)
    assert found_in(fixed) == planted and fixed["healed"] == 0
    assert [found["healed"] for found in fixed["checks"][0]["findings"]] == [None]
    assert "What is healed is not known" in fixed["checks"][0]["undetermined"][0]


async def test_a_cursor_with_another_check_is_refused(world: World, operator: httpx.AsyncClient) -> None:
    order = {"only": "store", "cursor": "keys.0"}
    answer = await operator.post("/api/operate/doctor", json=order)
    assert problem(answer, 422, "invalid_request")["field"] == "cursor"


async def test_a_call_without_time_says_nothing_of_what_it_did_not_look_at(world: World) -> None:
    report = await world.runtime.doctor.run(DoctorQuery(only="queue"), Budget(1))
    assert (report["status"], report["stopped_by"], report["next_cursor"]) == ("unfinished", "out_of_time", "index.0")
