"""Who a token proves: a user for whom this deployment has minted it, or one of the application's own issuer."""

from shared.access.caller import Caller, Role
from shared.access.errors import TokenRefused
from shared.access.forms import Header, read_header, require_valid_now
from shared.access.jwt_keys import HMAC, Key, key_of_pem, verified
from shared.access.key_set import KeySet
from shared.access.minted import TYPE, MintedTokens
from shared.access.scope import OF_USERS
from shared.access.user import is_user_id
from shared.clock import Clock
from shared.config.credentials import text_of
from shared.config.order import TIERS
from shared.config.settings import Settings

UNKNOWN = "This deployment accepts no such token."
TOLERANCE = 30  # s by which the issuer's clock may differ
TYPES = ("", "jwt", "at+jwt", "application/at+jwt")  # of an issuer's token for an API (RFC 9068, section 4)


class Tokens:
    """Verifies tokens. Belongs to one event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.minted = MintedTokens(settings)
        self._key = _own_key(settings)
        url, is_open = settings.jwt_jwks_url, settings.allow_loopback
        self._key_set = KeySet(url, clock, allow_loopback=is_open) if url else None

    async def caller_of(self, token: str) -> Caller:
        """Returns the user whom the token proves; raises TokenRefused, or KeysUnavailable."""
        header = read_header(token)
        if header.type == TYPE:
            caller = self.minted.caller_of(token, header, self._clock.now())
        else:
            caller = await self._of_issuer(token, header)
        # Without its key, a name owns nothing any more; and its tokens end with it.
        # A key of the store is looked up by credentials.py.
        if not caller.key_id and caller.name not in self._settings.callers:  # mutant: key is gone
            raise TokenRefused("The API key that this token belongs to is no longer known.")
        return caller

    async def _of_issuer(self, token: str, header: Header) -> Caller:
        s = self._settings
        # Before its key is asked for: what can never be accepted must not use up the question of a minute.
        if header.type.lower() not in TYPES:  # mutant: type of a token
            raise TokenRefused(UNKNOWN)
        key = self._key or (await self._key_set.key(header.key_id) if self._key_set else None)
        if key is None:
            raise TokenRefused(UNKNOWN)
        claims = verified(token, header, key, issuer=s.jwt_issuer, audience=s.jwt_audience)
        require_valid_now(claims, self._clock.now(), TOLERANCE)
        user, tier = claims["sub"], claims.get(s.jwt_tier_claim)
        if not is_user_id(user):
            raise TokenRefused("The token's sub cannot be a user's id.")
        if tier is not None and tier not in TIERS:
            raise TokenRefused("The token's tier is not known.")
        return Caller(Role.APPLICATION, s.owner_of_jwts, str(user), OF_USERS, tier=None if tier is None else str(tier))


def _own_key(settings: Settings) -> Key | None:
    if settings.jwt_secret is not None:
        return Key(text_of(settings.jwt_secret).encode(), HMAC)
    return key_of_pem(settings.jwt_public_key) if settings.jwt_public_key else None
