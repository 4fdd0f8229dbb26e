"""The cache: one load for simultaneous callers, no value older than its time to live, a bounded size."""

import asyncio

import pytest

from shared.cache import MAX_VALUE, Cache


class Source:
    """Counts loads; each gives the next number."""

    def __init__(self) -> None:
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> int:
        self.loads += 1
        number = self.loads
        await self.gate.wait()
        return number

    async def begun(self) -> None:
        while self.loads == 0:
            await asyncio.sleep(0)


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_value_is_loaded_once_until_its_time_is_over() -> None:
    time, source = Time(), Source()
    cache = Cache(clock=time)
    assert (await cache.remember("k", 2, source.load)).value == 1
    time.now += 1.9
    remembered = await cache.remember("k", 2, source.load)
    assert remembered.value == 1 and cache.left(remembered) == pytest.approx(0.1)
    time.now += 0.1
    assert (await cache.remember("k", 2, source.load)).value == 2


async def test_many_at_once_make_one_load() -> None:
    source = Source()
    cache = Cache()
    values = await asyncio.gather(*(cache.remember("k", 2, source.load) for _ in range(100)))
    assert source.loads == 1 and {remembered.value for remembered in values} == {1}


async def test_age_counts_from_the_beginning_of_the_load() -> None:
    time, source = Time(), Source()
    cache = Cache(clock=time)
    source.gate.clear()
    slow = asyncio.create_task(cache.remember("k", 2, source.load))
    await source.begun()
    time.now += 1.5
    source.gate.set()
    assert cache.left(await slow) == pytest.approx(0.5)


async def test_a_heavy_value_is_shared_by_those_who_wait_and_not_kept() -> None:
    source, cache = Source(), Cache()
    source.gate.clear()
    waiting = [asyncio.create_task(cache.remember("k", 2, source.load, lambda _: MAX_VALUE + 1)) for _ in range(3)]
    await source.begun()
    source.gate.set()
    values = await asyncio.gather(*waiting)
    assert {remembered.value for remembered in values} == {1} and cache.left(values[0]) == 0
    assert cache.held_bytes == 0
    assert (await cache.remember("k", 2, source.load, lambda _: MAX_VALUE)).value == 2
    assert cache.held_bytes == MAX_VALUE


async def test_values_hold_at_most_so_many_bytes_and_the_oldest_goes_first() -> None:
    source, cache = Source(), Cache(max_bytes=1000)
    for key in ("a", "b", "a", "c"):
        await cache.remember(key, 100, source.load, lambda _: 400)
        assert cache.held_bytes <= 1000
    loads = source.loads
    await cache.remember("a", 100, source.load)
    await cache.remember("c", 100, source.load)
    assert source.loads == loads
    cache.forget("a")
    assert cache.held_bytes == 400


async def test_an_error_reaches_all_who_wait_and_is_not_remembered() -> None:
    cache = Cache()
    loads = 0

    async def fail() -> int:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0)
        raise LookupError

    results = await asyncio.gather(*(cache.remember("k", 2, fail) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 5 and loads == 1
    with pytest.raises(LookupError):
        await cache.remember("k", 2, fail)
    assert loads == 2


async def test_a_caller_who_leaves_does_not_stop_the_load_for_the_others() -> None:
    source = Source()
    cache = Cache()
    source.gate.clear()
    leaving = asyncio.create_task(cache.remember("k", 2, source.load))
    staying = asyncio.create_task(cache.remember("k", 2, source.load))
    await source.begun()
    leaving.cancel()
    source.gate.set()
    assert (await staying).value == 1 and source.loads == 1
    assert leaving.cancelled() or leaving.cancelling()


async def test_what_was_forgotten_during_its_load_is_not_remembered() -> None:
    source = Source()
    cache = Cache()
    source.gate.clear()
    stale = asyncio.create_task(cache.remember("k", 2, source.load))
    await source.begun()
    cache.forget("k")
    source.gate.set()
    assert (await stale).value == 1
    assert (await cache.remember("k", 2, source.load)).value == 2


async def test_the_least_recently_used_value_goes_first() -> None:
    cache, source = Cache(size=2), Source()
    for key in ("a", "b", "a", "c"):
        await cache.remember(key, 100, source.load)
    assert source.loads == 3
    await cache.remember("a", 100, source.load)
    assert source.loads == 3
    await cache.remember("b", 100, source.load)
    assert source.loads == 4
