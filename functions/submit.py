"""POST /api/submit: admits a job."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.budget import Budget
from shared.jobs.request import SubmitRequest
from shared.requests.auth import caller_of
from shared.requests.reading import read_idempotency_key, read_model

MAX_BODY = 64 * 1024

router = APIRouter()


@router.post("/api/submit")
async def submit(request: Request) -> JSONResponse:
    """202 with the job, its links and its place in the queue; the same job again for the same Idempotency-Key."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    caller = caller_of(request, sluice.settings)
    key = read_idempotency_key(request)
    submission = await read_model(request, MAX_BODY, SubmitRequest)
    job = await sluice.admission.submit(caller, submission, key, budget)
    await sluice.outbox_worker.drain_own(job["id"], budget)
    return JSONResponse(job, 202, headers={"Location": job["links"]["status"], "Cache-Control": "no-store"})


app = create_app(router)
handler = create_handler(app)
