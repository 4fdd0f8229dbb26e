"""The endpoint to which events are delivered."""

from collections.abc import AsyncIterator

import pytest

from tests.receiver import Receiver, receiver


@pytest.fixture
async def endpoint() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made
