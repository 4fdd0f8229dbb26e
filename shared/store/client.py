"""upstash-redis over Sluice's own HTTP client, or over httpx's."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
from upstash_redis.asyncio import Redis
from upstash_redis.http import AsyncHttpClient, make_headers

from shared.config.settings import Settings
from shared.connection import proxy_of
from shared.store.connection import IDLE_CONNECTION
from shared.store.wire import Wire
from shared.tls import tls_context

TOO_MANY = 429
REFUSING = (301, 302, 303, 307, 308, 401, 403, 404, 405, 410)  # with one of these no server has run a command


class Trouble(Exception):
    """The answer's status says that the store, or what is in front of it, is in trouble; its error text, or ''."""


class NotTheStore(Exception):
    """Another server answered with this status, and has surely run nothing."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpClient(Protocol):
    """The part of ``httpx.AsyncClient`` that upstash-redis uses."""

    async def post(self, url: str, *, headers: Mapping[str, str], json: Any) -> Any:
        """Posts a JSON document and returns the answer, which has ``headers`` and ``json()``."""

    async def aclose(self) -> None:
        """Closes the connections."""


class Client(Redis):
    """As ``Redis(url, token, rest_retries=0, allow_telemetry=False)``, except for its HTTP client.

    The constructors of 1.8.0 (asyncio/client.py, http.py) build a client of httpx in any case, which reads the
    certificates: 30 ms of CPU. So both are replaced; a test compares the fields.
    """

    def __init__(self, url: str, token: str, client: HttpClient) -> None:
        self._url = url
        self._read_your_writes = True
        self._sync_token = ""
        self._allow_telemetry = False
        self._headers = make_headers(token, "base64", False)
        self._http = _Http(client, self)


class _Http(AsyncHttpClient):
    def __init__(self, client: HttpClient, redis: Client) -> None:
        self._encoding = "base64"
        self._retries = 0
        self._retry_interval = 0
        self._sync_token_cb = redis._update_sync_token
        self._client = client  # type: ignore[assignment]


class Checked:
    """Looks at each answer's status: upstash-redis takes a proxy's JSON error for one of the command."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def post(self, url: str, *, headers: Mapping[str, str], json: Any) -> Any:
        """Raises Trouble and NotTheStore."""
        answer = await self._client.post(url, headers=headers, json=json)
        if answer.status_code in REFUSING and not _error_in(answer):
            raise NotTheStore(answer.status_code)
        if answer.status_code < 500 and answer.status_code != TOO_MANY:  # mutant: status
            return answer
        raise Trouble(_error_in(answer))

    async def aclose(self) -> None:
        await self._client.aclose()


def _error_in(answer: Any) -> str:
    """Returns the error text of an answer; '' without one."""
    try:
        text = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def open_client(settings: Settings) -> Client:
    """Returns the store's client; it connects at its first call."""
    token = settings.upstash_redis_rest_token
    url = settings.upstash_redis_rest_url or ""
    return Client(url, token.get_secret_value() if token else "", Checked(http_client(settings)))


def http_client(settings: Settings) -> HttpClient:
    """Returns Sluice's own client. httpx's is for proxies, and for a deployment that wants it back."""
    url = settings.upstash_redis_rest_url or ""
    if settings.store_client == "httpx" or _has_proxy(url):
        # httpx closes idle connections after 5 s; most calls of a quiet deployment would then need a TLS handshake.
        limits = httpx.Limits(keepalive_expiry=IDLE_CONNECTION)
        timeout = httpx.Timeout(settings.store_try_timeout, connect=settings.store_connect_timeout)
        return httpx.AsyncClient(timeout=timeout, limits=limits, verify=tls_context())
    tls = tls_context() if url.startswith("https:") else None
    return Wire(url, tls, settings.store_connect_timeout)


def _has_proxy(url: str) -> bool:
    parts = urlsplit(url)
    return bool(proxy_of(parts.scheme, parts.hostname or "")[1])
