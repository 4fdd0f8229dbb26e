"""/api/jobs/{id}: what an owner may still change about a job."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.auth import caller_of
from shared.budget import Budget
from shared.errors import JobNotFound, NotWaiting
from shared.intake import read_model
from shared.job import is_job_id, links
from shared.submission import JobChange

router = APIRouter()

BODY_LIMIT = 4 * 1024
STATUS_OF = {"canceled": 200, "cancel_requested": 202, "already_terminal": 409}


@router.post("/api/jobs/{job_id}/cancel")
async def cancel(request: Request, job_id: str) -> JSONResponse:
    """200 ``canceled``; 202 ``cancel_requested`` while the provider still has it; 409 ``already_terminal``."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    canceled = await sluice.cancellation.cancel(caller_of(request, sluice.settings), job_id, budget)
    sluice.statuses.forget(job_id)
    body = {"id": job_id, "result": canceled.word, "links": links(job_id)}
    if canceled.outcome:
        body["status"] = canceled.outcome
    return JSONResponse(body, STATUS_OF[canceled.word], headers={"Cache-Control": "no-store"})


@router.patch("/api/jobs/{job_id}")
async def change(request: Request, job_id: str) -> JSONResponse:
    """200 once a waiting job stands where its new priority puts it; 409 when it does not wait any more."""
    sluice = runtime.current()
    caller = caller_of(request, sluice.settings)
    wanted = await read_model(request, BODY_LIMIT, JobChange)
    if not is_job_id(job_id):
        raise JobNotFound
    if not await sluice.controls.reprioritize(job_id, caller, wanted.priority):
        raise NotWaiting
    sluice.statuses.forget(job_id)
    body = {"id": job_id, "priority": wanted.priority, "links": links(job_id)}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


app = create_app(router)
handler = create_handler(app)
