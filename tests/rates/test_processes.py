"""A rate of several processes, and what a process without one loads."""

import asyncio
import os
import subprocess
import sys
from collections import Counter

import httpx
import pytest

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from tests.deployment import running_deployment
from tests.http.calls import BODY
from tests.project import ROOT
from tests.world import AUTH

RATES = {"SUBMIT_RATE_PER_KEY": "50/day", "SUBMIT_RATE_PER_USER": "20/day"}
ROOM = {
    "MAX_USER_QUEUED": "1000", "MAX_USER_WAITING": "1000", "DISPATCH_ON_SUBMIT": "false",
    # A machine with much else to do answers many calls at once slowly.
    "STORE_TRY_TIMEOUT": "25", "STORE_TOTAL_TIMEOUT": "55", "STORE_CONNECT_TIMEOUT": "20",
    "PROVIDER_TIMEOUT": "60", "FUNCTION_MAX_DURATION": "800",
}  # fmt: skip


@pytest.mark.exhaustive
async def test_a_rate_holds_in_200_concurrent_submits_over_three_processes(
    valkey: RunningServer, simulator: RunningSimulator
) -> None:
    async def submit(client: httpx.AsyncClient, url: str, user: str) -> tuple[str, int]:
        answer = await client.post(url, json=BODY | {"user_id": user}, headers=AUTH)
        return user, answer.status_code

    with running_deployment(valkey, simulator, RATES | ROOM, instances=3) as deployment:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            # One user sends half of the calls.
            users = [f"user{number % 10}" if number % 2 else "ada" for number in range(200)]
            calls = [submit(client, deployment.url(n, "/api/submit"), user) for n, user in enumerate(users)]
            answers = Counter(await asyncio.gather(*calls))
    assert sum(count for (_, status), count in answers.items() if status == 202) == 50
    assert sum(count for (_, status), count in answers.items() if status == 429) == 150
    assert answers["ada", 202] <= 20


@pytest.mark.parametrize(("rates", "is_loaded"), [({}, False), ({"SUBMIT_RATE_PER_KEY": "5/day"}, True)])
def test_only_a_process_with_a_rate_loads_the_limiter(rates: dict[str, str], is_loaded: bool) -> None:
    source = """
import asyncio, sys
from functions import submit
from shared import runtime

async def count():
    print(await runtime.current().rates.submit("app", "ada"), "upstash_ratelimit" in sys.modules)

asyncio.run(count())
"""
    given = {"PATH": os.defpath, "SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false", "LOG_LEVEL": "ERROR", **rates}
    ran = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, env=given, capture_output=True, text=True, check=True
    )
    assert ran.stdout.endswith(f" {is_loaded}\n")
    assert ("RateLimit" in ran.stdout) == is_loaded
