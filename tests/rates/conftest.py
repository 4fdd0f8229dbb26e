"""The limiter's clock, which is the tests', and a store that a test may break."""

from collections.abc import Iterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock


@pytest.fixture(autouse=True)
def limiter_clock(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """upstash-ratelimit reads the machine's clock by this one function."""
    monkeypatch.setattr("upstash_ratelimit.limiter.now_ms", clock.now)


@pytest.fixture
def breakable(valkey: RunningServer) -> Iterator[RunningServer]:
    """The store; faults of a test end with it."""
    yield valkey
    valkey.clear_faults()
