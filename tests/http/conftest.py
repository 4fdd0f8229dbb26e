"""The application's own client."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.world import AUTH, World, http_client


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made
