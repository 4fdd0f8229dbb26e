"""/api/operate/...: what the operator may do. Bearer OPERATOR_TOKEN; without that setting nobody may."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.budget import Budget
from shared.errors import JobNotFound, Unauthenticated
from shared.jobqueue.job import is_job_id
from shared.jobs.limits import LimitsChange
from shared.jobs.listing import LettersQuery, UndeliveredQuery
from shared.jobs.redrive import RedriveOrder
from shared.requests.auth import bears
from shared.requests.reading import read_model, read_query

MAX_BODY = 64 * 1024
PLAIN = {"Cache-Control": "no-store"}

router = APIRouter(prefix="/api/operate")


def operator(request: Request) -> runtime.Runtime:
    """The runtime, for the operator alone."""
    sluice = runtime.current()
    if not bears(request, sluice.settings.operator_token):
        raise Unauthenticated("Send the operator's token as Bearer token.")
    return sluice


@router.get("/limits")
async def limits(request: Request) -> JSONResponse:
    """200 with all limits: configured, set live, paused."""
    sluice = operator(request)
    return JSONResponse(sluice.limits.shown(await sluice.controls.set_gates({})), headers=PLAIN)


@router.patch("/limits")
async def change_limits(request: Request) -> JSONResponse:
    """200 with all limits after the change; what it lets start is started at once."""
    sluice = operator(request)
    budget = Budget.of_function(sluice.settings)
    change = await read_model(request, MAX_BODY, LimitsChange)
    shown = await sluice.limits.change(change)
    await sluice.dispatcher.run(budget)
    return JSONResponse(shown, headers=PLAIN)


@router.get("/dead-letters")
async def dead_letters(request: Request) -> JSONResponse:
    """200 with a page of the dead letters, the last to die first, and ``next_cursor``; null on the last page alone."""
    sluice = operator(request)
    return JSONResponse(await sluice.listing.letters(read_query(request, LettersQuery)), headers=PLAIN)


@router.delete("/dead-letters/{job_id}")
async def drop_dead_letter(request: Request, job_id: str) -> Response:
    """204 once it is no dead letter any more; its job stays until it expires. 404 when it is none."""
    sluice = operator(request)
    if not is_job_id(job_id) or not await sluice.history.drop_letter(job_id):
        raise JobNotFound
    return Response(status_code=204, headers=PLAIN)


@router.post("/dead-letters/redrive")
async def redrive(request: Request) -> JSONResponse:
    """200 with the new jobs made of failed ones; a ``next_cursor`` says that there is more to do."""
    sluice = operator(request)
    budget = Budget.of_function(sluice.settings)
    order = await read_model(request, MAX_BODY, RedriveOrder)
    report = await sluice.redrive.run(order, budget)
    for job in report["redriven"]:
        sluice.statuses.forget(job["id"])
    return JSONResponse(report, headers=PLAIN)


@router.get("/undelivered")
async def undelivered(request: Request) -> JSONResponse:
    """200 with 100 events at most that were given up, the last first, and ``next_before``; null on the last page."""
    sluice = operator(request)
    wanted = read_query(request, UndeliveredQuery)
    return JSONResponse(await sluice.delivery_log.undelivered(wanted.before), headers=PLAIN)


app = create_app(router)
handler = create_handler(app)
