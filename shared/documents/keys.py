"""Documents about API keys, and the audit stream."""

from typing import Literal, TypedDict

from shared.json_value import Json

KeyState = Literal["active", "expired", "revoked"]


class KeyDocument(TypedDict):
    """An API key of the store, without its secret. ``last_used_at`` is noted every ten minutes."""

    id: str
    owner: str
    label: str
    state: KeyState
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    replaces: str | None
    replaced_by: str | None
    defaults: dict[str, Json]


class MadeKey(KeyDocument):
    """``POST /api/operate/keys``: a new key with its secret, which no other answer has.

    ``hook_secrets`` sign the events of the key's owner.
    """

    secret: str
    hook_secrets: list[str]


class KeysPage(TypedDict):
    """``GET /api/operate/keys``."""

    keys: list[KeyDocument]
    next_cursor: str | None


class AuditEntryDocument(TypedDict):
    """One entry: when, who, what, about which, and what became of it."""

    id: str
    at: str
    by: str
    what: str
    about: list[str]
    outcome: str


class AuditPage(TypedDict):
    """``GET /api/operate/audit``. ``kept`` is how many entries are kept, about; 0: none are written."""

    entries: list[AuditEntryDocument]
    kept: int
    next_cursor: str | None
