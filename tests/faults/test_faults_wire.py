"""The store's own HTTP client loses its exchanges at each level of bytes; afterwards every invariant still holds.

The other files lose answers above the client. Here RestStore, Scripts and the HTTP client are those of production. They
reach Valkey, behind Upstash's REST API, through a server that breaks connections (cutter.py).
"""

import random
from collections.abc import AsyncIterator

import pytest

from local.rest_server.running import RunningServer
from tests.faults.cutter import Cutter
from tests.faults.engines import WireEngine
from tests.faults.enumeration import report
from tests.faults.exploration import Exploration
from tests.faults.plan import Fault, cuts_at, is_store
from tests.faults.scenario import Scenario, WebhookMode
from tests.faults.scenarios import BATCH, CANCELING, ORDINARY, UNKNOWN
from tests.faults.simulation import settings_of
from tests.world import load_scripts

SAMPLE = 4
RUNS: tuple[tuple[Scenario, WebhookMode], ...] = (
    (ORDINARY, "ok"), (CANCELING, "ok"), (BATCH, "ok"), (UNKNOWN, "lost"),
)  # fmt: skip


@pytest.fixture
async def cutter(valkey: RunningServer) -> AsyncIterator[Cutter]:
    valkey.clear_faults()
    cutter = Cutter(valkey.url)
    await cutter.open()
    yield cutter
    await cutter.close()
    load_scripts(valkey)


@pytest.fixture
async def engine(valkey: RunningServer, cutter: Cutter) -> AsyncIterator[WireEngine]:
    engine = WireEngine(valkey, settings_of(ORDINARY).prefix, cutter)
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def tried() -> set[str]:
    """The calls that a scenario before has tried: which function calls which verb."""
    return set()


def cuts_of(points: list[str], tried: set[str]) -> list[Fault]:
    """Returns the cuts of each call of the run that was not tried yet, and notes these as tried."""
    firsts = {p: number for number, p in reversed([*enumerate(points, 1)]) if is_store(p) and p not in tried}
    tried |= firsts.keys()
    return [fault for number in sorted(firsts.values()) for fault in cuts_at(number)]


@pytest.mark.parametrize(("scenario", "mode"), RUNS, ids=lambda each: getattr(each, "name", each))
async def test_a_sample_of_the_cuts_is_survived(
    scenario: Scenario, mode: WebhookMode, engine: WireEngine, chance: random.Random
) -> None:
    exploration = Exploration(scenario, mode, engine)
    base = await exploration.base()
    for fault in chance.sample(cuts_of(base.plan.points, set()), SAMPLE):
        await exploration.disturb(base, fault)
    report(exploration)


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("scenario", "mode"), RUNS[:3], ids=lambda each: getattr(each, "name", each))
async def test_every_cut_is_survived(
    scenario: Scenario, mode: WebhookMode, engine: WireEngine, tried: set[str]
) -> None:
    exploration = Exploration(scenario, mode, engine)
    base = await exploration.base()
    for fault in cuts_of(base.plan.points, tried):
        await exploration.disturb(base, fault)
    report(exploration)
