"""Tokens a client sends back to read its own writes."""

import secrets


class SyncTokens:
    """Hands out the `upstash-sync-token` response header.

    Its content is opaque on Upstash, and a client only stores and returns it (the how-to page "Read your writes").
    One engine has no replica that could lag behind, so a token that comes in needs no reading; what clients see is
    that it changes with each write.
    """

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._writes = 0

    def after(self, wrote: bool) -> str:
        """Returns the token to send after a request that could write, or could not."""
        self._writes += wrote
        return f"{self._start}.{self._writes}"
