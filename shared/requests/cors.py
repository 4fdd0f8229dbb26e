"""Answers for pages of other origins (CORS), by an allow list.

    listed origin    ──▶ preflight answered, kept for two hours; answers may be read, with the headers below
    any other origin ──▶ preflight 400; the browser keeps each answer from the page

Credentials are never allowed: a page sends its token itself, and no cookie or remembered password counts.
"""

from collections.abc import Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request

METHODS = ("GET", "HEAD", "POST", "PUT")  # what a user's token can call, and an upload to a folder
SENT = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Range")
EXPOSED = (
    "ETag", "Retry-After", "Location", "Content-Range", "WWW-Authenticate", "RateLimit", "RateLimit-Policy",
)  # fmt: skip
MAX_AGE = 7200  # s; the longest that Chromium keeps


def allow_origins(app: Starlette, origins: Sequence[str]) -> None:
    """Lets pages of these origins call the application; loads nothing without one."""
    if not origins:
        return
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=EXPOSED,
        max_age=MAX_AGE,
    )


def headers_of_bug(request: Request, origins: Sequence[str]) -> Mapping[str, str]:
    """Returns what lets a listed page read an answer that is made outside of all layers."""
    origin = request.headers.get("origin", "")
    return {"access-control-allow-origin": origin, "vary": "Origin"} if origin in origins else {}
