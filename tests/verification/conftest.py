"""A deployment that sends its codes through a real SMTP server."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.post import Post, post_office
from tests.world import AUTH, World, http_client, make_world

SENDER = "Acme <no-reply@acme.dev>"
# A machine with much else to do answers many calls at once slowly.
PATIENT: dict[str, Any] = {
    "store_connect_timeout": 20.0, "store_try_timeout": 25.0, "store_total_timeout": 55.0,
    "provider_timeout": 60.0, "function_max_duration": 800.0,
}  # fmt: skip


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with post_office() as made:
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock, post: Post) -> AsyncIterator[World]:
    async with make_world(any_store, clock, smtp_url=post.url, mail_from=SENDER, **PATIENT) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made
