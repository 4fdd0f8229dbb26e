"""How many calls are under way at once, and how many wait."""

import asyncio
import time

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import StoreUnavailable, StoreUncertain
from shared.jobqueue.script import VERBS
from shared.jobqueue.scripted import GO_FIRST
from shared.store import rest
from shared.store.rest import RestStore
from shared.turnstile import Crowded, Turnstile
from tests.world import AUTH, http_client, make_world, settings_for

AT_ONCE = 3
PATIENT = {"store_try_timeout": 2, "store_total_timeout": 14}  # a slow machine is no reason to refuse


async def test_no_more_than_so_many_are_under_way_and_all_get_their_turn_in_order() -> None:
    turnstile, now, most, order = Turnstile(AT_ONCE, 1_000), 0, 0, []

    async def call(number: int) -> None:
        nonlocal now, most
        await turnstile.enter(60)
        now += 1
        most = max(most, now)
        order.append(number)
        await asyncio.sleep(0)
        now -= 1
        turnstile.leave()

    await asyncio.gather(*(call(number) for number in range(400)))
    assert most == AT_ONCE
    assert order == sorted(order)


async def full(max_waiting: int = 1_000) -> Turnstile:
    turnstile = Turnstile(AT_ONCE, max_waiting)
    for _ in range(AT_ONCE):
        await turnstile.enter(0)
    return turnstile


async def test_a_call_waits_no_longer_than_its_patience() -> None:
    turnstile = await full()
    with pytest.raises(Crowded):
        await turnstile.enter(0.05)
    turnstile.leave()
    await turnstile.enter(0)  # the turn of the one that gave up is free


async def test_beyond_so_many_that_wait_the_next_is_refused_at_once() -> None:
    turnstile = await full(max_waiting=2)
    waiting = [asyncio.ensure_future(turnstile.enter(60)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Crowded):
        await turnstile.enter(60)
    for _ in range(2):
        turnstile.leave()
    await asyncio.gather(*waiting)


async def test_what_goes_first_passes_all_that_wait_and_has_no_bound() -> None:
    turnstile, order = await full(max_waiting=2), []

    async def call(name: str, *, goes_first: bool) -> None:
        await turnstile.enter(60, goes_first=goes_first)
        order.append(name)

    calls = [("a", False), ("b", False), ("first", True), ("second", True), ("third", True)]
    waiting = [asyncio.ensure_future(call(name, goes_first=first)) for name, first in calls]
    await asyncio.sleep(0)
    for _ in calls:
        turnstile.leave()
    await asyncio.gather(*waiting)
    assert order == ["first", "second", "third", "a", "b"]


async def test_a_turn_that_comes_with_a_cancellation_goes_to_the_next() -> None:
    turnstile = await full()
    canceled, following = (asyncio.ensure_future(turnstile.enter(60)) for _ in range(2))
    await asyncio.sleep(0)
    turnstile.leave()
    canceled.cancel()
    await asyncio.gather(canceled, return_exceptions=True)
    assert canceled.cancelled()
    await asyncio.wait_for(following, 1)
    with pytest.raises(Crowded):
        await turnstile.enter(0)


@pytest.mark.parametrize("leaves", ["before", "after"])
async def test_a_cancelled_wait_takes_no_turn_and_frees_none(leaves: str) -> None:
    turnstile = await full()
    waiting = asyncio.ensure_future(turnstile.enter(60))
    await asyncio.sleep(0)
    waiting.cancel()
    if leaves == "before":  # it has not noticed yet
        turnstile.leave()
    await asyncio.gather(waiting, return_exceptions=True)
    if leaves == "after":
        turnstile.leave()
    await turnstile.enter(0)
    with pytest.raises(Crowded):
        await turnstile.enter(0)


async def test_a_cancelled_wait_takes_no_turn() -> None:
    turnstile = await full()
    waiting = asyncio.ensure_future(turnstile.enter(60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for _ in range(AT_ONCE):
        turnstile.leave()
    for _ in range(AT_ONCE):
        await turnstile.enter(0)


async def test_a_turn_that_comes_too_late_begins_nothing() -> None:
    """As when a process stands still: its turn and the end of its patience come at the same moment."""
    turnstile = await full()
    waiting = asyncio.ensure_future(turnstile.enter(0.01))
    await asyncio.sleep(0)
    turnstile.leave()
    time.sleep(0.02)  # the loop sees both at once
    with pytest.raises(Crowded):
        await waiting
    await turnstile.enter(0)


async def test_four_hundred_calls_at_once_are_all_served_once(valkey: RunningServer) -> None:
    valkey.clear_faults()
    store = RestStore(settings_for(valkey, **PATIENT))
    valkey.reset_bill()
    answers = await asyncio.gather(*(store.execute("INCR", "four-hundred") for _ in range(400)))
    assert sorted(answers) == list(range(1, 401))
    assert valkey.bill().calls == 400
    await store.close()
    valkey.flush()


async def test_a_hundred_submits_at_once_are_all_accepted_with_one_call_each(
    valkey: RunningServer, clock: ManualClock
) -> None:
    async with make_world(valkey, clock, dispatch_on_submit=False, **PATIENT), http_client(**AUTH) as client:
        valkey.reset_bill()
        body = {"model": "acme/video", "input": {}}
        bodies = [body | {"user_id": f"user{number}"} for number in range(100)]
        answers = await asyncio.gather(*(client.post("/api/submit", json=each) for each in bodies))
    assert {answer.status_code for answer in answers} == {202}
    assert valkey.bill().calls == 100


async def test_a_flood_of_polls_delays_no_record_of_a_paid_submission(
    valkey: RunningServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_UNDER_WAY", 1)
    monkeypatch.setattr(rest, "MAX_WAITING", 3)
    async with make_world(valkey, clock, **PATIENT) as world:
        job = await world.enqueue("ada", start=True)
        polls = [asyncio.ensure_future(world.runtime.records.read(job)) for _ in range(10)]
        await asyncio.sleep(0)
        await world.runtime.queue.record(job, 1, "p1")
        done = [poll for poll in polls if poll.done() and not poll.exception()]
        assert len(done) == 1  # that which was under way; the others have waited
        answers = await asyncio.gather(*polls, return_exceptions=True)
        assert [type(answer) for answer in answers].count(StoreUnavailable) == 6
        assert (await world.runtime.records.read(job)).prediction == "p1"


def test_what_goes_first_are_verbs() -> None:
    assert set(VERBS) > GO_FIRST


@pytest.mark.parametrize("most", [0, 1_000], ids=["too many wait", "waited in vain"])
async def test_a_call_that_was_not_sent_is_surely_not_applied(
    valkey: RunningServer, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MAX_UNDER_WAY", 1)
    monkeypatch.setattr(rest, "MAX_WAITING", most)
    valkey.clear_faults()
    fast = {"store_connect_timeout": 0.1, "store_try_timeout": 0.2, "store_total_timeout": 0.4}
    store = RestStore(settings_for(valkey, **fast))
    valkey.inject("hang", times=2)
    first = asyncio.ensure_future(store.execute("INCR", "hung"))
    await asyncio.sleep(0)
    valkey.reset_bill()
    with pytest.raises(StoreUnavailable) as refused:
        await store.execute("INCR", "waits")
    assert refused.value.retry_after == 2
    with pytest.raises(StoreUncertain):
        await first
    await store.close()
    valkey.clear_faults()
    assert valkey.ask("GET", "waits") is None
    valkey.flush()
