"""GET /api/health: whether this deployment works."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.application import create_app, create_handler
from shared.documents.operating import StoreHealth, Unavailable
from shared.errors import StoreError
from shared.requests.router import Router
from shared.warming import Needs

router = Router()


@router.get("/api/health")
async def health(request: Request) -> JSONResponse:
    """200 with ``ok`` or ``degraded``, or 503 if the store cannot be read. An answer is kept for 5 s."""
    async with runtime.call(request, Role.ANYONE) as call:
        try:
            return JSONResponse(await call.runtime.health.view())
        except StoreError as error:
            mode = call.runtime.settings.storage_mode
            store: StoreHealth = {"mode": mode, "reachable": False, "code": error.code}
            unavailable: Unavailable = {"status": "unavailable", "store": store}
            return JSONResponse(unavailable, 503)


NEEDS = Needs(("health",), ("health",))
app = create_app(router)
handler = create_handler(app, NEEDS)
