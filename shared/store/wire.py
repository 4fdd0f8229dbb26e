"""HTTP/1.1 for the store's client: kept connections, in place of the httpx client inside upstash-redis.

For a small request over an open connection, httpx and its pool take more CPU than all else that a submit does. The pool
searches all its requests for each one, so its cost grows with the square of what is under way (bench/load.py). Here the
caller bounds what is under way.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import h11

from shared.store.connection import Answer, Connection

STAGGER = 0.25  # s that one address is tried before the next is tried too: RFC 8305, "Happy Eyeballs"
Try: TypeAlias = asyncio.Task[tuple[asyncio.Transport, Connection]]


class NotSent(Exception):
    """No connection could be made: the request was surely not sent."""


class Wire:
    """The part of ``httpx.AsyncClient`` that upstash-redis uses, for one host; ``tls`` if its scheme is https.

    Belongs to one event loop.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None, connect_timeout: float) -> None:
        self._address = urlsplit(url)
        self._host = self._address.netloc.rpartition("@")[2]
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._idle: list[Connection] = []

    async def post(self, url: str, *, headers: Mapping[str, str], json: Any) -> Answer:
        """Posts a JSON document; raises NotSent or AnswerLost. A call that is cancelled closes its connection."""
        body = _dumped(json)
        own = {"Host": self._host, "User-Agent": "Sluice", "Content-Type": "application/json"}
        fields = {**own, "Content-Length": str(len(body)), **headers}
        try:
            head = h11.Request(method="POST", target=urlsplit(url).path or "/", headers=[*fields.items()])
        except (h11.LocalProtocolError, ValueError) as error:
            raise NotSent(type(error).__name__) from error  # a token or an address that no header can hold
        connection, is_kept = await self._connection(), False
        try:
            answer = await connection.exchange(head, body)
            is_kept = connection.renew(answer.status_code)
        finally:
            if is_kept:
                self._idle.append(connection)
            else:
                connection.abort()  # mutant: broken connection
        return answer

    async def _connection(self) -> Connection:
        while self._idle:
            kept, is_usable = self._idle.pop(), False
            try:
                is_usable = await kept.is_usable()
            finally:
                if not is_usable:
                    kept.abort()  # mutant: unusable connection
            if is_usable:
                return kept
        return await self._opened()

    async def _opened(self) -> Connection:
        try:
            host, port = self._address.hostname, self._address.port or (443 if self._tls else 80)
            if not host:
                raise ValueError("no host")
            async with asyncio.timeout(self._connect_timeout):
                return await self._first_to(host, port)
        except (OSError, ValueError) as error:  # ValueError: no port, or no name that can be looked up
            raise NotSent(type(error).__name__) from error

    async def _first_to(self, host: str, port: int) -> Connection:
        """Returns the first connection to any of the host's addresses.

        asyncio's own race leaves a socket open if it is cancelled when it was just won.
        """
        loop, name = asyncio.get_running_loop(), host if self._tls else None
        addresses = [info[4][:2] for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        tries: list[Try] = []
        won: Try | None = None
        try:
            while True:
                if addresses:
                    connect = loop.create_connection(Connection, *addresses.pop(0), ssl=self._tls, server_hostname=name)
                    tries.append(loop.create_task(connect))
                under_way = [each for each in tries if not each.done()]
                if under_way:
                    patience = STAGGER if addresses else None
                    await asyncio.wait(under_way, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                won = next((each for each in tries if each.done() and not each.exception()), None)
                if won or not (addresses or under_way):
                    return (won or tries[-1]).result()[1]
        finally:
            for each in tries:
                if each is not won:
                    each.cancel()
                    each.add_done_callback(_drop)

    async def aclose(self) -> None:
        """Closes the connections."""
        while self._idle:
            self._idle.pop().abort()


def _drop(late: Try) -> None:
    if not late.cancelled() and not late.exception():
        late.result()[1].abort()  # mutant: late connection


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
