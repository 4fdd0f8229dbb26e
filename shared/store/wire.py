"""HTTP/1.1 for the store's client: kept connections, in place of the httpx client inside upstash-redis.

For a small request over an open connection, httpx and its pool take more CPU than all else that a submit does. The pool
searches all its requests for each one, so its cost grows with the square of what is under way (bench/load.py). Here the
caller bounds what is under way.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import h11

from shared.store.connection import Answer, Connection

STAGGER = 0.25  # s that one address is tried before the next is tried too: RFC 8305, "Happy Eyeballs"


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
            kept = self._idle.pop()
            if await kept.is_usable():
                return kept
            kept.abort()
        return await self._opened()

    async def _opened(self) -> Connection:
        try:
            host, port = self._address.hostname, self._address.port or (443 if self._tls else 80)
            if not host:
                raise ValueError("no host")
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, host, port, ssl=self._tls, happy_eyeballs_delay=STAGGER
                )
        except (OSError, ValueError) as error:  # ValueError: no port, or no name that can be looked up
            raise NotSent(type(error).__name__) from error
        return connection

    async def aclose(self) -> None:
        """Closes the connections."""
        while self._idle:
            self._idle.pop().abort()


def _dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
