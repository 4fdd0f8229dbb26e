"""GET /api/hooks: an application's default hook, and the secrets that sign its events."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.config.hooks import HookOptions
from shared.documents.answers import HooksDocument
from shared.hooks.event import secrets_of
from shared.requests.router import Router
from shared.warming import Needs

router = Router()


@router.get("/api/hooks")
async def hooks(request: Request) -> JSONResponse:
    """200 with the caller's default URL, its default events, and each secret that signs its events."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.MANAGE) as call:
        settings = call.runtime.settings
        defaults = call.caller.defaults
        options = (defaults and defaults.hook) or settings.hooks.get(call.owner, HookOptions())
    body: HooksDocument = {
        "url": options.url,
        "events": list(options.events),
        "secrets": list(secrets_of(settings, call.owner)),
    }
    return JSONResponse(body)


NEEDS = Needs()
app = create_app(router)
handler = create_handler(app, NEEDS)
