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
from shared.connection import trouble_of
from shared.errors import StoreError, StoreScriptError, StoreUnavailable, StoreUncertain
from shared.log import log
from shared.store.refusals import StoreInterrupted, classify

NEVER_SENT = (
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    httpx.ProxyError,  # the proxy refused to connect
    *(httpx.UnsupportedProtocol, httpx.InvalidURL),
)
TOO_MANY = 429
IDLE_CONNECTION = 55.0  # s; keeping a connection for longer rarely pays


class Trouble(Exception):
    """The answer's status says that the store, or what is in front of it, is in trouble; its error text, or ''."""


class RestStore:
    """The production store. Belongs to one event loop: an HTTP client used from another loop fails in mid-request."""

    def __init__(self, settings: Settings) -> None:
        token = settings.upstash_redis_rest_token
        self._url = settings.upstash_redis_rest_url or ""
        self._redis = Redis(
            url=settings.upstash_redis_rest_url or "",
            token=token.get_secret_value() if token else "",
            rest_retries=0,
            allow_telemetry=False,
        )
        client: httpx.AsyncClient = self._redis._http._client
        client.timeout = httpx.Timeout(settings.store_try_timeout, connect=settings.store_connect_timeout)
        client.event_hooks = {"response": [_notice_trouble]}
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
                except StoreInterrupted:
                    raise  # it would be refused again
                except StoreUncertain:
                    log.warning("store_repeat", command=command[0])
                    return await self._again(list(command))  # mutant: one repeat
        except TimeoutError:
            raise StoreUncertain from None
        except StoreError as error:
            log.error("store_failed", code=error.code, command=command[0], **_reason(error))
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
        except NEVER_SENT as error:
            unreached = StoreUnavailable()
            unreached.trouble = trouble_of(error, self._url)
            raise unreached from None
        except UpstashError as error:
            raise classify(str(error)) from None
        except Trouble as trouble:
            raise classify(str(trouble), is_trouble=True) from None
        # No usable answer: timeouts, dropped connections, an HTML page from a proxy, an empty error text.
        except (TimeoutError, httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError):
            raise StoreUncertain from None

    async def close(self) -> None:
        await self._redis.close()


async def _notice_trouble(response: httpx.Response) -> None:
    """Raises Trouble: upstash-redis reads no status, and would take a proxy's JSON error for one of the command."""
    if response.status_code < 500 and response.status_code != TOO_MANY:  # mutant: status
        return
    await response.aread()
    try:
        text = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        text = ""
    raise Trouble(text if isinstance(text, str) else "")


def _reason(error: StoreError) -> dict[str, str]:
    """What the log says of an error: its reason, and the limit that was met."""
    if isinstance(error, StoreScriptError):
        return {"reason": error.text[:300]}
    more = {"refusal": error.refusal, "trouble": error.trouble}
    return {"reason": error.detail, **{name: text for name, text in more.items() if text}}
