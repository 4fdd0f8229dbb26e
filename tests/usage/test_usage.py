"""What the operator sees of the count: months, the forecast, the quota and the bill."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock, SystemClock
from tests.costs import COSTS
from tests.http.calls import problem
from tests.world import OPERATOR, World, http_client, make_world

PATH = "/api/operate/usage"
ON = {"count_commands": True, "commands_quota": 500_000}


def at(text: str) -> int:
    """A moment of UTC, in ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
async def world(any_store: RunningServer | None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A deployment that counts, but for the calls of these tests: they write the counts themselves."""
    monkeypatch.setattr("shared.usage.counting.PERIOD", 10**12)
    async with make_world(any_store, ManualClock(at("2026-11-11T12:00:00")), **ON) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(**OPERATOR) as made:
        yield made


async def note(world: World, month: str, counts: Mapping[str, int]) -> None:
    for field, count in counts.items():
        await world.raw("HSET", world.runtime.queue.keys.commands(month), field, str(count))


async def test_two_months_are_shown_by_day_and_operation_with_forecast_and_bill(
    world: World, client: httpx.AsyncClient
) -> None:
    await note(world, "2026-10", {"31:claim": 900_000})
    await note(
        world, "2026-11", {f"{day:02}:claim": 10_000 for day in range(1, 11)} | {"11:claim": 3_000, "11:HMGET": 2_000}
    )
    shown = (await client.get(PATH)).json()
    assert [month["month"] for month in shown["months"]] == ["2026-11", "2026-10"]
    present, last = shown["months"]
    assert present["commands"] == 105_000 and present["dollars"] == 0.21
    assert present["by_day"]["2026-11-01"] == 10_000 and present["by_day"]["2026-11-11"] == 5_000
    assert present["by_operation"] == {"claim": 103_000, "HMGET": 2_000}
    assert last == {
        "month": "2026-10", "commands": 900_000, "dollars": 1.8,
        "by_day": {"2026-10-31": 900_000}, "by_operation": {"claim": 900_000},
    }  # fmt: skip
    # 10,000 a day for the 19.5 days that are left.
    assert shown["forecast"] == {
        "commands": 300_000, "dollars": 0.6, "quota": 500_000, "quota_used": 0.21, "quota_ends_at": None,
    }  # fmt: skip
    assert shown["price"] == {"dollars": 0.2, "commands": 100_000, "read_on": "2026-11-22"}
    assert shown["is_counting"] is True


async def test_a_quota_that_will_not_do_has_an_end(world: World) -> None:
    await note(world, "2026-11", {f"{day:02}:claim": 40_000 for day in range(1, 11)} | {"11:claim": 20_000})
    outlook = await world.runtime.usage.outlook()
    assert (outlook.commands, outlook.forecast) == (420_000, 1_200_000)
    assert outlook.used == 0.84 and outlook.will_be_used == 2.4
    assert outlook.quota_ends_at == at("2026-11-13T12:00:00")
    await note(world, "2026-11", {"11:claim": 200_000})
    assert (await world.runtime.usage.outlook()).quota_ends_at == world.clock.now()


@pytest.mark.parametrize(
    ("counts", "forecast"),
    [
        ({}, 0),
        ({"11:claim": 500}, 500 + 19_500),  # counted since the morning: 1,000 a day
        ({"10:claim": 1, "11:claim": 500}, 501 + 19_500),  # the first day may be a part of one
        ({"02:claim": 7, "11:claim": 500}, 507 + round(19.5 * 500 / 7.5)),  # a week, of which most days had none
    ],
)
async def test_the_forecast_goes_by_the_last_week(world: World, counts: dict[str, int], forecast: int) -> None:
    await note(world, "2026-11", counts)
    assert (await world.runtime.usage.outlook()).forecast == forecast


async def test_the_first_days_of_a_month_look_back_at_the_one_before(world: World) -> None:
    world.manual.true_now = at("2026-12-01T06:00:00")
    await note(world, "2026-11", {f"{day:02}:claim": 1_000 for day in range(20, 31)})
    await note(world, "2026-12", {"01:claim": 250})
    assert (await world.runtime.usage.outlook()).forecast == 250 + 30_750


async def test_thirteen_months_are_there_to_be_asked_for(world: World, client: httpx.AsyncClient) -> None:
    shown = (await client.get(PATH, params={"months": "13"})).json()
    assert [month["month"] for month in shown["months"]][::11] == ["2026-11", "2025-12"]
    assert len((await client.get(PATH, params={"months": "1"})).json()["months"]) == 1


@pytest.mark.parametrize("months", ["0", "14", "-1", "1.5", "two", "", "\u0661"])
async def test_another_number_of_months_is_refused(client: httpx.AsyncClient, months: str) -> None:
    assert problem(await client.get(PATH, params={"months": months}), 422, "invalid_request")["field"] == "months"


async def test_a_deployment_that_does_not_count_says_so(any_store: RunningServer | None) -> None:
    async with make_world(any_store, ManualClock()), http_client(**OPERATOR) as client:
        shown = (await client.get(PATH)).json()
    assert shown["is_counting"] is False and shown["months"][0]["commands"] == 0


async def test_the_view_costs_what_the_table_says(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock()), http_client(**OPERATOR) as client:
        valkey.reset_bill()
        await client.get(PATH)
        bill = valkey.bill()
    assert (bill.calls, bill.billed) == COSTS["the operator's view of the counted commands"]


async def test_what_counting_costs_is_in_the_table(valkey: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.usage.counting.PERIOD", 1)
    found = {}
    for name, changes in (("without", {}), ("with", {"count_commands": True})):
        async with make_world(valkey, SystemClock(), **changes) as world:
            for _ in range(2):  # the first count of a day sets the key's end
                valkey.reset_bill()
                await world.runtime.records.health()
                script = valkey.bill()
                valkey.reset_bill()
                await world.runtime.records.last_tick_at()
                plain = valkey.bill()
            found[name] = [(script.calls, script.billed), (plain.calls, plain.billed)]
    more = [
        tuple(b - a for a, b in zip(*pair, strict=True)) for pair in zip(found["without"], found["with"], strict=True)
    ]
    assert more == [COSTS["count a script's call, one in ten"], COSTS["count another command's call, one in ten"]]


def test_months_are_counted_over_the_turn_of_a_year() -> None:
    from shared.usage.usage import _first_of

    day = datetime(2026, 1, 31, tzinfo=UTC).date()
    assert [f"{_first_of(day, before):%Y-%m}" for before in (-1, 0, 1, 13)] == [
        "2026-02",
        "2026-01",
        "2025-12",
        "2024-12",
    ]
