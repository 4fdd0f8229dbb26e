"""/api/process-queue: one tick for a scheduler, the queue's statistics for an operator."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.errors import Unauthenticated
from shared.log import log
from shared.requests.auth import bears
from shared.requests.reading import read_body
from shared.signing.qstash import HEADER, verify

router = APIRouter()
MAX_BODY = 64 * 1024
REFUSED = "Send the queue processor's token as Bearer token."


async def tick() -> dict[str, Any]:
    """One bounded run: starts what may start, looks at what is overdue, leaves a heartbeat."""
    sluice = runtime.current()
    began = time.monotonic()
    report = await sluice.tick.run()
    summary = {
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
    """200 with what the tick did. QStash signs its calls instead of bearing our token."""
    sluice = runtime.current()
    if not bears(request, sluice.settings.queue_processor_token):
        await _check_signature(request, sluice)
    return JSONResponse(await tick(), headers={"Cache-Control": "no-store"})


async def _check_signature(request: Request, sluice: runtime.Runtime) -> None:
    s = sluice.settings
    token = request.headers.get(HEADER, "")
    if not token or not s.qstash_keys:
        raise Unauthenticated(REFUSED)
    url = f"{(s.public_base_url or '').rstrip('/')}/api/process-queue"
    verify(token, await read_body(request, MAX_BODY), url, s.qstash_keys, sluice.clock.now())


@router.get("/api/process-queue")
async def statistics(request: Request) -> JSONResponse:
    """200 with the queue's statistics; a tick when Vercel's cron calls, which can only GET, with its CRON_SECRET."""
    sluice = runtime.current()
    if bears(request, sluice.settings.cron_secret):
        return JSONResponse(await tick(), headers={"Cache-Control": "no-store"})
    s = sluice.settings
    if not (bears(request, s.operator_token) or bears(request, s.queue_processor_token)):
        raise Unauthenticated("Send the operator's or the queue processor's token as Bearer token.")
    stats = await sluice.records.stats()
    now = sluice.clock.now()
    body = {
        "queues": {
            q.name: {"running": q.running, "ready": q.ready, "concurrency": q.concurrency} for q in stats.queues
        },
        "running": sum(q.running for q in stats.queues),
        "max_running": sluice.settings.max_concurrent_tasks,
        "delayed": stats.delayed,
        "backlog": stats.backlog,
        "dead": stats.dead,
        "counters": {name: value for name, value in sorted(stats.counters.items()) if name != "tick_at"},
        "last_tick_age_seconds": None if stats.tick_at is None else max(0, (now - stats.tick_at) // 1000),
        "limits": sluice.limits.shown(stats.gates),
        "storage_mode": sluice.settings.storage_mode,
    }
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


app = create_app(router)
_http = create_handler(app)


def handler(event: dict[str, Any], context: Any) -> Any:
    """Lambda's entry: a scheduled EventBridge event is a tick (Mangum refuses it), everything else is HTTP."""
    if event.get("source") in ("aws.events", "aws.scheduler") or "detail-type" in event:
        # The loop that Mangum made and keeps over warm invocations; the clients belong to it.
        return asyncio.get_event_loop().run_until_complete(tick())
    return _http(event, context)
