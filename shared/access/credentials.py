"""Callers of the credentials that are no key of API_KEYS. The form of a credential says which kind it is.

three parts in base64 for URLs ──▶ a JWT: minted here, or of the application's issuer
sk_live_                       ──▶ a key of the store
anything else                  ──▶ not valid
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from shared.access.caller import Caller
from shared.access.forms import is_jwt
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import Unauthenticated
from shared.signing.api_keys import looks_like_key

if TYPE_CHECKING:
    from shared.access.tokens import Tokens

WRONG_KEY = "The API key is not valid."


class KeyRing(Protocol):
    """Knows the keys of the store."""

    async def caller_of(self, credential: str) -> Caller:
        """Returns the caller of a key; raises Unauthenticated, or StoreError."""

    async def completed(self, caller: Caller) -> Caller:
        """Returns the user of a token with the defaults of the key that minted it; raises Unauthenticated."""


class Credentials:
    """Proves callers. What verifies a kind of credential is made, and its module loaded, when the first one comes.

    Belongs to one event loop.
    """

    def __init__(self, settings: Settings, clock: Clock, key_ring: "Callable[[], KeyRing]") -> None:
        self._settings = settings
        self._clock = clock
        self._key_ring = key_ring

    @functools.cached_property
    def tokens(self) -> "Tokens":
        from shared.access.tokens import Tokens

        return Tokens(self._settings, self._clock)

    async def caller_of(self, credential: str) -> Caller:
        """Returns the caller whom a Bearer credential proves; raises Unauthenticated, or StoreError."""
        if is_jwt(credential):
            caller = await self.tokens.caller_of(credential)
            return await self._key_ring().completed(caller) if caller.key_id else caller  # mutant: token of a key
        if looks_like_key(credential):
            return await self._key_ring().caller_of(credential)
        raise Unauthenticated(WRONG_KEY)
