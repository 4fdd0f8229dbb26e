"""DELETE /api/users?user_id=...: erases one user's jobs and files."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.jobs.erasure import ErasureQuery
from shared.requests.reading import read_query
from shared.requests.router import Router
from shared.signing.derived import user_tag
from shared.warming import Needs

router = Router()


@router.delete("/api/users")
async def erase(request: Request) -> JSONResponse:
    """200 with how much this call has deleted and what stays; repeat it until ``is_complete``."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        query = read_query(request, ErasureQuery)
        # The audit outlives the erasure, so it holds a hash of the user's id.
        async with call.audited("user.erase", user_tag(call.runtime.settings.signing_key, call.owner, query.user_id)):
            report = await call.runtime.erasure.erase_user(
                call.owner, query.user_id, call.budget, cancel=query.cancel == "true"
            )
    return JSONResponse(report)


NEEDS = Needs(("erasure",), ("erase",))
app = create_app(router)
handler = create_handler(app, NEEDS)
