"""Runs are quiet, and memory mode is their store."""

import random
from collections.abc import Iterator

import pytest

from tests.faults.engines import MemoryEngine
from tests.faults.files import without_threads
from tests.faults.hearing import listening
from tests.faults.scenarios import (
    ORDINARY,
)
from tests.faults.simulation import settings_of


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Runs log nothing, take no chances, and leave the chances of others alone."""
    state = random.getstate()
    with listening(), without_threads():
        yield
    random.setstate(state)


@pytest.fixture(scope="module")
def memory() -> MemoryEngine:
    return MemoryEngine(settings_of(ORDINARY).prefix)
