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
from functools import partial

import pytest

from local.rest_server.running import RunningServer
from shared.jobqueue.script import LIBRARIES, VERBS, Script, script
from shared.storage import layout
from tests.faults.engines import MemoryEngine, ServerEngine
from tests.faults.exploration import Exploration
from tests.faults.files import without_threads
from tests.faults.following import (
    CROWD,
    DELETED,
    FILED,
    FLAKY,
    FOLLOWING,
    HANGING,
    LASTING,
    REDELIVERED,
    REVOKED,
    SOURCE_DOWN,
    SOURCE_GONE,
    STORAGE_DOWN,
    TOLD,
    TOLD_BATCH,
    TWO_FILES,
    UNHEARD,
)
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
from tests.project import ROOT

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
    FILED.name: ("ok", "lost", "overtaking"),
    TWO_FILES.name: ("ok",),
    TOLD.name: ("ok", "overtaking"),
    TOLD_BATCH.name: ("ok", "lost"),
    REDELIVERED.name: ("ok",),
    CROWD.name: ("lost",),
    REVOKED.name: ("ok",),
    FLAKY.name: ("ok",),
    UNHEARD.name: ("ok",),
    SOURCE_DOWN.name: ("ok",),
    SOURCE_GONE.name: ("ok",),
    STORAGE_DOWN.name: ("ok",),
    DELETED.name: ("ok",),
}
RUNS = [
    pytest.param(scenario, mode, id=f"{scenario.name}-webhooks_{mode}")
    for scenario in (*SCENARIOS, *FOLLOWING)
    for mode in MODES.get(scenario.name, WEBHOOK_MODES)
]


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


@pytest.mark.parametrize(("scenario", "mode"), [(ORDINARY, "lost"), (TOLD_BATCH, "duplicate")])
async def test_every_single_fault_is_survived_by_instances_that_are_kept(
    scenario: Scenario, mode: WebhookMode, memory: MemoryEngine
) -> None:
    """What an instance remembers from one process to the next must not mislead it."""
    exploration = Exploration(scenario, mode, memory, is_warm=True)
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


