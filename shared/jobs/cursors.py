"""Where a list goes on, as callers carry it from page to page.

A cursor holds the place where its page ended and is signed for one walk: of this caller, through this deployment, with
these filters. It tells its bearer nothing of other callers' jobs.
"""

import base64
import hmac

from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.jobqueue import Position
from shared.signing.derived import page_tag

TAG = 32  # characters


class Cursors:
    """Writes and reads cursors. A ``walk`` names what is walked, and by whom."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.signing_key

    def write(self, position: Position | None, *walk: str) -> str | None:
        """What stands for the position; None for none."""
        if position is None:
            return None
        place = base64.urlsafe_b64encode(f"{position.ms}.{position.bound}".encode()).decode().rstrip("=")
        return page_tag(self._key, place, *walk) + place

    def read(self, cursor: str | None, *walk: str) -> Position | None:
        """The position again; InvalidRequest for whatever was not written for this walk."""
        if cursor is None:
            return None
        tag, place = cursor[:TAG], cursor[TAG:]
        if not cursor.isascii() or not hmac.compare_digest(tag, page_tag(self._key, place, *walk)):
            raise InvalidRequest("must come from an answer to the same request", field="cursor")
        ms, _, bound = base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)).decode().partition(".")
        return Position(int(ms), bound)
