"""/api/batches: many jobs with one progress."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.config.limits import MAX_JOBS
from shared.documents.answers import CanceledBatch, RetriedBatch
from shared.documents.cutting import cut_page, has_room
from shared.hooks.delivery_log import BatchRedelivery
from shared.jobs.batches import MAX_RESULTS, BatchRequest
from shared.requests.reading import read_idempotency_key, read_number, read_optional_model
from shared.requests.router import Router
from shared.warming import Needs

MAX_BODY = 1024 * 1024
MAX_REDELIVERY_BODY = 4 * 1024
STATUS_OF = {"canceled": 200, "cancel_requested": 202, "already_terminal": 409}

router = Router()


@router.post("/api/batches")
async def create(request: Request) -> JSONResponse:
    """202 with the batch, the same one for the same Idempotency-Key. Admits all its jobs, or none."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.SUBMIT) as call:
        key = read_idempotency_key(request)
        wanted = (await call.read(MAX_BODY, BatchRequest)).completed(call.caller.defaults)
        call.require_allowed(wanted.models(), wanted.provider)
        left = await call.count_submits(wanted.user_id, len(wanted.jobs))
        name, user = call.caller.name, call.caller.user
        batch = await call.runtime.batches.create(name, wanted, key, call.budget, by_user=user)
        call.follow_ups.about = batch["id"]
        await call.runtime.watch_schedule(call.budget)
    location = call.runtime.settings.location(batch["links"]["status"])
    return JSONResponse(batch, 202, headers={"Location": location, **left})


@router.get("/api/batches/{batch_id}")
async def status(request: Request, batch_id: str) -> Response:
    """200 with the batch; ``?first=0&count=50`` adds the results of these jobs, in their order."""
    async with runtime.call(request, Role.OPERATOR, Role.APPLICATION, scope=Scope.READ) as call:
        first = read_number(request, "first", 0, 0, MAX_JOBS - 1)
        count = read_number(request, "count", 0, 0, MAX_RESULTS)
        user = call.caller.user
        body = await call.runtime.batches.view(call.reader, batch_id, first, count, by_user=user)
    if not has_room(body):
        body = cut_page(json.loads(body))
    return Response(body, media_type="application/json")


@router.post("/api/batches/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str) -> JSONResponse:
    """200 ``canceled``; 202 ``cancel_requested`` while some of its jobs still run; 409 ``already_terminal``."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.CANCEL, about=batch_id) as call:
        name, user = call.caller.name, call.caller.user
        word = await call.runtime.batches.cancel(name, batch_id, call.budget, by_user=user)
    body: CanceledBatch = {"id": batch_id, "result": word}
    return JSONResponse(body, STATUS_OF[word])


@router.post("/api/batches/{batch_id}/retry")
async def retry(request: Request, batch_id: str) -> JSONResponse:
    """202 with the number of new jobs; 0 if none had failed."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE, about=batch_id) as call:
        count = await call.runtime.batches.retry(call.owner, batch_id, call.budget)
    body: RetriedBatch = {"id": batch_id, "retried": count}
    return JSONResponse(body, 202)


@router.get("/api/batches/{batch_id}/deliveries")
async def deliveries(request: Request, batch_id: str) -> JSONResponse:
    """200 with an event for each end of the batch, and all tries to deliver it."""
    async with runtime.call(request, Role.OPERATOR, Role.APPLICATION, scope=Scope.MANAGE) as call:
        return JSONResponse(await call.runtime.delivery_log.of_batch(call.reader, batch_id))


@router.post("/api/batches/{batch_id}/redeliver")
async def redeliver(request: Request, batch_id: str) -> JSONResponse:
    """200 with the deliveries, after one more try for the latest end; 404 if it has not ended."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE, about=batch_id) as call:
        wanted = await read_optional_model(request, MAX_REDELIVERY_BODY, BatchRedelivery)
        await call.runtime.delivery_log.redeliver_of_batch(call.owner, batch_id, wanted)
    # Read after the block, which makes the try when it ends.
    return JSONResponse(await call.runtime.delivery_log.of_batch(call.owner, batch_id))


NEEDS = Needs(("rates", "batches"), ("batch_create", "batch_read"))
app = create_app(router)
handler = create_handler(app, NEEDS)
