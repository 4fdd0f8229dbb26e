"""A deployment that keeps statistics."""

from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.world import World, make_world


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(
        any_store, clock, statistics=True, max_user_tasks=10, queue_max_retries=0, dispatch_on_submit=False
    ) as made:
        yield made
