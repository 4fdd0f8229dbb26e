"""Runs the whole server inside the calling process, for tests and benches."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI

from .bill import Bill
from .bridge import Bridge
from .connections import Reply
from .engine import Engine
from .faults import Fault, Faults, Injection
from .listener import Listener, bind
from .server import create_app

T = TypeVar("T")
START_DEADLINE_SECONDS = 20.0
CALL_DEADLINE_SECONDS = 10.0


class RunningServer:
    """A REST server at `url` that accepts `token`; its methods work in-process and are not billed."""

    def __init__(
        self, url: str, token: str, read_only_token: str, engine: Engine, app: FastAPI, listener: Listener
    ) -> None:
        self.url = url
        self.token = token
        self.read_only_token = read_only_token
        self.engine = engine
        self._bridge: Bridge = app.state.bridge
        self._faults: Faults = app.state.faults
        self._listener = listener

    def bill(self) -> Bill:
        """Returns the bill since the start or the last reset; exact while no request is under way."""
        return self._await(self._bridge.bill())

    def reset_bill(self) -> None:
        """Resets the bill."""
        self._await(self._bridge.reset_bill())

    def inject(
        self,
        fault: Fault | str,
        times: int = 1,
        match: str | None = None,
        seconds: float = 0.0,
        probability: float = 1.0,
        seed: int = 0,
    ) -> Injection:
        """Breaks the next `times` requests (-1: all until cleared) whose text contains `match`; see Injection."""
        injection = Injection(Fault(fault), times, match, seconds, probability, seed)
        return self._call(lambda: self._faults.inject(injection))

    def clear_faults(self) -> None:
        """Lifts all faults; requests already struck stay struck."""
        self._call(self._faults.clear)

    def ask(self, *command: str | bytes | int) -> Reply:
        """Returns the engine's raw reply to a command that bypasses HTTP, faults and bill."""
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        return self._await(self._bridge.ask(*words))

    def flush(self) -> None:
        """Empties the database."""
        self.ask("FLUSHALL")

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._listener.loop).result(CALL_DEADLINE_SECONDS)

    def _call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self._await(called())


@contextmanager
def running_server(
    token: str | None = None,
    binary: Path | None = None,
    data_dir: Path | None = None,
    read_only_token: str | None = None,
    port: int = 0,
) -> Iterator[RunningServer]:
    """Runs engine and REST server until the block ends, on a free loopback port unless one is given.

    The server has its own thread and event loop, so the caller's may block. Tokens are random unless given.
    """
    token = token or secrets.token_urlsafe(24)
    read_only_token = read_only_token or secrets.token_urlsafe(24)
    with bind("127.0.0.1", port) as bound, Engine(binary, data_dir) as engine:
        app = create_app(engine.socket_path, token, read_only_token)
        settled = threading.Event()
        listener = Listener(app, on_ready=settled.set)

        def serve() -> None:
            try:
                asyncio.run(listener.serve(sockets=[bound]))
            finally:
                settled.set()

        thread = threading.Thread(target=serve, name="rest-server", daemon=True)
        thread.start()
        if not settled.wait(START_DEADLINE_SECONDS) or not listener.started:
            raise RuntimeError("the REST server did not start; its thread's traceback says why")
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        try:
            yield RunningServer(url, token, read_only_token, engine, app, listener)
        finally:
            listener.stop()
            thread.join()
