"""A deployment with two providers."""

from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import ObedientProvider, World, make_world


@pytest.fixture
async def two(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A deployment with both providers."""
    brings = {"wavespeed": ObedientProvider("wavespeed")}
    async with make_world(any_store, clock, brings, providers="replicate,wavespeed", max_user_tasks=10) as made:
        yield made