@pytest.mark.parametrize(
    ("scenario", "mode"), [(ORDINARY, "ok"), (UNKNOWN, "lost"), (CANCELING, "overtaking"), (TOLD_BATCH, "ok")]
)
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
    for scenario in (ORDINARY, UNKNOWN, TOLD_BATCH):
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
LASTS = "redis.call('EXPIRE', key, (store_lease or plan) and math.max(FOLLOW_TTL, ending.ttl) or ending.ttl)\n"
POSTED = "follow_up(ending, post(ending.prefix, plan))\n"
COUNTED = "redis.call('HINCRBY', ending.stats"
ROWS_LEASED = "redis.call('ZADD', prefix .. 'x:' .. lane.name, unpack(leases))"
TURN_BEGUN = "for _, part in ipairs({'storing', '1', 'turn', '1'}) do fields[#fields + 1] = part end\n"
# What is broken: in which file, which text by which one, and the scenario and webhooks that notice.
BREAKAGES: dict[str, tuple[str, str, str, Scenario, WebhookMode]] = {
    "the end leaves the index alone":
        ("ending", "redis.call('ZREM', ending.index, unpack(gone))\n", "", ORDINARY, "ok"),
    "the end leaves the user's set alone":
        ("ending", "redis.call('ZREM', user, id)\nredis.call('HSET'", "redis.call('HSET'", ORDINARY, "ok"),
    "the end sets no time to live":
        ("ending", LASTS, "", ORDINARY, "ok"),
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
    "the end of a job is told to nobody":
        ("ending", f"{POSTED}{COUNTED}, outcome", f"{COUNTED}, outcome", TOLD, "ok"),
    "the end of a batch is told to nobody":
        ("ending", f"{POSTED}{COUNTED}, 'batches'", f"{COUNTED}, 'batches'", TOLD_BATCH, "ok"),
    "the start of a run is told to nobody":
        ("record", "return {'recorded', f.cancel_requested or '0', post(KEYS[4], plan.event)}",
         "return {'recorded', f.cancel_requested or '0', ''}", TOLD, "ok"),
    "completion is told while files are pending":
        ("ending", f"{TURN_BEGUN}else\n", f"{TURN_BEGUN}end\ndo\n", FILED, "ok"),
    "a row that is claimed leaves its lane":
        ("outbox_claim", ROWS_LEASED, ROWS_LEASED.replace("ZADD", "ZREM").replace("leases", "lane.rows"), FLAKY, "ok"),
    "a row that is claimed may be claimed again":
        ("outbox_claim", "leases[#leases + 1] = text(until_ms)", "leases[#leases + 1] = text(now)", FLAKY, "ok"),
    "files that are claimed may be claimed again":
        ("outbox_claim", "move(until_ms - BAND, job.id)", "move(now - BAND, job.id)", SOURCE_DOWN, "ok"),
    "files that wait for another turn are left alone":
        ("outbox_keep", "redis.call('ZADD', KEYS[1], text(tonumber(ARGV[5]) - BAND), ARGV[1])",
         "redis.call('ZREM', KEYS[1], ARGV[1])", SOURCE_DOWN, "ok"),
    "stored files stay in the outbox":
        ("outbox_keep", "redis.call('ZREM', KEYS[1], ARGV[1])\n", "", FILED, "ok"),
    "every try counts as a delivery":
        ("outbox_note", "word == 'retry' and 'pending' or word)", "'delivered')", FLAKY, "ok"),
    "what was given up is kept from the operator":
        ("outbox_note", "redis.call('ZADD', KEYS[6], ARGV[8], row)\n", "", HANGING, "ok"),
    "a lane is forgotten after a try":
        ("outbox", "if first[1] then", "if false then", FLAKY, "ok"),
    "a deleted job stays in the outbox":
        ("delete", "if f.storing == '1' then redis.call('ZREM', KEYS[5], ARGV[1]) end", "", DELETED, "ok"),
    "a deleted job is still told of":
        ("delete", "untell(f.hook_lane, rows)", "", DELETED, "ok"),
    "what is to be told once more is found by nobody":
        ("outbox_redeliver", "redis.call('ZADD', KEYS[1], 'LT', due, f.hook_lane)\n", "", REDELIVERED, "ok"),
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


async def test_copies_under_one_key_are_noticed(memory: MemoryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes late would then remove, or write over, what another one has stored."""
    of_one_turn = partial(layout.result_key, turn=1)
    monkeypatch.setattr(
        "shared.storage.layout.result_key", lambda folder, n, extension, _turn=1: of_one_turn(folder, n, extension)
    )
    exploration = Exploration(FILED, "ok", memory)
    await every_fault(exploration, most_failures=1)
    assert exploration.failures


@pytest.mark.parametrize("scenario", LASTING, ids=lambda scenario: scenario.name)
async def test_what_never_answers_is_given_up_in_time(scenario: Scenario, memory: MemoryEngine) -> None:
    """After the whole ladder, or the deadline of copies; a sample of the faults, since each run is days long."""
    exploration = Exploration(scenario, "ok", memory)
    base = await exploration.base()
    for fault in random.Random(scenario.name).sample(faults_of(base.plan.points), 60):
        await exploration.disturb(base, fault)
    report(exploration)


async def test_a_note_of_files_that_is_answered_late_costs_no_file(memory: MemoryEngine) -> None:
    """Some are stored and noted, the answer is lost, and it is somebody else's turn when the note is repeated."""
    exploration = Exploration(TWO_FILES, "ok", memory)
    points = (await exploration.base()).plan.points
    for first in faults_of(points):
        if first.kind == "timeout" and points[first.number - 1].rpartition(" ")[2].startswith(("files:", "bucket:")):
            base = await exploration.base(first)
            for second in faults_of(base.plan.points):
                is_note = base.plan.points[second.number - 1].endswith("store:outbox_keep")
                if is_note and second.kind == "stale_repeat" and second.number > first.number:
                    await exploration.disturb(base, second)
    report(exploration)


async def test_no_file_is_left_behind(memory: MemoryEngine) -> None:
    """Whoever stores a job's files last removes those of turns that were killed."""
    exploration = Exploration(FILED, "ok", memory)
    base = await exploration.base()
    assert base.outcome.left == 0
    left = [(await exploration.disturb(base, fault)).left for fault in faults_of(base.plan.points)]
    assert len(left) > 50 and max(left) == 0
    report(exploration)
