"""The simulation itself: a run is the same on memory mode and on Valkey, and whenever it is repeated."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.rest_server.running import RunningServer
from tests.faults.engines import MemoryEngine, ServerEngine
from tests.faults.enumeration import faults_of, report, some_faults
from tests.faults.exploration import Exploration
from tests.faults.outbox_scenarios import NOTIFIED_BATCH
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.scenarios import CANCELING, ORDINARY, RETRY_UNKNOWN, UNKNOWN
from tests.faults.simulation import settings_of


@asynccontextmanager
async def on_server(server: RunningServer, scenario: Scenario) -> AsyncIterator[ServerEngine]:
    server.clear_faults()
    engine = ServerEngine(server, settings_of(scenario).prefix)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    ("scenario", "mode"), [(ORDINARY, "ok"), (UNKNOWN, "lost"), (CANCELING, "overtaking"), (NOTIFIED_BATCH, "ok")]
)
async def test_a_sample_of_the_faults_is_survived_on_valkey(
    scenario: Scenario, mode: WebhookMode, count: int, valkey: RunningServer, chance: random.Random
) -> None:
    async with on_server(valkey, scenario) as engine:
        exploration = Exploration(scenario, mode, engine)
        await some_faults(exploration, chance, count)
    report(exploration)


async def test_memory_and_valkey_run_the_same(memory: MemoryEngine, valkey: RunningServer) -> None:
    for scenario in (ORDINARY, UNKNOWN, NOTIFIED_BATCH):
        async with on_server(valkey, scenario) as engine:
            real = await Exploration(scenario, "lost", engine).base()
        modelled = await Exploration(scenario, "lost", memory).base()
        # Concurrent tasks may take turns in another order over real sockets.
        assert Counter(modelled.plan.points) == Counter(real.plan.points)
        assert (modelled.outcome.ends, modelled.outcome.attempts) == (real.outcome.ends, real.outcome.attempts)


@pytest.mark.parametrize("count", [5, pytest.param(40, marks=pytest.mark.exhaustive)])
async def test_a_run_is_a_function_of_its_plan_and_shortcuts_change_nothing(
    count: int, memory: MemoryEngine, chance: random.Random
) -> None:
    thorough = Exploration(RETRY_UNKNOWN, "late", memory, is_thorough=True)
    hasty = Exploration(RETRY_UNKNOWN, "late", memory)
    base, other = await thorough.base(), await hasty.base()
    assert base.plan.points == other.plan.points
    for fault in chance.sample(faults_of(base.plan.points), count):
        whole, part = await thorough.disturb(base, fault), await hasty.disturb(other, fault)
        assert part.is_known or (part.ends, part.doubles, part.zombies) == (whole.ends, whole.doubles, whole.zombies)
    assert thorough.failures == hasty.failures == []
