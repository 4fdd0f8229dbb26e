"""/api/operate/...: what the operator may do. Bearer OPERATOR_TOKEN; without that setting nobody may."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.auth import bears
from shared.budget import Budget
from shared.errors import Unauthenticated
from shared.intake import read_model
from shared.limits import LimitsChange

BODY_LIMIT = 64 * 1024
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
    change = await read_model(request, BODY_LIMIT, LimitsChange)
    shown = await sluice.limits.change(change)
    await sluice.dispatcher.run(budget)
    return JSONResponse(shown, headers=PLAIN)


app = create_app(router)
handler = create_handler(app)
