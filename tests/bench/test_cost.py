"""bench.cost computes the same as a calculation by hand from the budget table and the price file."""

import datetime
import json
import re
import tomllib

import pytest

from bench import cost
from bench.cost import AT_ONCE, DESIGN, WALK, Bill, Load, Operation, budget
from bench.watching import Watched, watch
from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from shared.config.settings import Settings
from shared.usage import prices as pricing
from tests.project import ROOT
from tests.world import make_world

# Numbers of this test, so that a changed budget changes no arithmetic here.
COSTS = {
    cost.QUEUED: Operation(5, 28),
    cost.AT_ONCE: Operation(4, 23),
    "poll": Operation(1, 1),
    "first poll of a job that runs": Operation(1, 3),
    "poll that asks the provider": Operation(4, 11),
    "empty tick, heartbeat included": Operation(1, 4),
    "trim of the history": Operation(1, 3),
    cost.PLAIN_END: Operation(1, 9),
    "end of a job with a file": Operation(1, 10),
    "store the file and note it": Operation(2, 6),
    "end of a job with a hook": Operation(1, 12),
    "deliver the event and note it": Operation(2, 7),
}
PRICES = pricing.Prices(
    datetime.date(2026, 11, 22),
    {
        "upstash.commands": 0.20,
        "upstash.storage": 0.25,
        "upstash.bandwidth": 0.03,
        "lambda.requests": 0.20,
        "lambda.duration": 0.0000166667,
        "gateway.requests": 1.00,
        "vercel.invocations": 0.60,
    },
    (pricing.Plan("free", 0, 256, 500_000), pricing.Plan("small", 10, 250), pricing.Plan("large", 100, 5000)),
)


def bill(load: Load) -> Bill:
    return Bill(load, COSTS, PRICES)


def test_a_month_without_jobs_is_ticks_and_sweeps() -> None:
    # A day: 1,440 ticks of 4 commands, 96 sweeps of 3 + 3.
    assert bill(Load(0)).idle == 30 * (5760 + 576) == 190_080
    assert bill(Load(0)).invocations == 43_200
    # Once a day: each tick sweeps.
    assert bill(Load(0, tick=86_400)).idle == 30 * (4 + 6)


def test_a_job_costs_its_path_its_polls_its_files_and_its_hooks() -> None:
    assert bill(Load(1, polls=1)).job() == Operation(5, 28)
    assert bill(Load(1, polls=1)).job(AT_ONCE) == Operation(4, 23)
    assert bill(Load(1, polls=4)).job() == Operation(8, 31)
    assert bill(Load(1, polls=0)).job() == Operation(4, 27)
    assert bill(Load(1, polls=1, files=True)).job() == Operation(7, 35)
    assert bill(Load(1, polls=1, hooks=True)).job() == Operation(7, 38)
    assert bill(Load(1, polls=1, files=True, hooks=True)).job() == Operation(9, 45)


def test_polls_from_the_cache_cost_an_invocation_and_questions_cost_commands() -> None:
    watched = bill(Load(1, polls=4, cached=6, questions=2))
    assert watched.job() == Operation(8 + 2 * 3, 31 + 2 * 8)
    assert watched.invocations == 30 * (2 + 10) + 43_200


def test_traffic_above_what_is_free_costs_money() -> None:
    of_job = cost.JOB_TRAFFIC + 3 * cost.POLL_TRAFFIC + cost.SCRIPT_TRAFFIC
    counted = bill(Load(1_000_000, polls=3, job_bytes=1))
    gigabytes = 30 * (1_000_000 * of_job + 1440 * cost.TICK_TRAFFIC) / 1e9
    assert counted.traffic == pytest.approx(gigabytes) and gigabytes > cost.FREE_TRAFFIC
    assert counted.store == pytest.approx(counted.commands * 2e-6 + (gigabytes - 200) * 0.03)
    free = pricing.Plan("free", 0, 256, 1 << 60, 10)
    plenty = Bill(Load(3, job_bytes=1), COSTS, pricing.Prices(PRICES.date, PRICES.amounts, (free, *PRICES.plans[1:])))
    assert plenty.max_free_jobs == (10e9 / 30 - 1440 * cost.TICK_TRAFFIC) // of_job
    assert plenty.is_free_enough


def test_a_poller_is_played_who_does_what_is_asked_or_comes_each_so_many_seconds() -> None:
    settings = Settings(**cost.USUAL)
    assert watch(settings, 60, 1) == Watched(61, 31, 2)
    assert watch(settings, 60, 10) == Watched(7, 7, 2)
    as_asked = watch(settings, 120)
    assert as_asked.polls == as_asked.reached < 30


def test_the_documents_say_what_pollers_cost() -> None:
    settings, page = Settings(**cost.USUAL), (ROOT / "docs/costs.md").read_text()
    rows = re.findall(r"^\| of (\d+) s: commands, invocations \| (.+) \|$", page, re.M)
    assert len(rows) == 3
    for seconds, cells in rows:
        for cell, every in zip(cells.split(" | "), (None, 1, 2, 10), strict=True):
            watched = watch(settings, float(seconds), every)
            assert cell == f"{watched.reached + 2 + 5 * watched.questions}, {watched.polls}"


def test_the_bill_of_a_hundred_jobs_a_day() -> None:
    # 3,000 jobs a month of 30 commands, and the ticks: 90,000 + 190,080 at $2 a million.
    counted = bill(Load(100, polls=3))
    assert counted.commands == 280_080
    assert counted.store == pytest.approx(0.56016)
    assert counted.invocations == 3000 * 5 + 43_200
    assert counted.gigabytes == pytest.approx(100 * 7 * 2000 / 1e9)


