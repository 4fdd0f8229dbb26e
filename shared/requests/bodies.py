"""Bounds how long any request's body may take, and closes the connection of a body that is not wanted.

A server reads on after an answer: it would take the rest of an endless body, byte by byte, and keep the connection.

    body ──▶ complete in time ──▶ the function answers, the connection stays
        ──▶ too slow ──▶ 408, closed
        ──▶ refused before its end ──▶ the answer, closed unless the rest is small and comes at once
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import InvalidRequest
from shared.storage.links import ROUTE

MAX_DRAINED = 256 * 1024  # bytes that are read and dropped, so that a client sees the answer and not a reset
DRAIN_TIMEOUT = 1.0  # s
MIN_RATE = 100_000  # bytes/s of an upload to the file route


class BoundedBodies:
    """Gives each request's body ``seconds`` to arrive. A part that comes later is InvalidRequest with 408.

    An upload has as much longer as its declared length takes at MIN_RATE; of that, ``max_upload`` bytes count at most.
    """

    def __init__(self, app: ASGIApp, seconds: float, max_upload: int = 0) -> None:
        self._app = app
        self._seconds = seconds
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, asyncio.get_running_loop().time() + self._seconds_of(scope))
        await self._app(scope, body.receive, body.send)

    def _seconds_of(self, scope: Scope) -> float:
        if scope["method"] != "PUT" or not scope["path"].startswith(ROUTE):
            return self._seconds
        declared = dict(scope["headers"]).get(b"content-length", b"")
        size = int(declared) if declared.isdigit() and len(declared) < 20 else 0
        return self._seconds + min(size, self._max_upload) / MIN_RATE


class _Body:
    """The body of one request, and the answer to it."""

    def __init__(self, receive: Receive, send: Send, until: float) -> None:
        self._receive = receive
        self._send = send
        self._until = until
        self._is_over = False
        self._is_answered = False

    async def receive(self) -> Message:
        """Returns the next part; raises InvalidRequest if the time is over and the answer has not begun."""
        if self._is_over:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):  # mutant: slow body
                return await self._part()
        except TimeoutError:
            if self._is_answered:  # a stream listens for the end of its connection only
                return await self._part()
            raise InvalidRequest("The body did not arrive in time.", http_status=408) from None

    async def send(self, message: Message) -> None:
        """Sends a part of the answer; the connection ends with it if the body has not."""
        if message["type"] == "http.response.start" and not self._is_over:
            self._is_answered = True
            await self._drain()
            if not self._is_over:  # mutant: endless body
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await self._send(message)

    async def _part(self) -> Message:
        part = await self._receive()
        self._is_over = part["type"] != "http.request" or not part.get("more_body", False)
        return part

    async def _drain(self) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT):
                while not self._is_over and dropped <= MAX_DRAINED:
                    dropped += len((await self._part()).get("body", b""))
        except (TimeoutError, InvalidRequest):
            return


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
