"""A real HTTP server that takes what a deployment reports: Sentry's envelopes, and spans by OTLP/HTTP."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Collector:
    """Keeps each request with its path and its unpacked body. While it ``hangs``, it answers nothing."""

    url: str = ""
    status: int = 200
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        """All that has come, as text."""
        return "\n".join(body.decode("utf-8", "replace") for _, body in self.taken)

    def dsn(self, key: str = "public") -> str:
        return self.url.replace("http://", f"http://{key}@") + "/1"

    def reports(self) -> list[dict[str, Any]]:
        """The events in the envelopes: lines of a header, and then each item's header and payload."""
        found = []
        for path, body in self.taken:
            assert path == "/api/1/envelope/"
            lines = body.split(b"\n")
            kinds = [json.loads(line) for line in lines[1::2] if line]
            found += [json.loads(lines[2 * n + 2]) for n, kind in enumerate(kinds) if kind["type"] == "event"]
        return found


@contextmanager
def collecting(*, hangs: bool = False) -> Iterator[Collector]:
    """Runs a collector until the block ends."""
    collector = Collector()
    if not hangs:
        collector.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.taken.append((self.path, body))
            collector.may_answer.wait(30)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.may_answer.set()
        server.shutdown()
        server.server_close()
