"""A deployment that sends its codes through a real SMTP server."""

from collections.abc import AsyncIterator

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from tests.post import Post, post_office
from tests.world import AUTH, World, http_client, make_world

SENDER = "Acme <no-reply@acme.dev>"


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with post_office() as made:
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock, post: Post) -> AsyncIterator[World]:
    async with make_world(any_store, clock, smtp_url=post.url, mail_from=SENDER) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**AUTH) as made:
        yield made
