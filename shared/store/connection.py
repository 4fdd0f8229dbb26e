"""One connection to the store, for one request after the other: h11 on asyncio's streams."""

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
READ_SIZE = 64 * 1024
GLANCE = 0.001  # s in which the event loop reads what has come


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


class Connection:
    """One connection to the store, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer  # which closes the transport once it is collected
        self._transport = writer.transport
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
        self._used_at = time.monotonic()

    async def is_usable(self) -> bool:
        """Whether another request may be sent: the connection is not old, and nothing but a TLS ticket has come.

        The socket itself is asked: a function that was frozen has not seen yet that the server closed the connection.
        """
        if time.monotonic() - self._used_at > IDLE_CONNECTION or self._transport.is_closing():  # mutant: old connection
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
        try:
            async with asyncio.timeout(GLANCE):
                await self._reader.read(1)
        except OSError as error:
            return isinstance(error, TimeoutError)  # there was nothing to read
        return False

    async def exchange(self, head: h11.Request, body: bytes) -> Answer:
        """Sends a request in one write and returns its answer; raises AnswerLost."""
        parts = (head, h11.Data(data=body), h11.EndOfMessage())
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
                    self._http.receive_data(await self._reader.read(READ_SIZE))
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

    def renew(self) -> bool:
        """Makes the connection ready for the next request; returns whether both sides want one."""
        is_wanted = self._http.our_state is self._http.their_state is h11.DONE and not self._http.trailing_data[0]
        if is_wanted:
            self._http.start_next_cycle()
            self._used_at = time.monotonic()
        return is_wanted

    def abort(self) -> None:
        """Drops the connection at once, without a farewell."""
        self._transport.abort()
