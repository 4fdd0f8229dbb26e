"""GET /api/status/{id}: the job, through the cache."""

import json
import math

from starlette.requests import Request
from starlette.responses import Response

from shared import runtime
from shared.access.caller import Role
from shared.access.scope import Scope
from shared.application import create_app, create_handler
from shared.documents.cutting import cut_job, has_room
from shared.requests.router import Router
from shared.warming import Needs

router = Router()


@router.get("/api/status/{job_id}")
async def status(request: Request, job_id: str) -> Response:
    """200 with the job, or 304 if the caller's ETag still matches; headers say how long the answer is good."""
    known_etag = request.headers.get("if-none-match", "")
    async with runtime.call(request, Role.OPERATOR, Role.APPLICATION, scope=Scope.READ) as call:
        remembered = await call.runtime.statuses.view(call.reader, job_id, known_etag, by_user=call.caller.user)
    view, good_for = remembered.value, call.runtime.statuses.left(remembered)
    headers = {"ETag": view.etag, "Cache-Control": f"private, max-age={math.floor(good_for)}", "Vary": "Authorization"}
    if not view.is_final:
        headers["Retry-After"] = str(math.ceil(view.poll_after))
    if view.etag in known_etag:
        return Response(status_code=304, headers=headers)
    body = view.body if has_room(view.body) else cut_job(json.loads(view.body))
    return Response(body, media_type="application/json", headers=headers)


NEEDS = Needs(("statuses",), ("explain",))
app = create_app(router)
handler = create_handler(app, NEEDS)
