"""Who calls: applications by API key, schedulers by their tokens. Nothing is read from the store for it."""

import base64
import hmac

from fastapi import Request
from pydantic import SecretStr

from shared.config.settings import Settings
from shared.errors import Unauthenticated


def caller_of(request: Request, settings: Settings) -> str:
    """The name of the API key that the request carries, as Bearer token or as the password of HTTP Basic."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _owner_of_key(credentials.strip(), None, settings)
    if scheme.lower() == "basic":
        name, _, key = _decoded(credentials.strip()).partition(":")
        return _owner_of_key(key, name, settings)
    raise Unauthenticated("Send an API key as Bearer token, or its name and itself by HTTP Basic.")


def _owner_of_key(key: str, claimed_name: str | None, settings: Settings) -> str:
    found = None
    # Every key is compared, so that the time taken tells nothing about which one came near.
    for name, expected in settings.callers.items():
        if _same(key, expected) and claimed_name in (None, name):
            found = name
    if found is None:
        raise Unauthenticated("The API key is not valid.")
    return found


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("utf-8")
    except ValueError:
        return ""


def bears(request: Request, token: SecretStr | None) -> bool:
    """Whether the request carries this token as Bearer token; never true without a token to compare with."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if token is None or not token.get_secret_value() or scheme.lower() != "bearer":
        return False
    return _same(credentials.strip(), token.get_secret_value())


def _same(given: str, expected: str) -> bool:
    # On bytes: compare_digest raises TypeError on text beyond ASCII, which would be a 500.
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
