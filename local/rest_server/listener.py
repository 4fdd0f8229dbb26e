"""uvicorn, changed to bind first, to stop at once, and to let faults close a connection."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

# Longer than any client keeps an idle connection (httpx: 5 s), or both ends may close it at the same moment.
KEEP_ALIVE_SECONDS = 75


class OpenProtocol(H11Protocol):
    """Shows itself to the application as `request.state.connection`; ASGI alone has no way to drop a connection."""

    def __init__(self, *, app_state: dict[str, Any], **settings: Any) -> None:
        super().__init__(app_state={**app_state, "connection": self}, **settings)


class Listener(uvicorn.Server):
    """Serves the REST application on a bound socket, until `stop` or a signal."""

    def __init__(self, app: FastAPI, on_ready: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._on_ready = on_ready
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            uvicorn.Config(
                app,
                http=OpenProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop it serves in, once it is ready."""
        if self._loop is None:
            raise RuntimeError("the server is not running")
        return self._loop

    def stop(self) -> None:
        """Makes `serve` return; may be called from any thread or signal handler."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        """Returns when `stop` is called; uvicorn's own loop checks ten times a second."""
        self._loop = asyncio.get_running_loop()
        self._on_ready()
        if not self.should_exit:
            await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Releases the requests that a fault keeps hanging, then shuts down as uvicorn does."""
        self._app.state.breakage.closing.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops on SIGINT and SIGTERM; uvicorn would raise them again and leave no time to stop the engine."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            self.stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket listening on the address (port 0: any free one); raises OSError when it is occupied."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit protocol asyncio turns Nagle's algorithm off, which would cost 40 ms an answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()  # before the engine starts: a second server could bind a port that is bound but not listening
    except OSError:
        bound.close()
        raise
    return bound
