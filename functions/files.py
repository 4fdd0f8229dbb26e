"""/api/files/{key}: files that this machine stores, for development. With a bucket, it answers 404."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared import runtime
from shared.access.caller import Role
from shared.application import create_app, create_handler
from shared.config.settings import Settings
from shared.jobs.serving import open_piece, piece_of, read_upload_size, save_upload, verify
from shared.requests.reading import media_type
from shared.requests.router import Router
from shared.warming import Needs

router = Router()


def require_own_storage(settings: Settings) -> None:
    """Raises 404 unless files are served by this route."""
    if settings.storage_scheme not in ("file", "memory"):
        raise HTTPException(404)


@router.head("/api/files/{key:path}")
@router.get("/api/files/{key:path}")
async def read(request: Request, key: str) -> Response:
    """200 with the file, 206 with a range, 304 if the caller has it; 403 for a URL that is not signed for it."""
    async with runtime.call(request, Role.LINK) as call:
        require_own_storage(call.runtime.settings)
        bucket, now, query = call.runtime.bucket, call.runtime.clock.now(), request.query_params
        verify(bucket, request.method, key, query, now)
        piece = await piece_of(bucket, key, query, request.headers, now)
        if request.method == "HEAD" or piece.status == 304:
            return Response(status_code=piece.status, headers=piece.headers)
        return StreamingResponse(await open_piece(bucket, key, piece), piece.status, headers=piece.headers)


@router.put("/api/files/{key:path}")
async def write(request: Request, key: str) -> Response:
    """200 once the upload is stored; it must have the type and length that its URL was signed for."""
    async with runtime.call(request, Role.LINK) as call:
        bucket, settings = call.runtime.bucket, call.runtime.settings
        require_own_storage(settings)
        content_type, length = media_type(request), request.headers.get("content-length")
        size = read_upload_size(content_type, length, settings.upload_max_bytes)
        verify(bucket, "PUT", key, request.query_params, call.runtime.clock.now(), content_type, str(size))
        await save_upload(bucket, key, request.stream(), content_type, size)
    return Response(status_code=200)


NEEDS = Needs()
app = create_app(router)
handler = create_handler(app, NEEDS)
