"""A real Prometheus scrapes a deployment, and answers each query of the Grafana file with data."""

import asyncio
import json
import math
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from tests.counting import Counting
from tests.http.serving import served
from tests.project import ROOT
from tests.world import AUTH, METRICS, http_client, make_world

PROMETHEUS = shutil.which("prometheus")
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana.json").read_text())
SETTINGS = {
    "count_commands": True, "commands_quota": 500_000, "statistics": True, "queue_max_retries": 0,
    "max_user_tasks": 100, "circuit_failures": 0,
}  # fmt: skip
PATIENCE = 40.0  # s until each query has data

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None and "CI" not in os.environ, reason="prometheus is not on PATH (apt install prometheus)"
)


def queries() -> dict[str, str]:
    """The queries of the Grafana file by panel and letter; what Grafana fills in is filled in."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """Runs a Prometheus that scrapes this port each second; yields its address."""
    assert PROMETHEUS is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    (folder / "token").write_text(METRICS["Authorization"].removeprefix("Bearer "))
    job = {
        "job_name": "sluice", "metrics_path": "/api/metrics", "scrape_interval": "1s", "scrape_timeout": "1s",
        "authorization": {"credentials_file": str(folder / "token")},
        "static_configs": [{"targets": [f"127.0.0.1:{target}"]}],
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
    command = [
        PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{own}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{own}"
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def deployment(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Counting, int]]:
    """A deployment behind a real server. Answers to Prometheus are kept for no time, and each call counts itself."""
    from functions.index import app

    monkeypatch.setattr("shared.metrics.metrics.KEPT", 0.0)
    monkeypatch.setattr("shared.usage.counting.PERIOD", 1)
    async with make_world(server, SystemClock(), **SETTINGS) as world, http_client() as client, served(app) as port:
        yield Counting(world, client, server), port


async def live(day: Counting) -> None:
    """A tick, a refused admission, and jobs: one that completes, and one that fails."""
    await day.tick()
    assert (await day.client.post("/api/submit", json={}, headers=AUTH)).status_code == 422
    for outcome in ("completed", "failed"):
        job_id = await day.submit()
        await day.webhook(job_id, f"p{len(day.world.provider.created)}", outcome)


async def answers(client: httpx.AsyncClient, query: str) -> list[float]:
    answer = (await client.get("/api/v1/query", params={"query": query})).json()
    assert answer["status"] == "success", (query, answer)
    return [float(result["value"][1]) for result in answer["data"]["result"]]


@needs_prometheus
@pytest.mark.timeout(90)
async def test_prometheus_has_data_for_each_query_of_the_grafana_file(
    valkey: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    async with deployment(valkey, monkeypatch) as (day, port):
        await live(day)
        with prometheus(tmp_path, port) as url:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                await _until_scraped(client, loop.time() + PATIENCE)
                missing, until = queries(), loop.time() + PATIENCE
                while missing and loop.time() < until:
                    await live(day)
                    found = {name: await answers(client, query) for name, query in missing.items()}
                    missing = {n: missing[n] for n, values in found.items() if not _is_data(values)}
                    await asyncio.sleep(0.2)  # Prometheus scrapes meanwhile
                assert missing == {}
                assert await answers(client, "up") == [1]
                assert await answers(client, "count(sluice_job_run_seconds_bucket) / 28") == [1]


async def _until_scraped(client: httpx.AsyncClient, until: float) -> None:
    """Returns once Prometheus runs and has scraped."""
    while True:
        try:
            if await answers(client, "up"):
                return
        except httpx.HTTPError:
            pass
        assert asyncio.get_running_loop().time() < until, "Prometheus has scraped nothing"
        await asyncio.sleep(0.1)


def _is_data(values: list[float]) -> bool:
    return bool(values) and not all(math.isnan(value) for value in values)


def test_the_grafana_file_has_what_grafanas_own_types_have() -> None:
    """Grafana's SDK knows each of its fields: read and written again, the file has lost none."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard
    from grafana_foundation_sdk.models.prometheus import Dataquery

    register_default_plugins()
    read = Dashboard.from_json(DASHBOARD)
    panels: list[Any] = read.panels or []
    assert panels and all(isinstance(target, Dataquery) for panel in panels for target in panel.targets)
    assert _lost(DASHBOARD, json.loads(JSONEncoder().encode(read)), "") == []


def _lost(before: Any, after: Any, place: str) -> list[str]:
    """The places of what `before` has and `after` has not."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [fault for name in before for fault in _lost(before[name], after.get(name), f"{place}.{name}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [fault for n, one in enumerate(before) for fault in _lost(one, after[n], f"{place}[{n}]")]
    return [] if before == after or (not before and after is None) else [place]


def test_panels_have_ids_of_their_own_and_lie_side_by_side() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == 18
    places = [(p["gridPos"]["x"] + x, p["gridPos"]["y"] + y) for p in panels
              for x in range(p["gridPos"]["w"]) for y in range(p["gridPos"]["h"])]  # fmt: skip
    assert len(places) == len(set(places)) and max(x for x, _ in places) < 24
