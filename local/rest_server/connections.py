"""Raw connections to the engine: bytes in, bytes out, no reply rewritten."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from redis.asyncio import UnixDomainSocketConnection
from redis.exceptions import ResponseError

Command: TypeAlias = list[bytes]
Reply: TypeAlias = "int | bytes | Failure | list[Reply] | None"

POOL_SIZE = 16


@dataclass(frozen=True)
class Failure:
    """An error from the engine, or from the bridge in its place, with Redis' text."""

    text: str


class Connection:
    """Speaks RESP2 with the engine over one socket.

    It bypasses redis-py's client: `execute_command` rewrites replies by command name (HGETALL becomes a dict), while
    the REST API returns Redis' own replies. RESP2, because Upstash's JSON has only integers, strings, arrays and null.
    """

    def __init__(self, socket_path: str) -> None:
        # driver_info=None: no CLIENT SETINFO on connect, which the bill would count. No timeout: a script may be slow.
        self._raw = UnixDomainSocketConnection(
            path=socket_path, protocol=2, decode_responses=False, driver_info=None, socket_timeout=None
        )

    async def ask(self, *command: bytes) -> Reply:
        """Sends one command and returns its reply; errors come back as Failure."""
        return (await self.ask_all([command]))[0]

    async def ask_all(self, commands: Sequence[Sequence[bytes]]) -> list[Reply]:
        """Sends the commands at once and returns their replies in order."""
        await self._raw.connect()  # type: ignore[no-untyped-call]  # does nothing while connected
        await self._raw.send_packed_command(self._raw.pack_commands(commands))
        return [await self._read() for _ in commands]

    async def close(self) -> None:
        """Closes the socket."""
        await self._raw.disconnect(nowait=True)

    async def _read(self) -> Reply:
        try:
            return _reply(await self._raw.read_response())
        except ResponseError as error:
            return _reply(error)


class Connections:
    """Lends connections to requests, at most `size` at a time; a broken one is never lent again."""

    def __init__(self, socket_path: str, size: int = POOL_SIZE) -> None:
        self._socket_path = socket_path
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """Lends one connection until the block ends; an exception closes it, since a reply may be left unread."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else Connection(self._socket_path)
            try:
                yield connection
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)

    async def close(self) -> None:
        """Closes every idle connection."""
        while self._idle:
            await self._idle.pop().close()


def _reply(raw: object) -> Reply:
    """Returns redis-py's reply with its exceptions turned back into Redis' text, also those inside EXEC's array."""
    if isinstance(raw, list):
        return [_reply(element) for element in raw]
    if isinstance(raw, ResponseError):
        code = getattr(raw, "status_code", None)  # the parser removes a code that it knows from the text
        return Failure(f"{code} {raw}" if code else str(raw))
    if raw is None or isinstance(raw, int | bytes):
        return raw
    raise TypeError(f"RESP2 has no {type(raw).__name__}")
