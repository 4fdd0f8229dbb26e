"""Carries out a fault on the HTTP connection: closes it, leaves it hanging, or answers nonsense."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from .faults import INTERRUPTED_TEXT, Fault, Injection
from .tokens import UNAUTHORIZED

HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
APPLIED_FIRST = frozenset(
    (Fault.APPLY_THEN_DROP, Fault.APPLY_THEN_HANG, Fault.APPLY_THEN_HTML_502, Fault.APPLY_THEN_JSON_500)
)


class NoResponse(Response):
    """Sends nothing: the connection is gone already."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Returns at once."""


class Breakage:
    """Breaks the answers of struck requests.

    `closing` is set when the server stops, so that hanging requests do not delay it.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()

    async def answer(self, injection: Injection, request: Request, run: Callable[[], Awaitable[Response]]) -> Response:
        """Returns the broken answer; `run` applies the request and returns the sound one."""
        fault = injection.fault
        if fault is Fault.DELAY:
            await self._pause(injection.seconds)
            return await run()
        if fault in APPLIED_FIRST:
            await run()
        if fault in (Fault.DROP_BEFORE, Fault.APPLY_THEN_DROP):
            return await _drop(request)
        if fault in (Fault.HANG, Fault.APPLY_THEN_HANG):
            return await self._hang(request)
        return _nonsense(fault)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.closing.wait(), seconds)
        except TimeoutError:
            return

    async def _hang(self, request: Request) -> Response:
        gone = asyncio.create_task(_client_gone(request))
        closing = asyncio.create_task(self.closing.wait())
        _, pending = await asyncio.wait((gone, closing), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return await _drop(request)


def _nonsense(fault: Fault) -> Response:
    if fault is Fault.WRONG_TOKEN:
        return JSONResponse(UNAUTHORIZED, status_code=401)
    if fault is Fault.THROTTLED:
        return PlainTextResponse("Too Many Requests", status_code=429)
    if fault is Fault.JSON_429:
        return JSONResponse({"error": "Too many requests"}, status_code=429)
    if fault in (Fault.JSON_500, Fault.APPLY_THEN_JSON_500):
        return JSONResponse({"error": "Internal server error"}, status_code=500)
    if fault is Fault.INTERRUPTED:
        return JSONResponse({"error": INTERRUPTED_TEXT}, status_code=400)
    return HTMLResponse(HTML, status_code=502)


async def _drop(request: Request) -> Response:
    """Closes the connection without an answer, and waits until it is closed, or uvicorn would answer 500 and log it."""
    request.state.connection.transport.close()
    await _client_gone(request)
    return NoResponse()


async def _client_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
