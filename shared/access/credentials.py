"""Callers of the credentials that are no key of API_KEYS. The form of a credential says which kind it is.

three parts in base64 for URLs ──▶ a JWT: minted here, or of the application's issuer
anything else                  ──▶ not valid
"""

import functools
from typing import TYPE_CHECKING

from shared.access.caller import Caller
from shared.access.forms import is_jwt
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import Unauthenticated

if TYPE_CHECKING:
    from shared.access.tokens import Tokens

WRONG_KEY = "The API key is not valid."


class Credentials:
    """Proves callers. What verifies a kind of credential is made, and its module loaded, when the first one comes.

    Belongs to one event loop.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    @functools.cached_property
    def tokens(self) -> "Tokens":
        from shared.access.tokens import Tokens

        return Tokens(self._settings, self._clock)

    async def caller_of(self, credential: str) -> Caller:
        """Returns the caller whom a Bearer credential proves; raises Unauthenticated."""
        if is_jwt(credential):
            return await self.tokens.caller_of(credential)
        raise Unauthenticated(WRONG_KEY)
