"""DELETE /api/users/{user_id}: erases what is kept of one user."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.budget import Budget
from shared.jobs.erasure import UserPath
from shared.requests.auth import caller_of
from shared.requests.reading import checked

router = APIRouter()


@router.delete("/api/users/{user_id:path}")
async def erase(request: Request, user_id: str) -> JSONResponse:
    """200 with what this call has removed and what stays; to be repeated until ``is_complete``."""
    sluice = runtime.current()
    budget = Budget.of_function(sluice.settings)
    caller = caller_of(request, sluice.settings)
    user = checked(UserPath, {"user_id": user_id}).user_id
    report = await sluice.erasure.erase_user(caller, user, budget)
    return JSONResponse(report, headers={"Cache-Control": "no-store"})


app = create_app(router)
handler = create_handler(app)
