"""Who did what: a line in the log for each act, and an entry in the store's stream where AUDIT_ENTRIES is set."""

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, WithJsonSchema

from shared.clock import iso
from shared.config.settings import Settings
from shared.documents.keys import AuditEntryDocument, AuditPage
from shared.errors import Problem, StoreError
from shared.jobqueue import Audit, AuditEntry
from shared.jobs.cursors import FOREIGN
from shared.jobs.listing import QueryLimit
from shared.log import log
from shared.signing.api_keys import PREFIX

MAX_ABOUT = 20  # ids of one entry
MAX_TEXT = 200  # characters of each
PLACE = "[0-9]{1,15}-[0-9]{1,15}"
DONE = "done"
BROKEN_OFF = "internal_error"  # by a bug, or the end of the function; what was done until then stands


def _place(value: str) -> str:
    """Returns the place of an entry in the stream; before 0-0 there is none, and the store refuses to look there."""
    if not re.fullmatch(PLACE, value) or not value.strip("0-"):
        raise ValueError(FOREIGN)
    return value


Place = Annotated[str, AfterValidator(_place), WithJsonSchema({"type": "string", "pattern": f"^{PLACE}$"})]


class AuditQuery(BaseModel):
    """The query of ``GET /api/operate/audit``."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    limit: QueryLimit = 20
    cursor: Place | None = None


class Act:
    """One act of a caller: what it is about, and what became of it."""

    def __init__(self, what: str, about: Sequence[str]) -> None:
        self.what = what
        self.about = [*about]
        self.outcome = BROKEN_OFF


class AuditTrail:
    """Writes and shows entries."""

    def __init__(self, audit: Audit, settings: Settings) -> None:
        self._audit = audit
        self._most = settings.audit_entries

    @asynccontextmanager
    async def noting(self, by: str, what: str, *about: str) -> AsyncIterator[Act]:
        """Notes the act when the block ends. If the block raises a problem, its code is the outcome."""
        act = Act(what, about)
        try:
            yield act
        except Problem as problem:
            act.outcome = problem.code
            raise
        else:
            act.outcome = DONE
        finally:
            log.warning("audit", by=by, what=act.what, about=_shown(act), outcome=act.outcome)
            if act.outcome != BROKEN_OFF:
                await self._store(by, act)

    async def _store(self, by: str, act: Act) -> None:
        """Writes the entry: a store that refuses it loses no answer."""
        if not self._most:
            return
        fields = {"id": secrets.token_hex(8), "by": by, "what": act.what, "about": "\n".join(_shown(act))}
        try:
            await self._audit.append(fields | {"outcome": act.outcome}, self._most)
        except StoreError as error:
            log.error("audit_not_stored", what=act.what, code=error.code, cause=error.cause)

    async def page(self, query: AuditQuery) -> AuditPage:
        """Returns a page of entries, the newest first."""
        found = await self._audit.page(query.cursor, query.limit)
        following = found[-1].place if len(found) == query.limit else None
        return {"entries": [_document(entry) for entry in found], "kept": self._most, "next_cursor": following}


def _shown(act: Act) -> list[str]:
    """Returns what the act is about, as far as an entry may hold it: after a leak, a path may hold a whole key."""
    bounded = [" ".join(one[:MAX_TEXT].split()) for one in act.about[:MAX_ABOUT]]
    return [re.sub(rf"({PREFIX}[a-z0-9]{{0,12}})\S*", r"\1...", one) for one in bounded]  # mutant: key in the audit


def _document(entry: AuditEntry) -> AuditEntryDocument:
    fields = entry.fields
    return {
        "id": fields.get("id", ""),
        "at": iso(int(entry.place.partition("-")[0])),
        "by": fields.get("by", ""),
        "what": fields.get("what", ""),
        "about": [one for one in fields.get("about", "").split("\n") if one],
        "outcome": fields.get("outcome", ""),
    }
