"""Cursors: where the next page of a list starts, as callers send it back.

A cursor holds the end of its page, which may be an entry of another user: a page walks past them. So it is hidden, by
bytes that depend on its tag. The tag signs it for one walk: of this caller, in this deployment, with these filters.

    tag, 32 characters | base64url of `ms.bound`, XOR with what the tag gives

The tag is a keyed digest of all that is hidden, so equal bytes hide equal cursors alone. (RFC 5297 is built so.)

Where a walk follows the store's own scan, its cursor is the store's: ScanCursor.
"""

import base64
import hmac
import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.jobqueue import PageStart
from shared.signing.derived import page_pad, page_tag

TAG = 32  # characters
OF_SCAN = "[0-9]{1,20}"
FOREIGN = "must come from an answer to the same request"
PAD, LENGTHS = "\n", 64  # no id has a line break; bytes by which a cursor grows


def _of_scan(value: str) -> str:
    """Returns a cursor that the store's SCAN takes: 64 bits (Redis, "SCAN", "Calling SCAN with a corrupted cursor")."""
    if not re.fullmatch(OF_SCAN, value) or int(value) >= 2**64:
        raise ValueError(FOREIGN)
    return value


ScanCursor = Annotated[str, AfterValidator(_of_scan), WithJsonSchema({"type": "string", "pattern": f"^{OF_SCAN}$"})]


class Cursors:
    """Writes and reads cursors. A ``walk`` names the list and its caller."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, start: PageStart | None, *walk: str) -> str | None:
        """Returns the cursor for this start of a page; None for None."""
        if start is None:
            return None
        text = f"{start.ms}.{start.bound}"
        # Its length would show that of a user's id.
        text += PAD * (-len(text.encode()) % LENGTHS)
        tag = page_tag(self._settings.signing_key, text, *walk)
        return tag + base64.urlsafe_b64encode(self._hidden(tag, text.encode())).decode().rstrip("=")

    def read(self, cursor: str | None, *walk: str) -> PageStart | None:
        """Returns the start of the page; InvalidRequest for a cursor that was not written for this walk."""
        if cursor is None:
            return None
        tag, text = cursor[:TAG], self._shown(cursor)
        if not hmac.compare_digest(tag.encode(), page_tag(self._settings.signing_key, text, *walk).encode()):
            raise InvalidRequest(FOREIGN, field="cursor")
        ms, _, bound = text.rstrip(PAD).partition(".")
        return PageStart(int(ms), bound)

    def _shown(self, cursor: str) -> str:
        """Returns what a cursor holds; '' for what is none, which no tag signs."""
        try:
            hidden = base64.b64decode(cursor[TAG:] + "=" * (-len(cursor[TAG:]) % 4), b"-_", validate=True)
            return self._hidden(cursor[:TAG], hidden).decode()
        except ValueError:
            return ""

    def _hidden(self, tag: str, text: bytes) -> bytes:
        """Returns the text hidden, or the hidden text as it was."""
        pad = page_pad(self._settings.signing_key, tag, len(text))  # mutant: hidden cursor
        return bytes(a ^ b for a, b in zip(text, pad, strict=True))
