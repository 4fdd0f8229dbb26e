"""Every I/O goes wrong in every way, one at a time; afterwards every promise still holds.

Every fault at every I/O of every scenario is tried; of the ways in which webhooks can come, only those that matter most
to a scenario, since the product of all would take five minutes (see MODES).

The scripts and all of shared/ are the real ones; tests/faults/ makes the processes, the provider and the faults, and
tests/invariants/ says what must hold. A failure names its plan; ``python -m tests.faults`` replays one and shows each
I/O.
"""

import ast
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from shared.jobqueue.scripts import LIBRARIES, VERBS, Script, script
from tests.faults.engines import MemoryEngine, ServerEngine
from tests.faults.exploration import Exploration
from tests.faults.hearing import listening
from tests.faults.plan import Fault, faults_at, is_store
from tests.faults.scenarios import (
    ALL_OR_NOTHING,
    BACKLOG,
    BATCH,
    BATCH_CANCELED,
    CANCELING,
    CIRCUIT,
    CONTROLLED,
    EXPIRING,
    HEIRS,
    LIMITED,
    ORDINARY,
    PAUSED,
    RACES,
    REDRIVEN,
    REOPENED,
    RETRY_UNKNOWN,
    SCENARIOS,
    TROUBLED,
    TWINS,
    UNKNOWN,
    UNLISTED,
    WEBHOOK_MODES,
    Scenario,
    WebhookMode,
)
from tests.faults.simulation import settings_of

ROOT = Path(__file__).parent.parent
SHOWN = 12  # failures that a report quotes
PAIRS = 1500  # of each scenario and mode
SECONDS = 25  # second faults tried after each first one

