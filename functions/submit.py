"""POST /api/submit: admits a job."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.jobs.request import SubmitRequest
from shared.requests.reading import read_idempotency_key
from shared.requests.router import Router
from shared.warming import Needs

MAX_BODY = 64 * 1024

router = Router()


@router.post("/api/submit")
async def submit(request: Request) -> JSONResponse:
    """202 with the job, its links and its position; the same job for the same Idempotency-Key."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.SUBMIT) as call:
        key = read_idempotency_key(request)
        wanted = (await call.read(MAX_BODY, SubmitRequest)).completed(call.caller.defaults)
        call.require_allowed([wanted.model], wanted.provider)
        if wanted.token:
            call.caller.require(Scope.READ, {})
        left = await call.count_submits(wanted.user_id)
        admission, user = call.runtime.admission, call.caller.user
        job = await admission.submit(call.caller.name, wanted, key, call.budget, by_user=user)
        call.follow_ups.about = job["id"]
        if wanted.token:
            job = call.runtime.issuing.with_token(call.caller, wanted, job)
        await call.runtime.watch_schedule(call.budget)
    location = call.runtime.settings.location(job["links"]["status"])
    return JSONResponse(job, 202, headers={"Location": location, **left})


NEEDS = Needs(("rates", "admission"), ("enqueue", "record"), calls_providers=True)
app = create_app(router)
handler = create_handler(app, NEEDS)
