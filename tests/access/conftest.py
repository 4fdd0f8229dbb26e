"""A deployment in memory that takes tokens, and a client without credentials."""

from collections.abc import AsyncIterator

import httpx
import pytest

from shared.clock import ManualClock
from tests.access.issuing import TAKES_JWTS
from tests.access.stored_keys import by_clock
from tests.world import World, http_client, make_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world(None, ManualClock(), storage_url="memory://tokens", **TAKES_JWTS) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The cache of keys goes by the clock of the test."""
    by_clock(world.runtime, world.manual)
    async with http_client() as made:
        yield made
