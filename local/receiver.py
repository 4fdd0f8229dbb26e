"""`python -m local.receiver`: an owner's endpoint on this machine, which verifies the events it gets and prints them.

It asks the deployment for the secrets that sign events (GET /api/hooks), and verifies them with the `standardwebhooks`
package, as an application would.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from local.ports import HOST

MAX_BODY = 64 * 1024  # bytes; an event has 20 KB at most
PATH = "/hook"


@dataclass(frozen=True)
class Event:
    """An event with a valid signature, and when it came."""

    id: str
    body: dict[str, Any]  # type, timestamp, data
    came_at: datetime

    @property
    def type(self) -> str:
        """The event's type, such as job.completed."""
        return str(self.body["type"])

    @property
    def subject(self) -> str:
        """The id of its job or batch."""
        return str(self.body["data"]["id"])


class Receiver:
    """Listens until closed; calls ``on_event`` once for each verified event, however often it comes.

    ``refused`` counts requests that no secret has signed; they are answered 401. The calls of ``on_event`` come from
    the server's threads.
    """

    def __init__(self, secrets: Sequence[str], on_event: Callable[[Event], object], port: int = 0) -> None:
        self._verifiers = [Webhook(secret) for secret in secrets]
        self._on_event = on_event
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.refused = 0
        self._server = ThreadingHTTPServer((HOST, port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address to submit as `hook_url`."""
        return f"http://{HOST}:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Takes a request's event and returns the status to answer with."""
        event = self._verified(body, headers)
        with self._lock:
            if event is None:
                self.refused += 1
                return 401
            is_new = event.id not in self._seen
            self._seen.add(event.id)
        if is_new:
            self._on_event(event)
        return 204

    def _verified(self, body: bytes, headers: dict[str, str]) -> Event | None:
        for verifier in self._verifiers:
            try:
                event: dict[str, Any] = verifier.verify(body, headers)
            except (
                WebhookVerificationError,
                ValueError,
            ):  # the second: no base64, or no JSON
                continue
            return Event(headers["webhook-id"], event, datetime.now(UTC))
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self.take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                if length > MAX_BODY:
                    self.send_error(413)
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(take(self.rfile.read(length), headers))
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
                """Logs nothing."""

        return Handler


def secrets_of(functions_url: str, api_key: str) -> list[str]:
    """Returns the secrets that sign the events of an API key."""
    headers = {"Authorization": f"Bearer {api_key}"}
    answer = httpx.get(f"{functions_url}/api/hooks", headers=headers, trust_env=False).raise_for_status()
    secrets: list[str] = answer.json()["secrets"]
    return secrets


def show(event: Event) -> None:
    """Prints an event."""
    print(f"{event.came_at:%H:%M:%S} signature verified, webhook-id {event.id}", flush=True)
    print(json.dumps(event.body, indent=2), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints events until SIGINT or SIGTERM and returns 0; returns 2 if it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m local.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=8070, help="port to listen on (default: 8070)")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the functions are")
    parser.add_argument("--api-key", default=os.environ.get("API_KEY"), help="the API key (default: $API_KEY)")
    chosen = parser.parse_args(arguments)
    if not chosen.api_key:
        return _complain("no API key: set API_KEY or give --api-key")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Receiver(secrets_of(chosen.url, chosen.api_key), show, chosen.port) as receiver:
            print(f"receiver: submit jobs with hook_url {receiver.url}", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except httpx.HTTPStatusError as error:
        return _complain(f"{chosen.url} did not give its secrets: status {error.response.status_code}")
    except httpx.HTTPError as error:
        return _complain(f"{chosen.url} did not give its secrets: {type(error).__name__}")
    except OSError as error:
        return _complain(f"cannot listen on port {chosen.port}: {error.strerror}")
    return 0


def _complain(message: str) -> int:
    print(f"receiver: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
