"""One connection to the store, for one request after the other: h11 on a protocol of asyncio."""

import asyncio
import json
import select
import time
from dataclasses import dataclass
from typing import Any

import h11
import httpx

IDLE_CONNECTION = 55.0  # s; keeping a connection for longer rarely pays
MAX_ANSWER = 16 * 1024 * 1024  # bytes; Upstash's bound is 10 MB, and base64 makes a third more of them
MAX_HEADERS = 64 * 1024
MAX_GLANCES = 8  # turns of the event loop in which it reads what has come
KEPT = (200, 400, 429)  # the store's own statuses; with another one, a proxy may have spoken


class AnswerLost(Exception):
    """The connection broke, or what came is no answer: the request may have been served."""


@dataclass(frozen=True)
class Answer:
    """What upstash-redis reads of an answer."""

    status_code: int
    headers: httpx.Headers
    content: bytes

    def json(self) -> Any:
        """Returns the parsed body; raises ValueError for what is no JSON."""
        return json.loads(self.content)


class Connection(asyncio.Protocol):
    """One connection to the store, for one request after the other. What comes unasked closes it."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
        self._received = bytearray()
        self._news = asyncio.Event()  # something was received, or the connection has ended
        self._is_asked = False
        self._has_ended = False
        self._error: Exception | None = None
        self._used_at = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of a stream)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._is_asked:
            self._received += data
            self._news.set()
        else:
            self.abort()  # mutant: unasked

    def eof_received(self) -> None:
        """Closes the transport, by returning nothing."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, error: Exception | None) -> None:
        self._has_ended, self._error = True, error
        self._news.set()

    async def is_usable(self) -> bool:
        """Whether another request may be sent: the connection is not old, and nothing but a TLS ticket has come.

        The socket itself is asked: a function that was frozen has not seen yet that the server closed the connection.
        """
        if time.monotonic() - self._used_at > IDLE_CONNECTION or self._is_over():  # mutant: old connection
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        for _ in range(MAX_GLANCES):
            if not poll.poll(0):
                return True
            await asyncio.sleep(0)
            if self._is_over():
                return False
        return False

    def _is_over(self) -> bool:
        return self._has_ended or self._transport.is_closing()

    async def exchange(self, head: h11.Request, body: bytes) -> Answer:
        """Sends a request in one write and returns its answer; raises AnswerLost."""
        parts = (head, h11.Data(data=body), h11.EndOfMessage())
        self._is_asked = True
        self._transport.write(b"".join(self._http.send(part) or b"" for part in parts))
        try:
            return await self._answer()
        except (h11.RemoteProtocolError, OSError) as error:
            raise AnswerLost(type(error).__name__) from None

    async def _answer(self) -> Answer:
        head: h11.Response | None = None
        content = bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    self._http.receive_data(await self._read())
                case h11.Response() as response:
                    head = response
                case h11.Data(data=data):
                    content += data
                    if len(content) > MAX_ANSWER:  # mutant: answer's bound
                        raise AnswerLost("answer too large")
                case h11.EndOfMessage() if head is not None:
                    return Answer(head.status_code, httpx.Headers(list(head.headers)), bytes(content))
                case h11.ConnectionClosed():
                    raise AnswerLost("closed")

    async def _read(self) -> bytes:
        await self._news.wait()
        if self._error and not self._received:
            raise self._error
        data = bytes(self._received)  # empty at the end
        self._received.clear()
        if not self._has_ended:
            self._news.clear()
        return data

    def renew(self, status: int) -> bool:
        """Makes the connection ready for the next request; returns whether both sides want one."""
        is_done = self._http.our_state is self._http.their_state is h11.DONE
        is_silent = not self._received and not self._http.trailing_data[0]
        is_wanted = is_done and is_silent and status in KEPT  # mutant: status of a kept connection
        if is_wanted:
            self._http.start_next_cycle()
            self._is_asked = False
            self._used_at = time.monotonic()
        return is_wanted

    def abort(self) -> None:
        """Drops the connection at once, without a farewell."""
        self._transport.abort()
