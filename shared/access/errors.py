"""Errors of credentials: one that is not valid, and one that does not allow what the request asks for.

401  TokenRefused, TokenExpired, TokenEnded; KeyOver
403  ScopeMissing, with WWW-Authenticate; NotPermitted
404  KeyNotFound
409  KeyEnded
503  KeysUnavailable
"""

from shared.errors import FixedProblem, Problem, StateConflict, Unauthenticated


class CrossSite(FixedProblem):
    """A browser sent the key that it remembers, because a page of another origin asked it to."""

    code = "cross_site"
    http_status = 403
    title = "The call comes from another site"
    reason = "HTTP Basic is not accepted from a page of another site. Open this address by itself."


class ScopeMissing(Problem):
    """The credential is right, and lacks the scope that the operation needs."""

    code = "scope_missing"
    http_status = 403
    title = "The credential lacks a scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs a credential with the scope {scope}.")
        self.scope = scope

    def headers(self) -> dict[str, str]:
        challenge = f'Bearer realm="sluice", error="insufficient_scope", scope="{self.scope}"'  # RFC 6750, section 3.1
        return {**super().headers(), "WWW-Authenticate": challenge}


class NotPermitted(Problem):
    """The credential has the scope, and does not allow what the request asks for."""

    code = "not_permitted"
    http_status = 403
    title = "The credential does not allow this"


class TokenRefused(Unauthenticated):
    """The credential has the form of a JWT, and is not valid here and now."""

    code = "invalid_token"
    title = "The token is not valid"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "WWW-Authenticate": 'Bearer realm="sluice", error="invalid_token"'}


class TokenExpired(TokenRefused):
    """The token is over, and its signature proves whom it was made for."""

    is_guess = False  # mutant: no guess


class TokenEnded(TokenRefused):
    """The key of the store that minted the token is revoked; its signature proves that it was good."""

    is_guess = False  # mutant: no guess of a token


class KeyOver(Unauthenticated):
    """The key of the store is revoked or has expired, and the caller has all of it."""

    is_guess = False  # mutant: no guess of a key


class KeysUnavailable(FixedProblem):
    """The issuer's key set cannot be read, and no key is known that could verify the token."""

    code = "token_keys_unavailable"
    http_status = 503
    title = "The issuer's keys are not available"
    retryable = True
    reason = "The keys that verify tokens of this issuer cannot be read."
    wait = 10


class KeyNotFound(FixedProblem):
    """The store has no API key with this id."""

    code = "key_not_found"
    http_status = 404
    title = "No such API key"
    reason = "There is no API key with this id. A key of API_KEYS has none."


class KeyEnded(StateConflict):
    """The API key is revoked, has expired, or was rotated before."""

    code = "key_ended"
    title = "The API key has ended"
    reason = "The API key is revoked, has expired, or was replaced by another."
