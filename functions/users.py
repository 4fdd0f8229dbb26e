"""DELETE /api/users/{user_id}: erases one user's jobs and files."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.jobs.erasure import UserPath
from shared.requests.auth import Role
from shared.requests.reading import checked

router = APIRouter()


@router.delete("/api/users/{user_id:path}")
async def erase(request: Request, user_id: str) -> JSONResponse:
    """200 with how much this call has deleted and what stays; repeat it until ``is_complete``."""
    async with runtime.call(request, Role.APPLICATION) as call:
        user = checked(UserPath, {"user_id": user_id}).user_id
        report = await call.runtime.erasure.erase_user(call.owner, user, call.budget)
    return JSONResponse(report)


app = create_app(router)
handler = create_handler(app)
