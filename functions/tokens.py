"""POST /api/tokens: a token with which a browser acts as one user."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.jobs.tokens import TokenRequest
from shared.requests.reading import read_model
from shared.requests.router import Router
from shared.warming import Needs

MAX_BODY = 16 * 1024

router = Router()


@router.post("/api/tokens")
async def create(request: Request) -> JSONResponse:
    """201 with a token for one user, which nothing stores; 403 for more than the API key itself may do."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        wanted = await read_model(request, MAX_BODY, TokenRequest)
        body = call.runtime.issuing.issue(call.caller, wanted)
    return JSONResponse(body, 201)


NEEDS = Needs()
app = create_app(router)
handler = create_handler(app, NEEDS)
