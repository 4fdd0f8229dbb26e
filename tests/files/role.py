"""The address on the machine of a function that has the keys of its role, in tests."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-the-address"


class Address:
    """What Lambda serves on the machine of a function."""

    def __init__(self, token: str = TOKEN) -> None:
        self.asked = 0
        self.status = 200
        self.lasts = timedelta(hours=1)
        self.padding = 0
        self.pause = 0.0  # s before each byte of the document
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address.asked += 1
                is_allowed = self.headers["Authorization"] == token and self.path == "/v2/credentials?id=a"
                body = json.dumps(address.document() if is_allowed else {}).encode()
                self.send_response(address.status if is_allowed else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):
                    for piece in [body[at : at + 1] for at in range(len(body))] if address.pause else [body]:
                        time.sleep(address.pause)
                        self.wfile.write(piece)

            def log_message(self, *_: Any) -> None:
                """Logs nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v2/credentials?id=a"

    def document(self) -> dict[str, str]:
        until = (datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = str(self.asked)
        return {"AccessKeyId": f"ASIA{number}", "SecretAccessKey": "s", "Token": f"t{number}"} | (
            {"Expiration": until, "Padding": "x" * self.padding}
        )
