"""POST /api/jobs/{id}/cancel: ends a job that is not wanted any more."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.auth import caller_of
from shared.budget import Budget
from shared.job import links

router = APIRouter()

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


app = create_app(router)
handler = create_handler(app)