# Each scenario runs under the modes of webhooks that matter most to it, since all would take too long: the first
# ones under all or most, the later ones under one or two.
MODES: dict[str, tuple[WebhookMode, ...]] = {
    UNKNOWN.name: ("ok", "lost", "belated", "overtaking"),
    RETRY_UNKNOWN.name: ("ok", "lost", "belated", "overtaking"),
    TROUBLED.name: ("ok", "lost", "duplicate"),
    TWINS.name: ("ok", "lost", "overtaking"),
    UNLISTED.name: ("ok", "lost", "belated"),
    BACKLOG.name: ("ok", "late"),
    LIMITED.name: ("ok", "lost"),
    HEIRS.name: ("ok", "duplicate"),
    RACES.name: ("ok", "overtaking"),
    PAUSED.name: ("ok", "overtaking"),
    CIRCUIT.name: ("ok",),
    REOPENED.name: ("lost",),
    EXPIRING.name: ("ok", "lost"),
    CONTROLLED.name: ("ok",),
    BATCH.name: ("ok", "overtaking"),
    ALL_OR_NOTHING.name: ("ok", "lost"),
    BATCH_CANCELED.name: ("ok", "duplicate"),
    REDRIVEN.name: ("ok", "lost"),
}
RUNS = [
    pytest.param(scenario, mode, id=f"{scenario.name}-webhooks_{mode}")
    for scenario in SCENARIOS
    for mode in MODES.get(scenario.name, WEBHOOK_MODES)
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Runs log nothing, take no chances, and leave the chances of others alone."""
    state = random.getstate()
    with listening():
        yield
    random.setstate(state)


@pytest.fixture(scope="module")
def memory() -> MemoryEngine:
    return MemoryEngine(settings_of(ORDINARY).prefix)


async def every_fault(exploration: Exploration, most_failures: int = 10_000) -> None:
    """Runs the scenario undisturbed, and then once with each single fault, until too much went wrong."""
    base = await exploration.base()
    for fault in faults_of(base.plan.points):
        if len(exploration.failures) < most_failures:
            await exploration.disturb(base, fault)


def report(exploration: Exploration) -> None:
    """Fails with the plans of the runs that broke a promise."""
    if exploration.failures:
        count = f"{len(exploration.failures)} of {exploration.runs} runs broke an invariant"
        pytest.fail("\n".join([count, *exploration.failures[:SHOWN]]), pytrace=False)


@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_every_single_fault_is_survived(scenario: Scenario, mode: WebhookMode, memory: MemoryEngine) -> None:
    exploration = Exploration(scenario, mode, memory)
    await every_fault(exploration)
    report(exploration)


async def test_every_single_fault_is_survived_by_instances_that_are_kept(memory: MemoryEngine) -> None:
    """What an instance remembers from one process to the next must not mislead it."""
    exploration = Exploration(ORDINARY, "lost", memory, is_warm=True)
    await every_fault(exploration)
    report(exploration)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_pairs_of_faults_are_survived(scenario: Scenario, mode: WebhookMode, memory: MemoryEngine) -> None:
    """A sample, the same each time: some first faults, and after each some second ones."""
    exploration = Exploration(scenario, mode, memory)
    chance = random.Random(f"{scenario.name} {mode}")
    firsts = faults_of((await exploration.base()).plan.points)
    for first in chance.sample(firsts, PAIRS // SECONDS):
        base = await exploration.base(first)
        seconds = [fault for fault in faults_of(base.plan.points) if fault.number > first.number]
        for second in chance.sample(seconds, min(SECONDS, len(seconds))):
            await exploration.disturb(base, second)
    report(exploration)


def faults_of(points: list[str]) -> list[Fault]:
    return [fault for number, point in enumerate(points, 1) for fault in faults_at(number, point)]


@pytest.mark.parametrize(
    ("scenario", "mode"), [(ORDINARY, "ok"), (ORDINARY, "lost"), (UNKNOWN, "ok"), (TROUBLED, "ok")]
)
async def test_an_answer_that_is_lost_once_uses_up_no_attempt(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine
) -> None:
    """The repeat of a script answers what its first try answered, so that the run goes on as it would have."""
    exploration = Exploration(scenario, mode, memory, learns=False)
    base = await exploration.base()
    for fault in faults_of(base.plan.points):
        if fault.kind == "timeout" and is_store(base.plan.points[fault.number - 1]):
            outcome = await exploration.disturb(base, fault)
            assert outcome.is_known or outcome.attempts == base.outcome.attempts, fault
    report(exploration)


@asynccontextmanager
async def on_server(server: RunningServer, scenario: Scenario) -> AsyncIterator[ServerEngine]:
    server.clear_faults()
    engine = ServerEngine(server, settings_of(scenario).prefix)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.mark.parametrize(("scenario", "mode"), [(ORDINARY, "ok"), (UNKNOWN, "lost"), (CANCELING, "overtaking")])
async def test_a_sample_of_the_faults_is_survived_on_valkey(
    scenario: Scenario, mode: WebhookMode, valkey: RunningServer
) -> None:
    async with on_server(valkey, scenario) as engine:
        exploration = Exploration(scenario, mode, engine)
        base = await exploration.base()
        for fault in random.Random(scenario.name).sample(faults_of(base.plan.points), 40):
            await exploration.disturb(base, fault)
    report(exploration)


async def test_memory_and_valkey_run_the_same(memory: MemoryEngine, valkey: RunningServer) -> None:
    for scenario in (ORDINARY, UNKNOWN):
        async with on_server(valkey, scenario) as engine:
            real = await Exploration(scenario, "lost", engine).base()
        modelled = await Exploration(scenario, "lost", memory).base()
        # What runs at the same time may take turns in another order over real sockets.
        assert Counter(modelled.plan.points) == Counter(real.plan.points)
        assert (modelled.outcome.ends, modelled.outcome.attempts) == (real.outcome.ends, real.outcome.attempts)


async def test_a_run_is_a_function_of_its_plan_and_shortcuts_change_nothing(memory: MemoryEngine) -> None:
    thorough = Exploration(RETRY_UNKNOWN, "late", memory, is_thorough=True)
    hasty = Exploration(RETRY_UNKNOWN, "late", memory)
    base, other = await thorough.base(), await hasty.base()
    assert base.plan.points == other.plan.points
    for fault in random.Random(1).sample(faults_of(base.plan.points), 40):
        whole, part = await thorough.disturb(base, fault), await hasty.disturb(other, fault)
        assert part.is_known or (part.ends, part.doubles, part.zombies) == (whole.ends, whole.doubles, whole.zombies)
    assert thorough.failures == hasty.failures == []


async def test_double_creation_happens_only_where_nothing_can_prevent_it(memory: MemoryEngine) -> None:
    """The tolerated case must exist, or its bound would be about nothing."""
    exploration = Exploration(UNLISTED, "lost", memory)
    base = await exploration.base()
    assert exploration.failures == []
    assert base.outcome.doubles == 1
    assert base.outcome.ends == {"made": "completed", "next": "completed"}


def test_nothing_holds_up_the_end_of_a_process() -> None:
    """A crash is a BaseException; whoever catches that, or everything, could go on after it."""
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert "BaseException" not in ast.unparse(node.type or ast.Name("BaseException")), path.name
            assert not (isinstance(node, ast.keyword) and node.arg == "return_exceptions"), path.name


NOT_SUBMITTING = "if f.attempt ~= ARGV[2] or f.state ~= 'submitting' then"
WAITING = "if not is_waiting(f.state) then"
DUE = "row.band == DELAYED and row.ms <= time"
HEIRS_TOLD = "redis.call('HSET', key, 'heirs', '1')"
CHARGED = "move('~r' .. text(provider), bucket_after(head, providers, provider, count, time))"
CANCEL_JOB = "local function cancel_job(ending, id, f, token)\n"
QUEUE_LIMIT = "(gates['=q' .. text(k)] or concurrency[k + 1])"
MOVED = "redis.call('ZADD', KEYS[1], score_of(READY + tonumber(f.lane), score), ARGV[1])"
# What is broken: in which file, which text by which one, and the scenario and webhooks that notice.
BREAKAGES: dict[str, tuple[str, str, str, Scenario, WebhookMode]] = {
    "the end leaves the index alone":
        ("ending", "redis.call('ZREM', ending.index, unpack(gone))\n", "", ORDINARY, "ok"),
    "the end leaves the user's set alone":
        ("ending", "redis.call('ZREM', user, id)\nredis.call('HSET'", "redis.call('HSET'", ORDINARY, "ok"),
    "the end sets no time to live":
        ("ending", "redis.call('EXPIRE', key, ending.ttl)\n", "", ORDINARY, "ok"),
    "a stale record counts":
        ("record", NOT_SUBMITTING, "if false then", ORDINARY, "ok"),
    "a second end counts":
        ("finish", "if f.state == 'done' then", "if false then", ORDINARY, "ok"),
    "rescue does not wait":
        ("rescue", "or time < tonumber(f.adopt_until) then", "then", UNKNOWN, "lost"),
    "adoption is a guess":
        ("adopt", "g.state == 'submitting'", "false", TWINS, "lost"),
    "an end forgets to promote":
        ("ending", "if f.heirs == '1' and f.state ~= 'backlog' then", "if false then", BACKLOG, "ok"),
    "nobody is told that somebody waits for his seat":
        ("prelude", HEIRS_TOLD, "", HEIRS, "ok"),
    "it promotes beyond the cap":
        ("ending", "#known.admitted + promoted < known.cap", "#known.admitted + promoted <= known.cap", BACKLOG, "ok"),
    "a job from the backlog is started":
        ("claim", DUE, f"({DUE} or row.band == BACKLOG)", BACKLOG, "ok"),
    "a lowered limit demotes nobody":
        ("seats", "if not is_over and not (best and best < job.score) then break end", "do break end", LIMITED, "ok"),
    "a pause is not honoured":
        ("prelude", "if paused_until then", "if false then", PAUSED, "ok"),
    "a probe is granted twice":
        ("claim", "move(gate, text(-BAND + lease_until))", "", PAUSED, "ok"),
    "an accepted probe does not end the pause":
        ("record", "if ARGV[7] ~= '' then", "if false then", PAUSED, "ok"),
    "a circuit never opens":
        ("ending", "if failures < threshold or", "if true or", CIRCUIT, "ok"),
    "a circuit never closes":
        ("ending", "if outcome == 'completed' then gone[3] =", "if false then gone[3] =", CIRCUIT, "ok"),
    "an open circuit is not honoured":
        ("claim", "if open_until and open_until > time then", "if false then", CIRCUIT, "ok"),
    "a start takes no token":
        ("claim", CHARGED, "", ORDINARY, "ok"),
    "a start at submit takes no token":
        ("enqueue", "provider_of(lane), 1, time)", "provider_of(lane), 0, time)", ORDINARY, "ok"),
    "expire ends a job at the provider":
        ("expire", WAITING, "if false then", EXPIRING, "ok"),
    "a live limit is not honoured":
        ("prelude", QUEUE_LIMIT, "concurrency[k + 1]", CONTROLLED, "ok"),
    "a raised job keeps its place":
        ("reprioritize", MOVED, "", CONTROLLED, "ok"),
    "an end is not counted in its batch":
        ("ending", "redis.call('HSET', batch, 's' .. f.number, outcome)\n", "", BATCH, "ok"),
    "a failure leaves the others of its batch alone":
        ("ending", "f.policy == 'all_or_nothing' then", "false then", ALL_OR_NOTHING, "ok"),
    "a cancelled batch keeps its backlog":
        ("ending", CANCEL_JOB, f"{CANCEL_JOB}if f.state == 'backlog' then return false end\n", BATCH_CANCELED, "ok"),
    "a retry of a batch forgets who waits":
        ("batch_retry", "promote(ending, KEYS[6])\n", "", BATCH, "ok"),
    "a redriven job stays a dead letter":
        ("redrive", "redis.call('ZREM', KEYS[2], ARGV[1])\n", "", REDRIVEN, "ok"),
}  # fmt: skip


@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_broken_scripts_are_noticed(breakage: str, memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single faults have to find each of these bugs; a proof that would miss them would prove nothing."""
    source, old, new, scenario, mode = BREAKAGES[breakage]
    verbs = VERBS if source in LIBRARIES else (source,)
    assert any(old in script(verb).text for verb in verbs), f"{source}.lua no longer holds what this test breaks"

    def broken(name: str) -> Script:
        whole = script(name)
        return replace(whole, text=whole.text.replace(old, new)) if name in verbs else whole

    monkeypatch.setattr("shared.jobqueue.scripted.script", broken)
    monkeypatch.setattr("tests.faults.store.script", broken)
    exploration = Exploration(scenario, mode, memory)
    await every_fault(exploration, most_failures=1)
    assert exploration.failures
