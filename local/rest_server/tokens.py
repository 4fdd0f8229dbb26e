"""Which token a request has: the standard one, the read-only one, or none that is valid."""

from enum import Enum, auto
from hmac import compare_digest

# The text of Upstash's REST API page, for a missing and for a wrong token.
UNAUTHORIZED = {"error": "WRONGPASS invalid or missing auth token"}


class Role(Enum):
    """What a token permits."""

    OWNER = auto()
    READER = auto()


class Tokens:
    """Compares with the server's tokens in constant time."""

    def __init__(self, token: str, read_only_token: str | None = None) -> None:
        self._roles = [(token.encode(), Role.OWNER)]
        if read_only_token is not None:
            self._roles.append((read_only_token.encode(), Role.READER))

    def role(self, authorization: str | None, token_in_query: bytes | None = None) -> Role | None:
        """Returns the role of `Authorization: Bearer TOKEN`, or of `?_token=TOKEN` without that header."""
        scheme, _, credentials = (authorization or "").partition(" ")
        # Starlette decodes headers as latin-1, and compare_digest accepts no text beyond ASCII: so compare bytes.
        shown = credentials.strip().encode("latin-1") if scheme.lower() == "bearer" else token_in_query
        if not shown:
            return None
        return next((role for token, role in self._roles if compare_digest(token, shown)), None)
