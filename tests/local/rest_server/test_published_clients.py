"""Upstash's published packages for Python work against the local server, unchanged.

Those for JavaScript: see tests/deploy/test_upstash_client.py.
"""

from collections.abc import Callable, Iterator

import pytest
from upstash_ratelimit import FixedWindow, Ratelimit, SlidingWindow, TokenBucket
from upstash_ratelimit.asyncio import Ratelimit as AsyncRatelimit
from upstash_ratelimit.limiter import Limiter
from upstash_redis import Redis

from local.rest_server.running import RunningServer
from tests.local.rest_server.calls import sdk

MOST, HOUR = 5, 3600
LIMITERS: dict[str, Callable[[], Limiter]] = {
    "fixed window": lambda: FixedWindow(MOST, HOUR),
    "sliding window": lambda: SlidingWindow(MOST, HOUR),
    "token bucket": lambda: TokenBucket(MOST, 1, HOUR),
}
# What a limiter answers to each of these calls, one after another: whether it allows the call, and what remains.
CALLS = [(1, True, 4), (1, True, 3), (2, True, 1), (1, True, 0), (1, False, 0), (1, False, 0)]


@pytest.fixture
def redis(server: RunningServer) -> Iterator[Redis]:
    with Redis(server.url, server.token, rest_retries=0) as client:
        yield client


@pytest.mark.parametrize("name", LIMITERS)
def test_a_limiter_allows_what_it_is_to(redis: Redis, name: str) -> None:
    ratelimit = Ratelimit(redis, LIMITERS[name]())
    reset = 0.0
    for user in ("ada", "ben"):
        assert ratelimit.get_remaining(user) == MOST
        for rate, is_allowed, remaining in CALLS:
            response = ratelimit.limit(user, rate)
            assert (response.allowed, response.limit, response.remaining) == (is_allowed, MOST, remaining)
            assert ratelimit.get_remaining(user) == remaining
            reset = response.reset
        assert ratelimit.get_reset(user) == reset
    assert not ratelimit.block_until_ready("ada", 0.05).allowed
    assert ratelimit.block_until_ready("cy", 0.05).allowed


@pytest.mark.parametrize("name", LIMITERS)
async def test_a_limiter_without_threads_allows_the_same(server: RunningServer, name: str) -> None:
    async with sdk(server) as redis:
        ratelimit = AsyncRatelimit(redis, LIMITERS[name](), prefix="other")
        for rate, is_allowed, remaining in CALLS:
            response = await ratelimit.limit("ada", rate)
            assert (response.allowed, response.remaining) == (is_allowed, remaining)
            assert await ratelimit.get_remaining("ada") == remaining
        assert await ratelimit.get_reset("ada") == response.reset
        assert not (await ratelimit.block_until_ready("ada", 0.05)).allowed


def test_a_window_that_is_over_allows_again(redis: Redis) -> None:
    ratelimit = Ratelimit(redis, FixedWindow(1, 100, "ms"))
    allowed = [ratelimit.block_until_ready("ada", 5).allowed for _ in range(3)]
    assert allowed == [True] * 3
