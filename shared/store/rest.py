"""Upstash Redis over its REST API: a bounded number of calls, a deadline on each, two kinds of failure.

upstash-redis 1.8.0 has no timeout by default, and repeats any command three seconds after any exception, whether it
was applied or not (its http.py). So it never repeats here, its HTTP client gets timeouts, and this module decides about
the one repeat.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
from upstash_redis.errors import UpstashError

from shared.config.settings import Settings
from shared.connection import trouble_of
from shared.errors import StoreError, StoreScriptError, StoreUnavailable, StoreUncertain
from shared.log import Repeats, log
from shared.store import goes_first
from shared.store.client import NotTheStore, Trouble, open_client
from shared.store.connection import AnswerLost
from shared.store.refusals import StoreInterrupted, classify
from shared.store.scripts import Scripts
from shared.store.wire import NotSent
from shared.turnstile import Crowded, Turnstile

MAX_UNDER_WAY = 16  # calls of a process; more are not faster, and each has a connection
MAX_WAITING = 1_000  # calls; at 1 ms each, the last one waits for a second
NEVER_SENT = (
    NotSent,
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout),
    httpx.ProxyError,  # the proxy refused to connect
    *(httpx.UnsupportedProtocol, httpx.InvalidURL),
)
# Timeouts, dropped connections, an HTML page from a proxy, an empty error text.
NO_ANSWER = (
    *(TimeoutError, AnswerLost, httpx.HTTPError),
    *(json.JSONDecodeError, UnicodeDecodeError, KeyError, AttributeError),
)


class RestStore:
    """The production store. Belongs to one event loop: an HTTP client used from another loop fails in mid-request."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.upstash_redis_rest_url or ""
        self._redis = open_client(settings)
        self._scripts = Scripts()
        self._repeats = Repeats()
        self._turnstile = Turnstile(MAX_UNDER_WAY, MAX_WAITING)
        self._try_timeout = settings.store_try_timeout
        self._total_timeout = settings.store_total_timeout

    async def execute(self, *command: str) -> Any:
        """Executes one command, and repeats it once if its answer was lost; see Store."""
        until = asyncio.get_running_loop().time() + self._total_timeout
        try:
            # A call that begins has time for a whole try. One that waits longer was surely not applied.
            await self._turnstile.enter(self._total_timeout - self._try_timeout, goes_first=goes_first.get())
            try:
                async with asyncio.timeout_at(until):
                    return await self._tried(list(command))
            finally:
                self._turnstile.leave()
        except Crowded:
            error: StoreError = StoreUnavailable("Too many calls wait for the store.", retry_after=2)
        except TimeoutError:
            error = StoreUncertain().because(f"no answer within {self._total_timeout:g} s")
        except StoreError as failed:
            error = failed
        if count := self._repeats.count(error.code, error.cause):
            log.error("store_failed", code=error.code, command=command[0], count=count, **_reason(error))
        raise error from None

    async def _tried(self, command: list[str]) -> Any:
        try:
            return await self._once(command)
        except StoreInterrupted:
            raise  # it would be refused again
        except StoreUncertain as lost:
            if count := self._repeats.count("repeat", lost.cause):  # mutant: bounded store repeats
                log.warning("store_repeat", command=command[0], cause=lost.cause, count=count)
            return await self._again(command, lost)  # mutant: one repeat

    async def _again(self, command: list[str], lost: StoreUncertain) -> Any:
        try:
            return await self._once(command)
        except StoreUnavailable:
            # This try was surely not applied, but the first one may be.
            # mutant: first try may have been applied
            raise StoreUncertain().because(lost.cause) from None

    async def _once(self, command: list[str]) -> Any:
        try:
            async with asyncio.timeout(self._try_timeout):
                return await self._scripts.send(self._redis.execute, command)
        except NEVER_SENT as error:
            unreached = StoreUnavailable()
            unreached.trouble = trouble_of(error, self._url)
            raise unreached from None
        except NotTheStore as error:
            unreached = StoreUnavailable()
            host = urlsplit(self._url).hostname
            unreached.trouble = f"{host} answered {error.status} and is no Upstash REST API"
            raise unreached from None
        except UpstashError as error:
            raise classify(str(error)) from None
        except Trouble as trouble:
            raise classify(str(trouble), is_trouble=True) from None
        except NO_ANSWER as error:
            raise StoreUncertain().because(f"{urlsplit(self._url).hostname}: {type(error).__name__}") from None

    async def close(self) -> None:
        await self._redis.close()


def _reason(error: StoreError) -> dict[str, str]:
    """What the log says of an error: its reason, and the limit that was met."""
    if isinstance(error, StoreScriptError):
        return {"reason": error.text[:300]}
    named = error.refusal or error.trouble
    more = {"refusal": error.refusal, "trouble": error.trouble, "cause": "" if named else error.cause}
    return {"reason": error.detail, **{name: text for name, text in more.items() if text}}
