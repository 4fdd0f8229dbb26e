"""The credentials of a Lambda function's role where its environment has none: SnapStart gives an address instead.

A snapshot may be restored hours after it was made, so keys in it would have expired. AWS, "Lambda SnapStart": the
runtime sets AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN. AWS, "Container credential
provider": the address answers with JSON. EKS Pod Identity does the same, with its token in a file.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from shared.clock import SystemClock
from shared.errors import StorageUnavailable
from shared.frozen import dataclass
from shared.log import log
from shared.signing.s3 import Credentials

ANSWER_TIMEOUT = 2.0  # s; it is on this machine
ASK_TIMEOUT = 3.0  # s, of all tries; an event loop waits for them
TRIES = 2
MAX_ANSWER = 65_536  # bytes
FAILS_FOR = 10_000  # ms that a failure is remembered: a list of files signs a hundred URLs
FRESH_FOR = 300_000  # ms before their expiry that credentials are asked for again


@dataclass(frozen=True)
class RoleKeys:
    """Credentials, and when they expire."""

    credentials: Credentials
    expires_at: datetime

    def last(self, ms: int) -> bool:
        """Whether they are still valid so much later."""
        return self.expires_at.timestamp() * 1000 > SystemClock().now() + ms


class Role:
    """Asks for the role's credentials when they are needed, and keeps them until shortly before they expire."""

    def __init__(self, uri: str, token: str, token_file: str | None = None) -> None:
        self._uri = uri
        self._token = token
        self._token_file = token_file  # counts before the token (AWS SDKs), and is read at each question
        self._kept: RoleKeys | None = None
        self._failed_at: int | None = None
        self._lock = threading.Lock()  # obstore asks in threads of its own

    def keys(self) -> RoleKeys:
        """Returns valid credentials; raises StorageUnavailable. Blocks for the milliseconds that a local call takes."""
        with self._lock:
            if (self._kept is None or not self._kept.last(FRESH_FOR)) and not self._has_just_failed():
                self._renew()
            if self._kept is None or not self._kept.last(0):
                raise StorageUnavailable().because("Lambda does not give the keys of the role")
            return self._kept

    def _has_just_failed(self) -> bool:
        # A clock that is set back does not prolong it.
        return self._failed_at is not None and 0 <= SystemClock().now() - self._failed_at < FAILS_FOR

    def _renew(self) -> None:
        try:
            self._kept, self._failed_at = self._ask(), None
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            self._failed_at = SystemClock().now()
            log.error("role_failed", error=type(error).__name__)

    def _ask(self) -> RoleKeys:
        until = time.monotonic() + ASK_TIMEOUT
        for attempt in range(1, TRIES + 1):
            try:
                return self._ask_once(until)
            except (OSError, http.client.HTTPException):
                if attempt == TRIES or time.monotonic() >= until:
                    raise
        raise AssertionError

    def _ask_once(self, until: float) -> RoleKeys:
        parts = urlsplit(self._uri)
        token = Path(self._token_file).read_text("utf-8").strip() if self._token_file else self._token
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT)
        with closing(connection):
            connection.connect()
            with _cut_at(until, connection.sock):
                path = f"{parts.path}?{parts.query}" if parts.query else parts.path
                connection.request("GET", path, headers={"Authorization": token} if token else {})
                answer = connection.getresponse()
                body = answer.read(MAX_ANSWER)
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
        document = json.loads(body)
        expires_at = datetime.fromisoformat(document["Expiration"])
        credentials = Credentials(document["AccessKeyId"], document["SecretAccessKey"], document["Token"])
        return RoleKeys(credentials, expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC))


@contextmanager
def _cut_at(until: float, sock: socket.socket) -> Iterator[None]:
    """Ends the connection at this time: its own timeout begins anew with each byte."""

    def cut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