def test_storage_above_the_first_gigabyte_costs_money() -> None:
    counted = bill(Load(100_000, polls=1, job_bytes=5000))
    assert counted.gigabytes == pytest.approx(3.5)
    assert counted.store == pytest.approx((84_000_000 + 190_080) * 2e-6 + 2.5 * 0.25)


def test_the_free_tier_is_enough_up_to_the_load_it_names() -> None:
    # (500,000 - 190,080) / 30 days / 30 commands = 344.4
    assert bill(Load(0, polls=3)).max_free_jobs == 344
    assert bill(Load(344, polls=3)).is_free_enough
    assert not bill(Load(345, polls=3)).is_free_enough
    # 256 MB hold 256e6 / 7 / 1e6 = 36.6 jobs a day of a megabyte each.
    assert bill(Load(0, job_bytes=1_000_000)).max_free_jobs == 36
    assert not bill(Load(37, job_bytes=1_000_000)).is_free_enough
    # Ticks each 20 s alone use it up.
    assert bill(Load(0, tick=20)).max_free_jobs == 0 and not bill(Load(0, tick=20)).is_free_enough


def test_a_fixed_plan_is_cheaper_from_the_load_it_names() -> None:
    # (10 - 0.38016) / (30 x 30 x $2e-6) = 5,344.4
    plan, jobs = bill(Load(0, polls=3)).cheapest_fixed or (None, 0)
    assert plan is not None and (plan.name, jobs) == ("small", 5345)
    assert bill(Load(5344, polls=3)).store <= 10 < bill(Load(5345, polls=3)).store


def test_a_fixed_plan_that_cannot_hold_the_jobs_is_not_named() -> None:
    # At 50 KB a job the small one holds 714 jobs a day; the large one 14,285, and would pay from 55,345.
    assert bill(Load(0, polls=3, job_bytes=50_000)).cheapest_fixed is None
    # At 10 KB the small one holds 3,571 and the large one 71,428.
    plan, jobs = bill(Load(0, polls=3, job_bytes=10_000)).cheapest_fixed or (None, 0)
    assert plan is not None and (plan.name, jobs) == ("large", 55_345)


def test_the_platforms_bill_only_what_exceeds_their_free_share() -> None:
    # 10,000 jobs a day: 300,000 x 5 + 43,200 = 1,543,200 invocations.
    counted = bill(Load(10_000, polls=3, seconds=1.0, memory=0.5))
    assert counted.vercel == pytest.approx(0.5432 * 0.60)
    requests, seconds = 0.5432 * 0.20, (1_543_200 * 0.5 - 400_000) * 0.0000166667
    assert counted.lambda_ == pytest.approx(requests + seconds + 1.5 * 1.00)
    small = bill(Load(0))
    assert small.vercel == 0 and small.lambda_ == 0


def test_every_price_has_a_source_and_a_date() -> None:
    read = tomllib.loads(pricing.FILE.read_text())
    assert isinstance(read["date"], datetime.date)
    for entry in [*read["prices"], *read["plans"]]:
        assert entry["source"].startswith("https://") and entry["read"] and entry["name"], entry
        assert isinstance(entry["date"], datetime.date) and entry["date"] <= read["date"]
        assert entry["amount"] >= 0
    assert all(price["unit"] for price in read["prices"])
    assert all(plan["megabytes"] > 0 for plan in read["plans"])


def test_the_price_file_has_every_price_in_use() -> None:
    prices = pricing.load()
    assert set(PRICES.amounts) <= set(prices.amounts)
    assert prices.plans[0].amount == 0 and prices.plans[0].commands == 500_000
    assert prices.commands(100_000) == prices.amounts["upstash.commands"] == 0.20


def test_the_budget_table_has_every_operation_in_use() -> None:
    assert set(COSTS) <= set(budget(DESIGN.read_text()))


async def test_a_sweep_costs_the_assumed_commands(valkey: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has the empty tick and the trim; the walk is what a sweep costs beyond them."""
    costs, counted = budget(DESIGN.read_text()), []
    async with make_world(valkey, SystemClock()) as world:
        for sweep_every in (1 << 60, world.runtime.settings.tick_period):
            monkeypatch.setattr("shared.dispatch.tick.SWEEP_EVERY", sweep_every)
            valkey.reset_bill()
            await world.runtime.tick.run()
            spent = valkey.bill()
            counted.append(Operation(spent.calls, spent.billed))
    assert counted[0] == costs["empty tick, heartbeat included"]
    assert counted[1] - counted[0] == costs["trim of the history"] + WALK


def test_it_prints_its_result_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--jobs-per-day", "100", "--polls-per-job", "3", "--tick", "60"]
    assert cost.main(arguments) == 0
    printed = capsys.readouterr().out
    for word in ("Polls", "Bandwidth", "Commands", "Invocations", "Storage"):
        assert f"\n{word}" in printed
    for word in ("Upstash", "Lambda", "Vercel", "Free tier", "Fixed plan"):
        assert f"\n{word}" in printed
    assert "enough" in printed and "shared/usage/prices.toml" in printed
    assert cost.main([*arguments, "--with-files", "--with-hooks", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["load"]["files"] and document["load"]["hooks"]
    assert (
        document["commands"] == Bill(Load(100, 3, 60, True, True), budget(DESIGN.read_text()), pricing.load()).commands
    )


@pytest.mark.parametrize("wrong", ["--tick=0", "--tick=nan", "--jobs-per-day=-1", "--jobs-per-day=inf"])
def test_an_impossible_load_is_refused(wrong: str) -> None:
    with pytest.raises(SystemExit):
        cost.parse([wrong])
