"""The form of a JWT: what it says before its signature is verified, and whether its times hold."""

import base64
import json
import re
from collections.abc import Mapping

from shared.access.errors import TokenExpired, TokenRefused
from shared.frozen import dataclass
from shared.json_value import Json

MAX_TOKEN = 4096  # characters; API Gateway has room for 10 KB of headers in all
MAX_MOMENT = 1e12  # s; no number that is larger, or none at all, is a time
MAX_NAME = 200  # characters of a key's id
JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)
UNREADABLE = "The token cannot be read."


@dataclass(frozen=True)
class Header:
    """A token's header; '' for what it leaves out. Nothing of it is proved."""

    algorithm: str
    type: str
    key_id: str


def is_jwt(credential: str) -> bool:
    """Whether a credential has the form of a JWT: three parts in base64 for URLs, of which the last may be empty."""
    return JWT.fullmatch(credential) is not None


def read_header(token: str) -> Header:
    """Returns the header of a text of this form. Raises TokenRefused for one that no verified token may have."""
    if len(token) > MAX_TOKEN:  # mutant: long token
        raise TokenRefused(f"A token may have at most {MAX_TOKEN} characters.")
    first = token.partition(".")[0]
    try:
        header: Json = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, RecursionError):
        raise TokenRefused(UNREADABLE) from None
    if not isinstance(header, dict):
        raise TokenRefused(UNREADABLE)
    # RFC 7515, section 4.1.11: who does not understand an extension that is critical must refuse the token.
    if "crit" in header or "b64" in header:  # mutant: critical headers
        raise TokenRefused("The token's header has an extension that is not known here.")
    named = [header.get(name, "") for name in ("alg", "typ", "kid")]
    if not all(isinstance(name, str) and len(name) <= MAX_NAME for name in named):
        raise TokenRefused(UNREADABLE)
    return Header(*map(str, named))


def require_valid_now(claims: Mapping[str, Json], now: int, tolerance: float = 0) -> None:
    """Returns if the token is valid now (ms); ``tolerance`` (s) is by how much two clocks may differ.

    Raises TokenRefused for a token that has expired or has not begun, and for one that has no ``exp``.
    """
    ends, begins, issued = claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)
    if not _is_moment(ends):  # mutant: no end
        raise TokenRefused("The token does not say when it expires.")
    if not (_is_moment(begins) and _is_moment(issued)):
        raise TokenRefused("The token does not say when it begins.")
    if now / 1000 >= float(str(ends)) + tolerance:
        raise TokenExpired("The token has expired.")
    if now / 1000 < max(float(str(begins)), float(str(issued))) - tolerance:
        raise TokenRefused("The token is not valid yet.")


def _is_moment(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_MOMENT
