"""/api/jobs: the list of an application's jobs, and the operations on one job."""

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.documents.answers import CanceledJob, ChangedJob
from shared.documents.cutting import has_room, piece_of
from shared.documents.job import links
from shared.errors import JobNotFound, NotWaiting
from shared.hooks.delivery_log import JobRedelivery
from shared.jobqueue.record import is_job_id
from shared.jobs.listing import JobsQuery
from shared.jobs.request import JobChange
from shared.jobs.results import MAX_FILE, MAX_FROM, result_of
from shared.requests.reading import read_model, read_number, read_optional_model, read_parameter, read_query
from shared.requests.router import Router
from shared.warming import Needs

router = Router()

MAX_BODY = 4 * 1024
STATUS_OF = {"canceled": 200, "cancel_requested": 202, "already_terminal": 409}


@router.get("/api/jobs")
async def jobs(request: Request) -> JSONResponse:
    """200 with a page of the caller's jobs, newest first, and ``next_cursor``, which is null on the last page."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.READ) as call:
        query, user = read_query(request, JobsQuery), call.caller.user
        return JSONResponse(await call.runtime.listing.jobs(call.caller.name, query, by_user=user))


@router.delete("/api/jobs/{job_id}")
async def delete(request: Request, job_id: str) -> Response:
    """204 once an ended job and its files are deleted; 409 if it has not ended, or belongs to a batch.

    503 if the storage does not answer; the job then stays.
    """
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        await call.runtime.erasure.delete_job(call.owner, job_id, call.budget)
    return Response(status_code=204)


@router.post("/api/jobs/{job_id}/retry")
async def retry(request: Request, job_id: str) -> JSONResponse:
    """202 with the new job for a failed one, the same for each repeat; 409 for any other job."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        job = await call.runtime.redrive.retry(call.owner, job_id, call.budget)
        call.follow_ups.about = job["id"]
        call.runtime.statuses.forget(job_id)
    return JSONResponse(job, 202, headers={"Location": call.runtime.settings.location(job["links"]["status"])})


@router.get("/api/jobs/{job_id}/result")
async def result(request: Request, job_id: str) -> Response:
    """303 to a completed job's output if it is a public https URL or a list with one, else 200; 409 without an output.

    ``?file=0``, ``?file=1``, ... lead to one file; 404 if there is none. ``?from=0`` answers a large output in pieces;
    303 leads there if the platform has no room for it, and 409 says that the output has changed between two pieces.
    It costs as much as a poll, and shares its cache.
    """
    async with runtime.call(request, Role.OPERATOR, Role.APPLICATION, scope=Scope.READ) as call:
        number = read_number(request, "file", 0, 0, MAX_FILE) if "file" in request.query_params else None
        start = read_number(request, "from", 0, 0, MAX_FROM)
        remembered = await call.runtime.statuses.view(call.reader, job_id, by_user=call.caller.user)
        is_open = call.runtime.settings.allow_loopback
    found = result_of(remembered.value, number, allow_loopback=is_open)
    if "from" in request.query_params:
        return JSONResponse(piece_of(job_id, found.output, start, read_parameter(request, "of") or None))
    if found.url is not None:
        return RedirectResponse(found.url, 303)
    if not has_room(found.body):
        return RedirectResponse("?from=0", 303)  # relative, because the caller's path may begin with a stage's name
    return Response(found.body, media_type="application/json")


@router.post("/api/jobs/{job_id}/cancel")
async def cancel(request: Request, job_id: str) -> JSONResponse:
    """200 ``canceled``; 202 ``cancel_requested`` while the job still runs; 409 ``already_terminal``."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.CANCEL, about=job_id) as call:
        name, user = call.caller.name, call.caller.user
        canceled = await call.runtime.cancellation.cancel(name, job_id, call.budget, by_user=user)
    call.runtime.statuses.forget(job_id)
    body: CanceledJob = {"id": job_id, "result": canceled.word, "links": links(job_id)}
    if canceled.outcome:
        body["status"] = canceled.outcome
    return JSONResponse(body, STATUS_OF[canceled.word])


@router.patch("/api/jobs/{job_id}")
async def change(request: Request, job_id: str) -> JSONResponse:
    """200 once a waiting job has its new priority and position; 409 if it no longer waits."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        wanted = await read_model(request, MAX_BODY, JobChange)
        if not is_job_id(job_id):
            raise JobNotFound
        if not await call.runtime.controls.reprioritize(job_id, call.owner, wanted.priority):
            raise NotWaiting
        call.runtime.statuses.forget(job_id)
    body: ChangedJob = {"id": job_id, "priority": wanted.priority, "links": links(job_id)}
    return JSONResponse(body)


@router.get("/api/jobs/{job_id}/deliveries")
async def deliveries(request: Request, job_id: str) -> JSONResponse:
    """200 with each event of the job, and all tries to deliver it."""
    async with runtime.call(request, Role.OPERATOR, Role.APPLICATION, scope=Scope.MANAGE) as call:
        return JSONResponse(await call.runtime.delivery_log.of_job(call.reader, job_id))


@router.post("/api/jobs/{job_id}/redeliver")
async def redeliver(request: Request, job_id: str) -> JSONResponse:
    """200 with the deliveries, after one more try; 404 for an event that has not happened."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE, about=job_id) as call:
        wanted = await read_optional_model(request, MAX_BODY, JobRedelivery)
        await call.runtime.delivery_log.redeliver_of_job(call.owner, job_id, wanted)
    # Read after the block, which makes the try when it ends.
    return JSONResponse(await call.runtime.delivery_log.of_job(call.owner, job_id))


NEEDS = Needs(("statuses", "cancellation", "listing"), ("explain", "list", "cancel"))
app = create_app(router)
handler = create_handler(app, NEEDS)
