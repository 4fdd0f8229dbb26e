"""The record of an API key that the operator has made, as the store holds it."""

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.access.key_defaults import KeyDefaults
from shared.access.scope import Scope
from shared.clock import iso
from shared.documents.keys import KeyDocument, KeyState
from shared.errors import StoreScriptError
from shared.jobqueue import StoredKey


class KeyRecord(BaseModel):
    """A key without its secret: of that, only a digest. Times are in ms.

    ``owner`` owns the jobs; several keys may have one owner. A rotated key has ``replaced_by``, and an end.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    digest: str
    owner: str
    label: str
    scopes: frozenset[Scope]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    defaults: KeyDefaults = KeyDefaults()

    @classmethod
    def of(cls, stored: StoredKey) -> "KeyRecord":
        """Returns the record of a stored key. Raises StoreScriptError for one that cannot be read."""
        try:
            return cls.model_validate_json(stored.record, extra="ignore")  # a later release may have written more
        except ValidationError:
            raise StoreScriptError(f"The record of the API key {stored.id} cannot be read.") from None

    def written(self) -> str:
        """Returns the record as text."""
        return self.model_dump_json(exclude_none=True)

    def state(self, now: int) -> KeyState:
        """Returns whether the key is good now."""
        if self.revoked_at is not None:  # mutant: revoked key
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:  # mutant: expired key
            return "expired"
        return "active"

    def document(self, key_id: str, now: int, used_at: int = 0) -> KeyDocument:
        """Returns what the operator sees of the key."""
        return {
            "id": key_id,
            "owner": self.owner,
            "label": self.label,
            "state": self.state(now),
            "scopes": [str(scope) for scope in sorted(self.scopes)],
            "created_at": iso(self.created_at),
            "expires_at": _time(self.expires_at),
            "revoked_at": _time(self.revoked_at),
            "last_used_at": _time(used_at or None),
            "replaces": self.replaces,
            "replaced_by": self.replaced_by,
            "defaults": self.defaults.model_dump(mode="json", exclude_none=True),
        }


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
