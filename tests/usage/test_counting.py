"""The own count of billed commands: exact where each call counts itself, and right on average where few do."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, SystemClock
from shared.errors import StoreError
from shared.jobqueue.script import VERBS, script
from shared.store import Store, open_store
from shared.usage import counted
from shared.usage.counting import PERIOD, CountedStore, counting_text
from shared.usage.usage import Usage
from tests.counting import Counting
from tests.world import http_client, make_world, settings_for

ON = {"count_commands": True}


@pytest.fixture
def each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets each call count itself."""
    monkeypatch.setattr("shared.usage.counting.PERIOD", 1)


@pytest.fixture(scope="module")
def loaded(valkey: RunningServer) -> Iterator[RunningServer]:
    """A store that knows the scripts that count themselves, as in production once each of them has run."""
    for verb in VERBS:
        valkey.ask("SCRIPT", "LOAD", counting_text(script(verb).text))
    yield valkey


@pytest.fixture
async def counting(loaded: RunningServer) -> AsyncIterator[Counting]:
    async with make_world(loaded, SystemClock(), max_user_tasks=100, **ON) as world, http_client() as client:
        loaded.reset_bill()
        yield Counting(world, client, loaded)


def counts_of(server: RunningServer, prefix: str) -> dict[str, int]:
    """The counts by operation, read past the bill."""
    found: Any = server.ask("KEYS", f"{prefix}:cc:*")
    (key,) = found
    left: Any = server.ask("TTL", key)
    assert 0 < left <= 400 * 86_400
    rows: Any = server.ask("HGETALL", key)
    counts: Counter[str] = Counter()
    for name, count in zip(rows[::2], rows[1::2], strict=True):
        counts[name.decode().partition(":")[2]] += int(count)
    return dict(counts)


async def live(bench: Counting) -> None:
    """A job from its submit to its end, and a tick."""
    job_id = await bench.submit()
    await bench.poll(job_id)
    await bench.webhook(job_id, f"p{len(bench.world.provider.created)}")
    await bench.poll(job_id)
    await bench.tick()


@pytest.mark.usefixtures("each_call")
async def test_where_each_call_counts_itself_the_count_is_the_bill(counting: Counting) -> None:
    for _ in range(3):
        await live(counting)
    billed = counting.server.bill().billed
    counts = counts_of(counting.server, counting.world.runtime.settings.prefix)
    assert {"enqueue", "claim", "record", "finish", "HMGET"} <= set(counts)
    # The first count of a day and an operation also sets the key's end, which is not counted.
    assert sum(counts.values()) + len(counts) == billed


class Billed:
    """Executes commands in memory, and counts what they would be billed as; SCRIPT runs INNER commands."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commands = 0

    async def execute(self, *command: str) -> Any:
        is_script = command[0] == "EVAL"
        counts_itself = is_script and command[1] != SCRIPT
        self.commands += 1 + INNER * is_script + counts_itself
        return await self._store.execute(*command)

    async def close(self) -> None:
        await self._store.close()


INNER = 3
SCRIPT = "for i = 1, 3 do redis.call('HINCRBY', KEYS[1], ARGV[1], 1) end return #ARGV"


async def sampled(processes: int, calls: int, seed: int) -> tuple[float, Billed]:
    """What so many processes count, by what they are billed; each makes so many calls of two operations."""
    settings, clock, chance = settings_for(None, **ON), ManualClock(), random.Random(seed)
    billed = Billed(open_store(settings))
    for _ in range(processes):
        store = CountedStore(billed, settings, clock, pick=chance.randrange)
        for _ in range(calls):
            assert await store.execute("HGET", "nothing", "at all") is None
            assert await store.execute("EVAL", SCRIPT, "1", "key", "field") == 1
    total = (await Usage(billed, settings, clock).month()).commands
    await billed.close()
    return total / (billed.commands - 1), billed


async def test_a_sample_has_the_bill_on_average_though_each_process_lives_for_one_call() -> None:
    """The worst case: nothing evens the sample out. One standard error is 4.1 % here."""
    share, billed = await sampled(2000, 1, seed=3)
    assert abs(share - 1) < 0.09
    # What is sampled costs: one command a counted call.
    assert billed.commands < (2000 * (1 + 1 + INNER)) * (1 + 1.3 * 2 / 5 / PERIOD)


async def test_a_sample_of_a_process_that_stays_is_even() -> None:
    share, _ = await sampled(1, 2000, seed=3)
    assert abs(share - 1) < 0.01


async def test_counting_that_is_not_switched_on_is_not_there() -> None:
    settings = settings_for(None)
    store = open_store(settings)
    assert counted(store, settings, ManualClock()) is store
    await store.close()


@pytest.mark.usefixtures("each_call")
async def test_scripts_that_count_themselves_answer_the_same(any_store: RunningServer | None) -> None:
    async with make_world(any_store, ManualClock(), **ON) as world:
        job_id = await world.enqueue("ada")
        (started,) = (await world.runtime.queue.claim(1)).started
        assert started.id == job_id and started.input == '{"prompt":"a lighthouse"}'
        assert (await world.runtime.queue.record(job_id, 1, "p1")).word == "recorded"
        assert (await world.runtime.queue.finish(job_id, 1, "p1", "completed", {"output": "x"})).word == "finished"
        assert (await world.runtime.records.read(job_id)).state == "done"
        found = (await world.runtime.usage.month()).by_operation
        assert {"enqueue", "claim", "record", "finish", "HMGET"} <= set(found)


@pytest.mark.usefixtures("each_call")
async def test_an_error_of_a_script_that_counts_itself_is_the_scripts_own(any_store: RunningServer | None) -> None:
    async with make_world(any_store, ManualClock(), **ON) as world:
        with pytest.raises(StoreError) as error:
            await world.raw("EVAL", "return redis.call('LPUSH', KEYS[1])", "1", "key")
        assert error.value.code == "store_error"
        assert await world.raw("EVAL", "return redis.pcall('LPUSH', KEYS[1]).err and #KEYS", "1", "key") == 1
        assert await world.raw("EVAL", "#!lua flags=allow-key-locking\nreturn {KEYS[1], ARGV[1]}", "1", "a", "b") == [
            "a",
            "b",
        ]
        assert (await world.runtime.usage.month()).by_operation == {"script": 2 + 1 + 2}


@pytest.fixture
def full(loaded: RunningServer) -> Iterator[RunningServer]:
    """A store that takes no writes."""
    yield loaded
    loaded.ask("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.usefixtures("each_call")
async def test_a_store_that_takes_no_count_still_answers_reads(full: RunningServer) -> None:
    async with make_world(full, SystemClock(), **ON) as world:
        job_id = await world.enqueue("ada")
        full.ask("CONFIG", "SET", "maxmemory", "1")
        assert (await world.runtime.records.read(job_id)).state == "queued"
        assert (await world.runtime.records.stats()).queues[0].ready == 1


async def test_every_script_can_count_itself(loaded: RunningServer) -> None:
    """Lua bounds what one function may refer to; a script that counts itself is the body of another one."""
    for verb in VERBS:
        assert loaded.ask("SCRIPT", "LOAD", counting_text(script(verb).text))
