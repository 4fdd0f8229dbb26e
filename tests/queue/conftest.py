"""Providers that several tests share, and a deployment with two of them."""

from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.jobqueue.constants import DAY
from shared.providers.base import Throttled
from tests.queue.priced import CHANGES
from tests.queue.providers import FORBIDDEN, PAUSE, ChoosyProvider
from tests.world import ObedientProvider, World, make_world


@pytest.fixture
def choosy() -> ChoosyProvider:
    """A provider that refuses one model."""
    return ChoosyProvider(refuses={FORBIDDEN: Throttled("provider_auth", PAUSE, 403)})


@pytest.fixture
async def two(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with both providers."""
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", max_user_tasks=10) as made:
        yield made


@pytest.fixture
async def priced(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with prices and budgets, at noon."""
    clock.advance((DAY // 2 - clock.now() % DAY) / 1000)
    async with make_world(any_store, clock, **CHANGES) as made:
        yield made
