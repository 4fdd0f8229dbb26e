"""Creating tasks at the simulator of WaveSpeed, and receiving their webhooks."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared.json_value import Json
from shared.providers.base import (
    Accepted,
    Prediction,
    Submission,
    SubmissionOutcome,
)
from shared.providers.wavespeed import WaveSpeed

MODEL = "acme/video-1/fast"
INSTANT: dict[str, Any] = {"seconds": 0, "start_delay": 0}


class Receiver:
    """Receives webhooks and answers 200."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    async def get(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.to_thread(self.received.get, timeout=30)


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            it.received.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook?job=j1&attempt=1&nonce=a%2Bb")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        server.shutdown()


async def create(
    provider: WaveSpeed, hook: str | None = None, *, prompt: str = "a fox", timeout: float = 15, **simulate: Any
) -> SubmissionOutcome:
    inputs: dict[str, Json] = {"prompt": prompt, "simulate": simulate}
    return await provider.create(Submission("job_1", 1, MODEL, inputs, hook, 90), timeout)


async def created(provider: WaveSpeed, hook: str | None = None, **simulate: Any) -> Prediction:
    outcome = await create(provider, hook, **simulate)
    assert isinstance(outcome, Accepted)
    return outcome.prediction
