"""/api/verification/...: codes by e-mail, and proofs of the addresses that got them."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.requests.callers import address_of, network_of
from shared.requests.reading import read_model
from shared.requests.router import Router
from shared.verification.request import CodeCheck, CodeRequest
from shared.warming import Needs

MAX_BODY = 4 * 1024

router = Router(prefix="/api/verification")


@router.post("/send")
async def send(request: Request) -> JSONResponse:
    """202 once the mail with the code is handed over; 429 with Retry-After; 503 if it could not be handed over."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        wanted = await read_model(request, MAX_BODY, CodeRequest)
        client = network_of(wanted.client_address or address_of(request.scope, call.runtime.settings.proxy_networks))
        sent = await call.runtime.verification.send(call.owner, wanted, client)
    return JSONResponse(sent, 202)


@router.post("/check")
async def check(request: Request) -> JSONResponse:
    """200 with a signed proof, once for each code; 422 for any code that is not valid."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        asked = await read_model(request, MAX_BODY, CodeCheck)
        client = network_of(asked.client_address or address_of(request.scope, call.runtime.settings.proxy_networks))
        verified = await call.runtime.verification.check(call.owner, asked, client)
    return JSONResponse(verified)


@router.get("/key")
async def key(request: Request) -> JSONResponse:
    """200 with the key that the application verifies proofs with. Makes no call to the store."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        shown = call.runtime.verification.key(call.owner)
    return JSONResponse(shown)


NEEDS = Needs(("verification",))
app = create_app(router)
handler = create_handler(app, NEEDS)
