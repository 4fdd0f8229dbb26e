"""Errors reach Sentry with what an operator needs, and without what a caller sent. Sentry's trouble is no job's."""

import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared.application import create_app
from shared.clock import SystemClock
from shared.log import configure_logs, log
from shared.requests.router import Router
from shared.startup import settings
from shared.telemetry import flushing
from shared.telemetry.reports import Reports
from tests.deployment import running_deployment
from tests.project import ROOT
from tests.telemetry.collector import Collector, collecting
from tests.world import make_world, settings_for

MARK = secrets.token_hex(6)
CANARY = f"CANARY-{MARK}"
HEADERS = {"Authorization": f"Bearer {CANARY}", "Cookie": f"session={CANARY}", "X-Anything": CANARY}


@contextmanager
def reporting(collector: Collector, **changes: Any) -> Iterator[Reports]:
    """Reports what this process logs to the collector, until the block ends."""
    given = {"sentry_dsn": collector.dsn(), "sentry_release": "1.2.3", **changes}
    reports = Reports(settings_for(None, **given))
    settings()  # once in a process it configures the log
    saved = structlog.get_config()
    flushing.add(reports)
    configure_logs("WARNING", readers=[reports])
    try:
        yield reports
    finally:
        flushing.remove(reports)
        vars(log).pop("bind", None)
        structlog.configure(**saved)


