"""/api/batches: many jobs with one progress."""

import json

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.budget import Budget
from shared.hooks.delivery_log import BatchRedelivery
from shared.jobqueue.batch import MAX_JOBS
from shared.jobs.batches import MAX_RESULTS, BatchRequest
from shared.requests.auth import caller_of
from shared.requests.reading import read_idempotency_key, read_model, read_number, read_optional_model

MAX_BODY = 1024 * 1024
MAX_REDELIVERY_BODY = 4 * 1024
PLAIN = {"Cache-Control": "no-store"}
STATUS_OF = {"canceled": 200, "cancel_requested": 202, "already_terminal": 409}

router = APIRouter()


@router.post("/api/batches")
async def create(request: Request) -> JSONResponse:
    """202 with the batch; the same batch again for the same Idempotency-Key. All its jobs are admitted, or none."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    caller = caller_of(request, sluice.settings)
    key = read_idempotency_key(request)
    wanted = await read_model(request, MAX_BODY, BatchRequest)
    batch = await sluice.batches.create(caller, wanted, key, budget)
    await sluice.outbox_worker.drain_own(batch["id"], budget)
    return JSONResponse(batch, 202, headers={"Location": batch["links"]["status"], **PLAIN})


@router.get("/api/batches/{batch_id}")
async def status(request: Request, batch_id: str) -> Response:
    """200 with the batch; ``?first=0&count=50`` adds the results of so many of its jobs, in their order."""
    sluice = runtime.current()
    caller = caller_of(request, sluice.settings)
    first = read_number(request, "first", 0, 0, MAX_JOBS - 1)
    count = read_number(request, "count", 0, 0, MAX_RESULTS)
    # Written as ASCII: what a provider put into an output may hold text that UTF-8 cannot carry.
    body = json.dumps(await sluice.batches.view(caller, batch_id, first, count), separators=(",", ":"))
    return Response(body, media_type="application/json", headers=PLAIN)


@router.post("/api/batches/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str) -> JSONResponse:
    """200 ``canceled``; 202 ``cancel_requested`` while a provider still has some of it; 409 ``already_terminal``."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    word = await sluice.batches.cancel(caller_of(request, sluice.settings), batch_id, budget)
    await sluice.outbox_worker.drain_own(batch_id, budget)
    return JSONResponse({"id": batch_id, "result": word}, STATUS_OF[word], headers=PLAIN)


@router.post("/api/batches/{batch_id}/retry")
async def retry(request: Request, batch_id: str) -> JSONResponse:
    """202 with how many jobs are tried anew; 0 when none had failed."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    count = await sluice.batches.retry(caller_of(request, sluice.settings), batch_id, budget)
    await sluice.outbox_worker.drain_own(batch_id, budget)
    return JSONResponse({"id": batch_id, "retried": count}, 202, headers=PLAIN)


@router.get("/api/batches/{batch_id}/deliveries")
async def deliveries(request: Request, batch_id: str) -> JSONResponse:
    """200 with the event of each time the batch ended, and every try to tell it."""
    sluice = runtime.current()
    caller = caller_of(request, sluice.settings)
    return JSONResponse(await sluice.delivery_log.of_batch(caller, batch_id), headers=PLAIN)


@router.post("/api/batches/{batch_id}/redeliver")
async def redeliver(request: Request, batch_id: str) -> JSONResponse:
    """200 with the deliveries after one more try to tell its latest end; 404 if it has not ended."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    caller = caller_of(request, sluice.settings)
    wanted = await read_optional_model(request, MAX_REDELIVERY_BODY, BatchRedelivery)
    await sluice.delivery_log.redeliver_of_batch(caller, batch_id, wanted)
    await sluice.outbox_worker.drain_own(batch_id, budget)
    return JSONResponse(await sluice.delivery_log.of_batch(caller, batch_id), headers=PLAIN)


app = create_app(router)
handler = create_handler(app)
