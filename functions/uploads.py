"""POST /api/uploads: a signed URL to upload a user's picture."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.jobs.uploads import UploadRequest, prepare_upload
from shared.requests.router import Router
from shared.warming import Needs

MAX_BODY = 4 * 1024

router = Router()


@router.post("/api/uploads")
async def create(request: Request) -> JSONResponse:
    """201 with a URL to PUT the file, and one to pass to a model; 409 if this deployment keeps no files."""
    async with runtime.call(request, Role.APPLICATION, scope=Scope.SUBMIT) as call:
        wanted = await call.read(MAX_BODY, UploadRequest)
        body = prepare_upload(call.runtime.bucket, call.caller.name, wanted, call.runtime.clock.now())
    return JSONResponse(body, 201)


NEEDS = Needs()
app = create_app(router)
handler = create_handler(app, NEEDS)
