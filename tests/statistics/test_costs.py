"""What statistics cost, counted at the REST server and compared with DESIGN.md's table."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import SystemClock
from shared.statistics.folding import COUNT
from tests.costs import COSTS
from tests.counting import Counting
from tests.world import http_client, make_world

MORE = 2  # commands for a job: one entry when it is admitted, one when it ends


@pytest.fixture
async def counting(valkey: RunningServer) -> AsyncIterator[Counting]:
    changes: dict[str, Any] = {"dispatch_on_submit": False, "max_user_tasks": 1000, "statistics": True}
    async with make_world(valkey, SystemClock(), **changes) as world, http_client() as client:
        valkey.reset_bill()
        yield Counting(world, client, valkey)


async def test_a_job_costs_two_commands_more_with_statistics(counting: Counting) -> None:
    counted = {}
    job_id = await counting.submit()
    counted["submit, queued, with statistics"] = counting.count()
    await counting.dispatch()
    started = counting.count()
    await counting.webhook(job_id, "p1")
    counted["complete by webhook, with statistics"] = counting.count()
    assert counted == {name: COSTS[name] for name in counted}
    assert started == COSTS["claim one and record it"]
    without = COSTS["submit, queued"], COSTS["complete by webhook"]
    more = sum(commands for _, commands in counted.values()) - sum(commands for _, commands in without)
    calls = sum(calls for calls, _ in counted.values()) - sum(calls for calls, _ in without)
    assert (calls, more) == (0, MORE)


async def test_folds_cost_what_the_table_says(counting: Counting) -> None:
    counted, folds = {}, counting.world.runtime.folding
    counting.server.ask("SCRIPT", "LOAD", folds_text())
    await folds.sweep(Budget(50), False)
    counted["a sweep's look at few entries"] = counting.count()
    await counting.world.runtime.statistics.catch_up()
    counted["sum no entries"] = counting.count()
    for number in range(COUNT - 1):
        counting.server.ask(
            "XADD", counting.world.runtime.queue.keys.entries, "*", "e", f"admitted|{number}|0|1|acme/video"
        )
    await counting.submit()
    counting.count()
    await folds.fold()
    counted["sum a thousand entries"] = counting.count()
    await counting.world.runtime.statistics.range(0, 200 * 60_000, 60_000)
    counted["read 200 minutes of statistics"] = counting.count()
    await counting.world.runtime.statistics.totals()
    counted["read the statistics of all time"] = counting.count()
    assert counted == {name: COSTS.get(name) for name in counted}


def folds_text() -> str:
    """The script, which the store knows once a first fold has run."""
    from shared.jobqueue.script import script
    from shared.statistics.folding import FOLDER

    return script("fold", FOLDER).text
