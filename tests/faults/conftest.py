"""Quiet runs, with memory mode as their store."""

import random
from collections.abc import Iterator

import pytest

from tests.faults.engines import MemoryEngine
from tests.faults.error_log import collecting_errors
from tests.faults.files import without_threads
from tests.faults.scenarios import (
    ORDINARY,
)
from tests.faults.simulation import settings_of


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Runs log nothing, use no threads, and leave the random state of other tests unchanged."""
    state = random.getstate()
    with collecting_errors(), without_threads():
        yield
    random.setstate(state)


@pytest.fixture(scope="module")
def memory() -> MemoryEngine:
    return MemoryEngine(settings_of(ORDINARY).prefix)
