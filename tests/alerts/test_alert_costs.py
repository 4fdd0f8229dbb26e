"""What alerts cost, counted at the REST server and compared with DESIGN.md's table."""

import pytest

from local.rest_server.running import RunningServer
from shared.alerts.alert_store import AlertStore
from shared.budget import Budget
from tests.alerts.looking import Looking, looking
from tests.costs import COSTS
from tests.counting import Counting
from tests.world import http_client


def count(server: RunningServer) -> tuple[int, int]:
    bill = server.bill()
    server.reset_bill()
    return bill.calls, bill.billed


async def look(place: Looking, server: RunningServer) -> tuple[int, int]:
    """Two minutes later: what a look costs."""
    place.world.manual.advance(120)
    await place.world.raw("HSET", place.world.runtime.queue.keys.stats, "tick_at", str(place.world.clock.now()))
    server.reset_bill()
    await place.alerts.run(Budget(50))
    return count(server)


async def test_a_look_costs_what_the_table_says(valkey: RunningServer) -> None:
    async with looking(valkey) as place:
        await look(place, valkey)
        counted = {"look for alerts": await look(place, valkey)}
        await place.alerts.run(Budget(50))
        assert count(valkey) == (0, 0)  # this process knows that it has looked
        await place.process().run(Budget(50))
        counted["look for alerts, another process has looked"] = count(valkey)
        await place.world.runtime.controls.note_refused_webhook()
        counted["look for alerts, one fires and is told"] = await look(place, valkey)
        counted["look for alerts, one stands"] = await look(place, valkey)
    assert counted == {name: COSTS.get(name) for name in counted}


async def test_a_process_pays_little_where_another_has_looked(valkey: RunningServer) -> None:
    async with looking(valkey) as place:
        await look(place, valkey)
        await place.alerts.run(Budget(50))
        assert count(valkey) == (0, 0)
        await place.process().run(Budget(50))
        assert count(valkey) == (1, 2)


async def test_submits_ask_for_the_last_tick_once_in_five_minutes(valkey: RunningServer) -> None:
    changes = {"dispatch_on_submit": False, "max_user_tasks": 100}
    async with looking(valkey, **changes) as place, http_client() as client:
        bench = Counting(place.world, client, valkey)
        place.world.runtime.alerts = place.alerts
        await place.world.runtime.tick.run()
        count(valkey)
        costs = []
        for _ in range(12):
            await bench.submit()
            costs.append(count(valkey)[0])
            place.world.manual.advance(45)
        least = min(costs)
        assert [cost - least for cost in costs[:8]] == [1, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("changes", [{}, {"alert_log": False}])
async def test_only_a_deployment_with_receivers_pays(valkey: RunningServer, changes: dict[str, bool]) -> None:
    async with looking(valkey) as place, http_client() as client:
        place.world.another_process(**changes)
        bench = Counting(place.world, client, valkey)
        await bench.tick()
        count(valkey)
        place.world.manual.advance(120)
        await bench.tick()
        calls, commands = count(valkey)
        assert (calls, commands) == ((1, 4) if changes else (2, 12))


async def test_a_put_may_be_repeated_and_a_late_one_changes_nothing(valkey: RunningServer) -> None:
    async with looking(valkey) as place:
        sluice = place.world.runtime
        store = AlertStore(sluice.store, sluice.settings, sluice.clock)
        assert await store.put("state", "", '{"mark": "a"}') and await store.put("state", "", '{"mark": "a"}')
        assert await store.put("state", '{"mark": "a"}', '{"mark": "b"}')
        assert not await store.put("state", "", '{"mark": "a"}')
        assert (await store.read())[0] == '{"mark": "b"}'
