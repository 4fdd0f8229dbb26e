"""Creates predictions at the simulated Replicate, and receives their webhooks."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
from standardwebhooks import Webhook

from local.simulator.running import RunningSimulator

API_FIELDS = {
    *("id", "model", "version", "input", "output", "error", "logs", "metrics", "created_at", "started_at"),
    *("completed_at", "data_removed", "source", "status", "urls"),
}
INSTANT: dict[str, Any] = {"seconds": 0, "start_delay": 0}


class Received(NamedTuple):
    """One webhook as it arrived."""

    headers: dict[str, str]
    body: bytes
    event: dict[str, Any]


class Receiver:
    """Receives webhooks. Answers with the statuses in `answers`, then with 200."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self.secret = secret
        self.answers: list[int] = []
        self.received: queue.Queue[Received] = queue.Queue()

    def get(self) -> Received:
        return self.received.get(timeout=30)

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.received.put(Received(headers, body, Webhook(self.secret).verify(body, headers)))
        return self.answers.pop(0) if self.answers else 200


@contextmanager
def receiving(secret: str) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = it.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            if status in (301, 307):
                self.send_header("location", it.url)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        it = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook?job=j1&attempt=1", secret)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        server.shutdown()


def create(api: httpx.Client, *, prompt: str = "a fox", headers: dict[str, str] | None = None, **rest: Any) -> Any:
    """Creates a prediction of an official model. Keywords that are not body fields choose its behaviour."""
    body: dict[str, Any] = {
        name: rest.pop(name) for name in ("version", "webhook", "webhook_events_filter") if name in rest
    }
    body = {"version": "acme/video", "input": {"prompt": prompt, "simulate": rest}, **body}
    return api.post("/predictions", json=body, headers=headers)


def webhook_to(receiver: Receiver, **rest: Any) -> dict[str, Any]:
    return {"webhook": receiver.url, "webhook_events_filter": ["completed"], **rest}


def deliveries(simulator: RunningSimulator, count: int) -> list[dict[str, Any]]:
    """Returns the newest prediction's deliveries, once ``count`` of them have their answers."""
    for _ in range(2000):
        found: list[dict[str, Any]] = simulator.predictions()[0]["deliveries"]
        if len(found) >= count:
            return found
    raise AssertionError(f"only {found}")
