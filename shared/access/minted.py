"""Tokens that an application's backend mints for one of its users: signed, and stored nowhere.

A token is the caller that it proves, written as claims. Its key is derived from SIGNING_SECRET for tokens alone, and
its type and audience are no other token's: no other signature of this deployment is one, and none of another's.
"""

from collections.abc import Mapping

from shared.access.caller import Caller, Role
from shared.access.errors import NotPermitted, TokenRefused
from shared.access.forms import MAX_TOKEN, UNREADABLE, Header, require_valid_now
from shared.access.jwt_keys import HMAC, Key, verified
from shared.access.scope import OF_USERS, Scope
from shared.access.user import is_user_id
from shared.config.settings import Settings
from shared.json_value import Json
from shared.signing.derived import token_key

TYPE = "sluice+jwt"
ISSUER = "sluice"


class MintedTokens:
    """Writes and reads tokens; costs no command of the store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._audience = f"sluice:{settings.prefix}"

    def mint(self, caller: Caller, now: int, seconds: int) -> str:
        """Returns the token of this caller, a user, from now (ms) on. Raises NotPermitted if it would be too long."""
        import jwt  # only callers with a token need it

        claims: dict[str, Json] = {
            "iss": ISSUER,
            "aud": self._audience,
            "sub": caller.user,
            "key": caller.name,
            "scope": " ".join(sorted(caller.scopes)),
            "iat": now // 1000,
            "exp": now // 1000 + seconds,
        }
        restrictions: dict[str, Json] = {
            "tier": caller.tier,
            "models": None if caller.models is None else [*sorted(caller.models)],
            "providers": None if caller.providers is None else [*sorted(caller.providers)],
            "only": caller.only or None,
            "key_id": caller.key_id or None,
        }
        claims |= {name: value for name, value in restrictions.items() if value is not None}
        token = jwt.encode(claims, token_key(self._settings.signing_key), HMAC, headers={"typ": TYPE})
        if len(token) > MAX_TOKEN:
            raise NotPermitted(f"The token would have more than {MAX_TOKEN} characters.", field="models")
        return token

    def caller_of(self, token: str, header: Header, now: int) -> Caller:
        """Returns the caller that the token proves; raises TokenRefused."""
        key = Key(token_key(self._settings.signing_key), HMAC)
        claims = verified(token, header, key, issuer=ISSUER, audience=self._audience)
        require_valid_now(claims, now)
        return _caller(claims)


def _caller(claims: Mapping[str, Json]) -> Caller:
    """Returns the caller of these claims, which a signature of this deployment proves."""
    user, tier, only = claims["sub"], claims.get("tier"), claims.get("only", "")
    key_id = claims.get("key_id", "")
    try:
        scopes = frozenset(map(Scope, str(claims["scope"]).split()))
        name = claims["key"]
    except (KeyError, ValueError):
        raise TokenRefused(UNREADABLE) from None
    if not (
        is_user_id(user)
        and isinstance(name, str)
        and isinstance(only, str)
        and isinstance(key_id, str)
        and scopes <= OF_USERS
    ):
        raise TokenRefused(UNREADABLE)
    return Caller(
        Role.APPLICATION,
        name,
        user=str(user),
        scopes=scopes,
        tier=None if tier is None else str(tier),
        models=_names(claims.get("models")),
        providers=_names(claims.get("providers")),
        only=only,
        key_id=key_id,
    )


def _names(listed: Json) -> frozenset[str] | None:
    """Returns the listed names; None if there is no list, and no name at all for what is no list."""
    if listed is None:
        return None
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()
