"""GET /api/hooks: how an application is told, and the secrets by which it knows that we tell it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.config.hooks import HookOptions
from shared.hooks.event import secrets_of
from shared.requests.auth import caller_of

router = APIRouter()


@router.get("/api/hooks")
async def hooks(request: Request) -> JSONResponse:
    """200 with the caller's default URL, its default events, and each secret that signs what it is told."""
    settings = runtime.current().settings
    caller = caller_of(request, settings)
    options = settings.hooks.get(caller, HookOptions())
    body = {"url": options.url, "events": options.events, "secrets": secrets_of(settings, caller)}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


app = create_app(router)
handler = create_handler(app)