def failing_client() -> httpx.AsyncClient:
    """A client of an application whose only operation fails, with a caller's text in variables and in the error."""
    router = Router()

    @router.post("/api/things/{thing}")
    async def fail(request: Request, thing: str) -> JSONResponse:
        prompt = (await request.body()).decode()
        headers = dict(request.headers)
        raise ValueError(f"{prompt} {headers} {thing}")

    transport = httpx.ASGITransport(app=create_app(router), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://sluice.test", headers=HEADERS)


async def test_an_unhandled_error_is_there_before_the_answer_with_nothing_of_the_request() -> None:
    with collecting() as collector, reporting(collector):
        async with make_world(None, SystemClock()), failing_client() as client:
            answer = await client.post(f"/api/things/{CANARY}", json={"prompt": CANARY})
        assert answer.status_code == 500
        (report,) = collector.reports()
    assert (report["logentry"]["message"], report["level"]) == ("bug", "error")
    assert (report["release"], report["environment"]) == ("1.2.3", "test")
    assert report["transaction"] == report["tags"]["operation"] == "POST /api/things/{thing}"
    (error,) = report["exception"]["values"]
    assert error["type"] == "ValueError" and error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert MARK not in collector.text and not {"request", "breadcrumbs", "user", "extra"} & set(report)
    assert "vars" not in json.dumps(report)


async def test_an_error_of_a_job_has_its_job_and_its_cause() -> None:
    with collecting() as collector, reporting(collector):
        try:
            raise ZeroDivisionError(CANARY)
        except ZeroDivisionError as error:
            log.exception("round_job_failed", job="job_1", error=type(error).__name__, user=CANARY)
        log.error("store_failed", code="store_refused", refusal="storage_full", command="EVALSHA")
        log.warning("refused", code="rate_limited")
        await flushing.flush()
        first, second = collector.reports()
    assert first["tags"] == {
        "event": "round_job_failed", "job": "job_1", "error": "ZeroDivisionError", "lines": "1",
    }  # fmt: skip
    assert second["tags"]["refusal"] == "storage_full" and "exception" not in second
    assert MARK not in collector.text


async def test_an_error_that_comes_again_and_again_is_one_report() -> None:
    with collecting() as collector, reporting(collector):
        for n in range(200):
            log.error("store_failed", code="store_refused", job=f"job_{n}")
        await flushing.flush()
        assert len(collector.reports()) == 1


async def test_a_sentry_that_hangs_holds_one_answer_for_a_moment_and_no_other_for_a_minute() -> None:
    with collecting(hangs=True) as collector, reporting(collector):
        async with make_world(None, SystemClock()), failing_client() as client:
            began = time.monotonic()
            assert (await client.post("/api/things/1")).status_code == 500
            first = time.monotonic() - began
            log.error("another", job="job_1")
            assert (await client.post("/api/things/1")).status_code == 500
            second = time.monotonic() - began - first
    assert first < flushing.PATIENCE + 1.5 and second < flushing.PATIENCE / 2


async def test_answers_at_once_wait_for_a_sentry_that_hangs_together_and_not_one_behind_the_other() -> None:
    with collecting(hangs=True) as collector, reporting(collector):
        for n in range(6):
            log.error(f"error_{n}", job="job_1")
        began = time.monotonic()
        await asyncio.gather(*(flushing.flush() for _ in range(6)))
        assert time.monotonic() - began < flushing.PATIENCE + 0.5


async def test_a_sentry_that_answers_is_waited_for_again() -> None:
    with collecting() as collector, reporting(collector):
        for n in range(3):
            log.error(f"error_{n}", job="job_1")
            await flushing.flush()
            assert len(collector.reports()) == n + 1


async def test_a_tick_of_the_schedule_that_fails_is_reported_before_lambda_freezes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(_: object) -> None:
        raise ZeroDivisionError

    from functions import process_queue

    monkeypatch.setattr(process_queue, "tick", fails)
    with collecting() as collector, reporting(collector):
        async with make_world(None, SystemClock()):
            with pytest.raises(ZeroDivisionError):
                await process_queue._scheduled()
        (report,) = collector.reports()
    assert report["logentry"]["message"] == "tick_failed"


def test_errors_of_a_process_are_reported_without_its_secrets(
    valkey: RunningServer, simulator: RunningSimulator
) -> None:
    webhook = "whsec_" + base64.b64encode(f"{CANARY}-webhook".encode()).decode()
    canaries = {
        "API_KEYS": f"app:{CANARY}-api",
        "QUEUE_PROCESSOR_TOKEN": f"{CANARY}-processor",
        "OPERATOR_TOKEN": f"{CANARY}-operator",
        "CRON_SECRET": f"{CANARY}-cron-secret",
        "SIGNING_SECRET": f"{CANARY}-signing",
        "WAVESPEED_API_KEY": f"{CANARY}-wavespeed",
        "REPLICATE_WEBHOOK_SECRET": webhook,
    }
    with collecting() as collector:
        given = {**canaries, "SENTRY_DSN": collector.dsn(), "SENTRY_RELEASE": "abc123"}
        with running_deployment(valkey, simulator, given) as deployment:
            body = {"model": "acme/video", "input": {"prompt": CANARY}, "user_id": CANARY}
            auth = {"Authorization": f"Bearer {CANARY}-api", "Cookie": CANARY, "Idempotency-Key": CANARY}
            for fault in ("wrong_token", "html_502"):
                valkey.inject(fault, times=20)
                answer = httpx.post(deployment.url(0, "/api/submit"), json=body, headers=auth, timeout=30)
                valkey.clear_faults()
                assert answer.status_code == 503
        events = {report["logentry"]["message"] for report in collector.reports()}
        report = collector.reports()[0]
    assert events == {"store_failed"}
    assert (report["release"], report["environment"]) == ("abc123", "test")
    assert report["tags"]["operation"] == "POST /api/submit" and report["tags"]["refusal"] == "token"
    assert MARK not in collector.text and valkey.token not in collector.text and webhook not in collector.text


WITHOUT = """
import os, sys
os.environ |= {"SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false"}
import functions.index
loaded = ["sentry_sdk", "urllib3", "requests", "opentelemetry.sdk"]
loaded += ["shared.telemetry.reports", "shared.telemetry.spans"]
assert not [name for name in loaded if name in sys.modules]
from shared.telemetry import flushing
assert not flushing.is_needed()
assert not [layer for layer in functions.index.app.user_middleware if "Flushed" in str(layer)]
"""
WITH = """
import os, sys
os.environ |= {"SLUICE_ENV": "test", "USE_REDIS_FOR_TASKS": "false", "SENTRY_DSN": "https://a@b.example/1"}
import functions.index
assert "shared.telemetry.reports" in sys.modules and "sentry_sdk" not in sys.modules
"""


@pytest.mark.parametrize("code", [WITHOUT, WITH], ids=["without", "with"])
def test_the_sdk_is_loaded_by_the_first_error_and_without_a_dsn_nothing_is(code: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "dsn",
    [
        *("sentry.example/1", "https://sentry.example/1", f"https://{CANARY}@sentry.example/x"),
        *(
            f"https://{CANARY}@sentry.example:99999/1",
            f"https://{CANARY}@[::1/1",
            f"https://{CANARY}@sentry.example/?a=/1",
        ),
    ],
)
def test_a_dsn_that_is_none_is_named_and_not_shown(dsn: str) -> None:
    with pytest.raises(ValueError, match="SENTRY_DSN must be") as fault:
        settings_for(None, sentry_dsn=dsn)
    assert MARK not in str(fault.value)
