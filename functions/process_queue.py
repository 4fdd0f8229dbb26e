"""/api/process-queue: one tick for a scheduler, and the queue's statistics for an operator; /api/metrics too."""

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared import runtime
from shared.access.caller import Role
from shared.application import Handler, create_app, create_handler
from shared.documents.operating import TickReport
from shared.log import log
from shared.requests.router import Router
from shared.runtime import Runtime
from shared.telemetry import flushing
from shared.warming import Needs

router = Router()


async def tick(sluice: Runtime) -> TickReport:
    """Runs one tick, logs what it did, and returns the same."""
    began = time.monotonic()
    report = await sluice.tick.run()
    summary: TickReport = {
        "started": report.started,
        "looked_at": report.looked_at,
        "missing": report.missing,
        "expired": report.expired,
        "failed": report.failed,
        "followed_up": report.followed_up,
        "rounds": report.rounds,
        "duration_ms": round((time.monotonic() - began) * 1000),
    }
    is_idle = not (report.started or report.looked_at or report.missing or report.failed or report.followed_up)
    (log.debug if is_idle else log.info)("tick", **summary)
    return summary


@router.post("/api/process-queue")
async def process_queue(request: Request) -> JSONResponse:
    """200 with what the tick did. QStash signs its calls instead of sending the token."""
    async with runtime.call(request, Role.SCHEDULER, Role.QSTASH) as call:
        return JSONResponse(await tick(call.runtime))


@router.get("/api/process-queue")
async def statistics(request: Request) -> JSONResponse:
    """200 with the queue's statistics. Vercel's cron, which can only GET, gets a tick with its CRON_SECRET."""
    async with runtime.call(request, Role.CRON, Role.OPERATOR, Role.SCHEDULER) as call:
        if call.caller.role is Role.CRON:
            return JSONResponse(await tick(call.runtime))
        return JSONResponse(await call.runtime.survey.now())


@router.get("/api/metrics")
async def metrics(request: Request) -> Response:
    """200 with the text that Prometheus scrapes; kept for 10 s."""
    async with runtime.call(request, Role.METRICS, Role.OPERATOR) as call:
        text = await call.runtime.metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _scheduled() -> TickReport:
    try:
        return await tick(runtime.current())
    except Exception as error:
        log.exception("tick_failed", error=type(error).__name__)  # Lambda counts it as well
        raise
    finally:
        await flushing.flush()


def with_schedule(http: Handler) -> Handler:
    """Returns a handler of Lambda's events: a scheduled one is a tick, because Mangum refuses it; others are HTTP."""

    def handle(event: dict[str, Any], context: Any) -> Any:
        if event.get("source") in ("aws.events", "aws.scheduler") or "detail-type" in event:
            # The loop that Mangum creates and keeps over warm invocations; the clients belong to it.
            return asyncio.get_event_loop().run_until_complete(_scheduled())
        return http(event, context)

    return handle


NEEDS = Needs(("tick",), ("claim", "record", "rescue"), calls_providers=True)
app = create_app(router)
handler = with_schedule(create_handler(app, NEEDS))
