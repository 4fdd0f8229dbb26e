"""WaveSpeed with a deployment's settings."""

from collections.abc import AsyncIterator

import pytest

from shared.providers.wavespeed import WaveSpeed
from tests.providers.wavespeed import provider_for


@pytest.fixture
async def wavespeed() -> AsyncIterator[WaveSpeed]:
    provider = provider_for()
    yield provider
    await provider.close()
