"""/api/files/{key}: kept files where this machine keeps them, for development. With a bucket there is no such route."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from shared import runtime
from shared.application import create_app, create_handler
from shared.jobs.serving import keep, opened, piece_of, upload_terms, verify
from shared.requests.reading import media_type

router = APIRouter()


def own_storage() -> runtime.Runtime:
    """The runtime, where files are read through this route."""
    sluice = runtime.current()
    if sluice.settings.storage_scheme not in ("file", "memory"):
        raise HTTPException(404)
    return sluice


@router.head("/api/files/{key:path}", operation_id="head_file")
@router.get("/api/files/{key:path}")
async def read(request: Request, key: str) -> Response:
    """200 with the file, 206 with a range of it, 304 if the caller has it; 403 for a URL that was not given out."""
    sluice = own_storage()
    now, query = sluice.clock.now(), request.query_params
    verify(sluice.bucket, request.method, key, query, now)
    piece = await piece_of(sluice.bucket, key, query, request.headers, now)
    if request.method == "HEAD" or piece.status == 304:
        return Response(status_code=piece.status, headers=piece.headers)
    return StreamingResponse(await opened(sluice.bucket, key, piece), piece.status, headers=piece.headers)


@router.put("/api/files/{key:path}")
async def write(request: Request, key: str) -> Response:
    """200 once the upload is kept; it has the very type and length that its URL was signed for."""
    sluice = own_storage()
    content_type, length = media_type(request), request.headers.get("content-length")
    size = upload_terms(content_type, length, sluice.settings.upload_max_bytes)
    verify(sluice.bucket, "PUT", key, request.query_params, sluice.clock.now(), content_type, str(size))
    await keep(sluice.bucket, key, request.stream(), content_type, size)
    return Response(status_code=200, headers={"Cache-Control": "no-store"})


app = create_app(router)
handler = create_handler(app)
