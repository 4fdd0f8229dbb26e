"""Cursors: where the next page of a list starts, as callers send it back.

A cursor holds the end of its page. It is signed for one walk: of this caller, in this deployment, with these filters.
It reveals nothing about other callers' jobs.
"""

import base64
import hmac

from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.jobqueue import PageStart
from shared.signing.derived import page_tag

TAG = 32  # characters


class Cursors:
    """Writes and reads cursors. A ``walk`` names the list and its caller."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, start: PageStart | None, *walk: str) -> str | None:
        """Returns the cursor for this start of a page; None for None."""
        if start is None:
            return None
        text = base64.urlsafe_b64encode(f"{start.ms}.{start.bound}".encode()).decode().rstrip("=")
        return page_tag(self._settings.signing_key, text, *walk) + text

    def read(self, cursor: str | None, *walk: str) -> PageStart | None:
        """Returns the start of the page; InvalidRequest for a cursor that was not written for this walk."""
        if cursor is None:
            return None
        signature, text, key = cursor[:TAG], cursor[TAG:], self._settings.signing_key
        if not cursor.isascii() or not hmac.compare_digest(signature, page_tag(key, text, *walk)):
            raise InvalidRequest("must come from an answer to the same request", field="cursor")
        ms, _, bound = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(".")
        return PageStart(int(ms), bound)
