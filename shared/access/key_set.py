"""The JWK set of the application's issuer: fetched when a token needs it, and kept in this process.

key known and read a moment ago ──▶ use it
key known, read long ago        ──▶ ask again; the URL is down: go on with the known key
key unknown                     ──▶ ask again, at most once a minute; the URL is down: 503
"""

import asyncio
import json
from urllib.parse import urlsplit

from shared.access.errors import KeysUnavailable, TokenRefused
from shared.access.jwt_keys import Key, keys_of_set
from shared.clock import Clock
from shared.log import log

FRESH = 600.0  # s after which the set is asked for again
GAP = 60.0  # s between two questions
FIRST_GAP = 10.0  # s, as long as no key is known
TIMEOUT = 5.0  # s for the whole answer: a caller waits for it
MAX_SET = 64 * 1024  # bytes


class KeySet:
    """The keys at one URL. Belongs to one event loop."""

    def __init__(self, url: str, clock: Clock, *, allow_loopback: bool) -> None:
        self._url = url
        self._clock = clock
        self._allow_loopback = allow_loopback
        self._keys: dict[str, Key] = {}
        self._fresh_until = 0.0  # ms
        self._next_question_at = 0.0  # ms
        self._is_down = False
        self._cause = ""
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> Key:
        """Returns the key with this id; the only key for ''. Raises TokenRefused, or KeysUnavailable."""
        known = self._known(key_id)
        if known is not None and (self._clock.now() < self._fresh_until or self._asking.locked()):
            return known
        async with self._asking:
            if self._clock.now() >= self._next_question_at:  # mutant: questions
                await self._ask()
        # A key that the issuer has withdrawn is unknown after a good answer.
        found = self._known(key_id)
        if found is not None:
            return found
        if self._is_down:
            raise KeysUnavailable().because(self._cause)
        raise TokenRefused("The token is signed with a key that its issuer does not publish.")

    def _known(self, key_id: str) -> Key | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _ask(self) -> None:
        from shared.egress import TOO_SLOW, UNREACHABLE, EgressRefused

        try:
            self._keys = await self._fetched()
            self._is_down = False
            self._fresh_until = self._clock.now() + FRESH * 1000
        except (EgressRefused, *TOO_SLOW, *UNREACHABLE, RecursionError) as error:
            self._is_down = True
            self._cause = f"{urlsplit(self._url).hostname}: {type(error).__name__}"
            log.error("jwks_unavailable", cause=self._cause, error=type(error).__name__, known=len(self._keys))
        gap = GAP if self._keys or not self._is_down else FIRST_GAP
        self._next_question_at = self._clock.now() + gap * 1000

    async def _fetched(self) -> dict[str, Key]:
        from shared.egress import Guard, guarded_client

        body = bytearray()
        async with (
            asyncio.timeout(TIMEOUT),
            guarded_client(Guard(self._allow_loopback), TIMEOUT) as client,
            client.stream("GET", self._url) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError("no answer with keys")
            async for part in answer.aiter_raw(MAX_SET):
                body += part
                if len(body) > MAX_SET:  # mutant: large key set
                    raise ValueError("too many keys")
        return keys_of_set(json.loads(bytes(body)))
