"""Servers that several tests share, and the deployment (a World) of each test."""

import os

# Before any function is imported: its module reads the settings.
os.environ["SLUICE_ENV"] = "test"
os.environ["USE_REDIS_FOR_TASKS"] = "false"
os.environ["API_KEYS"] = "app:key-of-the-app-in-tests,other:key-of-another-app-in-tests"
# Both keys may have all; tests of their shares say otherwise.
os.environ["MAX_KEY_QUEUED"] = "1000000000"
os.environ["MAX_KEY_TASKS"] = "1000"
os.environ["QUEUE_PROCESSOR_TOKEN"] = "processor-token-in-tests"
os.environ["CRON_SECRET"] = "cron-secret-in-tests"
os.environ["OPERATOR_TOKEN"] = "operator-token-in-tests"
os.environ["METRICS_TOKEN"] = "metrics-token-in-tests"
os.environ["LOG_LEVEL"] = "ERROR"

import random
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from local.rest_server.running import RunningServer, running_server
from local.simulator.running import RunningSimulator, running_simulator
from shared.clock import ManualClock
from tests.project import ROOT
from tests.world import World, load_scripts, make_world

# Plain: if rich is installed, it draws each traceback with all variables, for half a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

if TYPE_CHECKING:
    from tests.buckets import S3

REDIS_SERVER = shutil.which("redis-server")


@pytest.fixture(scope="session")
def valkey() -> Iterator[RunningServer]:
    """The Upstash-compatible server over the packaged Valkey."""
    with running_server() as server:
        load_scripts(server)
        yield server


@pytest.fixture(scope="session")
def debian_redis() -> Iterator[RunningServer]:
    """The Upstash-compatible server over the redis-server on PATH."""
    assert REDIS_SERVER is not None
    with running_server(binary=Path(REDIS_SERVER)) as server:
        load_scripts(server)
        yield server


@pytest.fixture(scope="session")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> "Iterator[S3]":
    """A server of S3's API; each test takes a new bucket of it."""
    from tests.buckets import s3_server  # loads boto3, which most runs of single tests do not need

    with s3_server() as server:
        yield server


STORES = [
    "valkey",
    "memory",
    pytest.param(
        "redis",
        marks=[
            pytest.mark.exhaustive,
            pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not on PATH (apt install redis-server)"),
        ],
    ),
]


@pytest.fixture(params=STORES)
def any_store(request: pytest.FixtureRequest) -> RunningServer | None:
    """Each of the three stores in turn; None is memory mode."""
    name = {"valkey": "valkey", "redis": "debian_redis"}.get(request.param)
    return request.getfixturevalue(name) if name else None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def world(any_store: RunningServer | None, clock: ManualClock) -> AsyncIterator[World]:
    """A queue on each store in turn, with a clock moved by hand and a scripted provider."""
    async with make_world(any_store, clock) as made:
        yield made


@pytest.fixture
async def valkey_world(valkey: RunningServer, clock: ManualClock) -> AsyncIterator[World]:
    """The same on Valkey alone."""
    async with make_world(valkey, clock) as made:
        yield made


# What `make test` leaves out, and what it samples


# Rooms whose tests are about more than the scripts: `make test` runs them on one store, CI on all three.
WITH_ANY_STORE = ("http", "hooks", "files", "doctor", "statistics", "metrics", "usage")
SEED = random.SystemRandom().randrange(1_000_000)
LEFT_OUT = pytest.StashKey[int]()
HAS_SAMPLED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=SEED, help="picks the cases of all samples")


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that depend only on the run's seed and the test's name."""
    request.config.stash[HAS_SAMPLED] = True
    return random.Random(f"{request.config.getoption('--seed')} {request.node.nodeid}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        is_on_memory = callspec is not None and callspec.params.get("any_store") == "memory"
        if is_on_memory and item.path.relative_to(ROOT).parts[1] in WITH_ANY_STORE:
            item.add_marker(pytest.mark.exhaustive)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    if items:
        stash = items[0].config.stash
        left_out = sum(item.get_closest_marker("exhaustive") is not None for item in items)
        stash[LEFT_OUT] = stash.get(LEFT_OUT, 0) + left_out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(HAS_SAMPLED, False):
        seed = config.getoption("--seed")
        terminalreporter.write_line(f'Samples were picked by --seed {seed} (make test ARGS="--seed {seed}").')
    if left_out := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"Left out: {left_out} exhaustive tests. CI runs them, and so does make test-all.")
