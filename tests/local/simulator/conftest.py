"""A running simulator, empty for each test, its client, and a receiver of its webhooks."""

from collections.abc import Iterator

import httpx
import pytest

from local.simulator.running import RunningSimulator, running_simulator
from tests.local.simulator.predictions import Receiver, receiving


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSimulator]:
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running: RunningSimulator) -> RunningSimulator:
    running.reset()
    return running


@pytest.fixture
def api(simulator: RunningSimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url, headers=simulator.headers, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def receiver(simulator: RunningSimulator) -> Iterator[Receiver]:
    with receiving(simulator.webhook_secret) as it:
        yield it
