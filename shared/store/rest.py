"""Upstash Redis over its REST API: one client, a deadline on every call, two kinds of failure.

upstash-redis 1.8.0 has no timeout by default, and repeats any command three seconds after any exception, whether it
was applied or not (its http.py). So it is built with ``rest_retries=0``, its HTTP client gets timeouts, and this module
decides about the one repeat.
"""

import asyncio
import json
from typing import Any

import httpx
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError

from shared.config.settings import Settings
from shared.errors import StoreError, StoreRefused, StoreScriptError, StoreUnavailable, StoreUncertain
from shared.log import log

# The HTTP status of these answers is not documented (only 200, 400, 401 and 405 are), so the text decides.
# Texts: Upstash's troubleshooting pages and its REST API page.
REFUSALS = (
    ("max requests limit exceeded", "its monthly request quota is used up", 60),
    ("max daily request limit exceeded", "its daily request quota is used up", 60),
    ("capacity quota exceeded", "it is full", 60),
    ("max concurrent connections", "it has too many connections", 5),
    ("wrongpass", "the token is wrong", 60),
    ("unauthorized", "the token is wrong", 60),
    ("noperm", "the token may only read", 60),
    ("readonly", "it is read-only", 10),
    ("oom command not allowed", "it is full", 60),
    ("loading", "it is starting", 5),
)
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL)
IDLE_CONNECTION = 55.0  # s; keeping a connection for longer rarely pays


class RestStore:
    """The production store. Belongs to one event loop: an HTTP client used from another loop fails in mid-request."""

    def __init__(self, settings: Settings) -> None:
        token = settings.upstash_redis_rest_token
        self._redis = Redis(
            url=settings.upstash_redis_rest_url or "",
            token=token.get_secret_value() if token else "",
            rest_retries=0,
            allow_telemetry=False,
        )
        client: httpx.AsyncClient = self._redis._http._client
        client.timeout = httpx.Timeout(settings.store_try_timeout, connect=settings.store_connect_timeout)
        # httpx closes idle connections after 5 s; most calls of a quiet deployment would then need a TLS handshake.
        pool: Any = client._transport._pool  # type: ignore[attr-defined]
        pool._keepalive_expiry = IDLE_CONNECTION
        self._try_timeout = settings.store_try_timeout
        self._total_timeout = settings.store_total_timeout

    async def execute(self, *command: str) -> Any:
        """Executes one command, and repeats it once if its answer was lost; see Store."""
        try:
            async with asyncio.timeout(self._total_timeout):
                try:
                    return await self._once(list(command))
                except StoreUncertain:
                    log.warning("store_repeat", command=command[0])
                    return await self._again(list(command))  # mutant: one repeat
        except TimeoutError:
            raise StoreUncertain from None
        except StoreError as error:
            log.error("store_failed", code=error.code, command=command[0], reason=_reason(error))
            raise

    async def _again(self, command: list[str]) -> Any:
        try:
            return await self._once(command)
        except StoreUnavailable:
            # mutant: first try may have been applied
            raise StoreUncertain from None  # this try was surely not applied, but the first one may be

    async def _once(self, command: list[str]) -> Any:
        try:
            async with asyncio.timeout(self._try_timeout):
                return await self._redis.execute(command)
        except NEVER_SENT:
            raise StoreUnavailable from None
        except UpstashError as error:
            raise classify(str(error)) from None
        # No usable answer: timeouts, dropped connections, an HTML page from a proxy, an empty error text.
        except (TimeoutError, httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError):
            raise StoreUncertain from None

    async def close(self) -> None:
        await self._redis.close()


def classify(text: str) -> StoreError:
    """Returns the error that an answer's text means."""
    lower = text.lower()
    for mark, reason, retry_after in REFUSALS:
        if mark in lower:
            return StoreRefused(reason, retry_after=retry_after)
    return StoreScriptError(text)


def _reason(error: StoreError) -> str:
    return error.text[:300] if isinstance(error, StoreScriptError) else error.detail
