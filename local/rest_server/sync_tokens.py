"""Tokens that a client sends back to read its own writes."""

import secrets


class SyncTokens:
    """Makes the `upstash-sync-token` response header.

    Its content is opaque on Upstash; a client only stores and returns it (the how-to page "Read your writes"). A single
    engine has no replica that could lag, so a returned token is not read. The token changes with each write.
    """

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)
        self._writes = 0

    def after(self, wrote: bool) -> str:
        """Returns the token to send after a request that could write (`wrote`) or could not."""
        self._writes += wrote
        return f"{self._start}.{self._writes}"
