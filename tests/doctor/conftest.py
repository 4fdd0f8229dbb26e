"""A busy deployment in order, on each store in turn, and its operator."""

from collections.abc import AsyncIterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import OPERATOR, World, http_client, make_world


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(any_store, clock, max_user_tasks=2, max_user_queued=5, max_concurrent_tasks=6) as made:
        yield made


@pytest.fixture
async def operator(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made
