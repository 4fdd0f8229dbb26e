"""The API keys of the store, as the operator makes, changes and ends them.

A key's secret is in one answer, and nowhere else. A change is written only over what it was made from. So of two
changes at the same time each is kept. A copy that comes late changes nothing, unless the record is again as it was.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.access.errors import KeyEnded, KeyNotFound
from shared.access.key_defaults import KeyDefaults
from shared.access.scope import ALL, Scope
from shared.clock import Clock
from shared.config.settings import Settings
from shared.documents.keys import KeyDocument, KeysPage, MadeKey
from shared.errors import ChangedMeanwhile, InvalidRequest, StoreUncertain
from shared.hooks.event import secrets_of
from shared.jobqueue import ApiKeys, StoredKey
from shared.jobs.cursors import ScanCursor
from shared.jobs.key_record import KeyRecord
from shared.jobs.listing import QueryLimit, moment_of
from shared.jobs.request import MODEL, NO_MODEL, HookCheck, MetadataText, queue_for, unknown
from shared.signing.api_keys import ID, digest_of_key, mint

MAX_TRIES = 5  # while other changes of the key come at the same time
MINUTE = 60_000  # ms
MAX_OVERLAP = 7 * 24 * 60  # minutes
MAX_LIFE = 100 * 366 * 24 * 60 * MINUTE  # ms


def _expiry(value: object) -> int | None:
    return None if value is None else moment_of(value)


Expiry = Annotated[int | None, BeforeValidator(_expiry)]
Scopes = Annotated[frozenset[Annotated[Scope, Field(strict=False)]], Field(min_length=1, strict=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class NewKey(_Body):
    """The body of ``POST /api/operate/keys``; ``owner`` owns the jobs that are submitted with the key."""

    owner: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    label: MetadataText = ""
    scopes: Scopes = ALL  # as a key of API_KEYS
    expires_at: Expiry = None
    defaults: KeyDefaults = KeyDefaults()


class KeyChange(_Body):
    """The body of ``PATCH /api/operate/keys/{id}``: what is not named stays; a null of ``defaults`` lifts a default."""

    label: MetadataText | None = None
    scopes: Scopes | None = None
    expires_at: Expiry = None
    defaults: KeyDefaults | None = None


class Rotation(_Body):
    """The body of ``POST /api/operate/keys/{id}/rotate``: for how many minutes the old key stays good."""

    overlap: Annotated[int, Field(ge=0, le=MAX_OVERLAP)] = 60


class KeysQuery(_Body):
    """The query of ``GET /api/operate/keys``."""

    limit: QueryLimit = 20
    cursor: ScanCursor = "0"


def _require_values(wanted: KeyChange) -> None:
    """Raises InvalidRequest for a null where only a value makes sense."""
    for name in ("label", "scopes", "defaults"):
        if name in wanted.model_fields_set and getattr(wanted, name) is None:
            raise InvalidRequest("must not be null", field=name)


def _fault_of_list(names: Sequence[str]) -> str:
    """What is wrong with a list of models or providers; '' for nothing. Stored keys are not judged again."""
    # A name that no request can have would only look like a restriction.
    if not all(re.fullmatch("[!-~]+", name) for name in names):
        return "must hold names of visible ASCII characters, without spaces"
    return "must name each entry once" if len(set(names)) < len(names) else ""


def _fault_of_models(names: Sequence[str]) -> str:
    # One that no submit can have permits nothing, such as a wildcard.
    return _fault_of_list(names) or ("" if all(map(MODEL.fullmatch, names)) else NO_MODEL)


class IssuedKeys:
    """Makes, shows, changes and ends API keys."""

    def __init__(self, keys: ApiKeys, settings: Settings, clock: Clock, check_hook: HookCheck) -> None:
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._check_hook = check_hook

    async def create(self, wanted: NewKey) -> MadeKey:
        """Makes a key and returns it with its secret. InvalidRequest names what this deployment does not have."""
        await self._check(wanted.owner, wanted.expires_at, wanted.defaults)
        made = mint(self._settings.signing_key)
        record = KeyRecord(
            digest=digest_of_key(made.secret),
            owner=wanted.owner,
            label=wanted.label,
            scopes=wanted.scopes,
            created_at=self._clock.now(),
            expires_at=wanted.expires_at,
            defaults=wanted.defaults,
        )
        if not await self._keys.put(made.id, "", record.written(), record.owner):
            raise StoreUncertain
        return self._made(made.id, record, made.secret)

    async def page(self, query: KeysQuery) -> KeysPage:
        """Returns about as many keys as the limit says, in no order; a walk of all pages shows each key."""
        found, cursor = await self._keys.page(query.cursor, query.limit)
        now = self._clock.now()
        keys = [KeyRecord.of(stored).document(stored.id, now, stored.used_at) for stored in found]
        return {"keys": keys, "next_cursor": None if cursor == "0" else cursor}

    async def read(self, key_id: str) -> KeyDocument:
        """Returns the key. Raises KeyNotFound."""
        stored = await self._stored(key_id)
        return KeyRecord.of(stored).document(key_id, self._clock.now(), stored.used_at)

    async def change(self, key_id: str, wanted: KeyChange) -> KeyDocument:
        """Changes what is named, and returns the key. Raises KeyNotFound, KeyEnded and InvalidRequest."""

        async def changed(record: KeyRecord) -> dict[str, KeyRecord]:
            given = wanted.model_dump(include=wanted.model_fields_set - {"defaults"})
            if wanted.defaults is not None:
                named = {name: getattr(wanted.defaults, name) for name in wanted.defaults.model_fields_set}
                given["defaults"] = record.defaults.model_copy(update=named)
            _require_values(wanted)
            if "expires_at" in given and record.replaced_by is not None:  # mutant: end of a rotated key
                raise InvalidRequest("must stay as the rotation has set it", field="expires_at")
            after = record.model_copy(update=given)
            await self._check(record.owner, given.get("expires_at"), wanted.defaults or KeyDefaults())
            return {key_id: after}

        stored, records = await self._put(key_id, changed)
        return records[key_id].document(key_id, self._clock.now(), stored.used_at)

    async def revoke(self, key_id: str) -> KeyDocument:
        """Ends a key for ever, and returns it; the same for each repeat. Raises KeyNotFound."""

        async def revoked(record: KeyRecord) -> dict[str, KeyRecord]:
            at = record.revoked_at or self._clock.now()  # mutant: first revocation
            return {key_id: record.model_copy(update={"revoked_at": at})}

        stored, records = await self._put(key_id, revoked, of_ended=True)
        return records[key_id].document(key_id, self._clock.now(), stored.used_at)

    async def rotate(self, key_id: str, rotation: Rotation) -> MadeKey:
        """Makes a key with the rights and defaults of another, which ends after the overlap; returns the new one.

        If the old one has an end, the new one lasts as long as the old one was to last. Raises KeyNotFound and
        KeyEnded.
        """
        made = mint(self._settings.signing_key)

        async def rotated(record: KeyRecord) -> dict[str, KeyRecord]:
            if record.replaced_by is not None:  # mutant: replaced key
                raise KeyEnded
            now = self._clock.now()
            ends_at = now + rotation.overlap * MINUTE
            lasts = None if record.expires_at is None else record.expires_at - record.created_at
            fresh = {
                "digest": digest_of_key(made.secret),
                "created_at": now,
                "expires_at": None if lasts is None else now + lasts,
                "replaces": key_id,
            }
            expires_at = min(ends_at, record.expires_at or ends_at)  # mutant: overlap
            old = record.model_copy(update={"expires_at": expires_at, "replaced_by": made.id})
            return {key_id: old, made.id: record.model_copy(update=fresh)}

        _, records = await self._put(key_id, rotated)
        return self._made(made.id, records[made.id], made.secret)

    def _made(self, key_id: str, record: KeyRecord, secret: str) -> MadeKey:
        hook_secrets = list(secrets_of(self._settings, record.owner))
        document = record.document(key_id, self._clock.now())
        return {**document, "secret": secret, "hook_secrets": hook_secrets}

    async def _stored(self, key_id: str) -> StoredKey:
        stored = await self._keys.read(key_id) if ID.fullmatch(key_id) else None
        if stored is None:
            raise KeyNotFound
        return stored

    async def _put(
        self, key_id: str, change: Callable[[KeyRecord], Awaitable[dict[str, KeyRecord]]], *, of_ended: bool = False
    ) -> tuple[StoredKey, dict[str, KeyRecord]]:
        """Reads a key and writes what ``change`` makes of it, again if another change came between.

        Returns the key as it was read, and the new records by id. Each try is two calls, and 4 billed commands. Raises
        ChangedMeanwhile after too many.
        """
        for _ in range(MAX_TRIES):
            stored = await self._stored(key_id)
            record = KeyRecord.of(stored)
            if not of_ended and record.state(self._clock.now()) != "active":  # mutant: ended key
                raise KeyEnded
            records = await change(record)
            written = {one: after.written() for one, after in records.items()}
            first = written.pop(key_id)
            if await self._keys.put(key_id, stored.record, first, record.owner, written):
                return stored, records
        raise ChangedMeanwhile

    async def _check(self, owner: str, expires_at: int | None, defaults: KeyDefaults) -> None:
        if expires_at is not None and expires_at <= self._clock.now():
            raise InvalidRequest("must be in the future", field="expires_at")
        if expires_at is not None and expires_at > self._clock.now() + MAX_LIFE:
            raise InvalidRequest("must be within 100 years; leave it out for a key without an end", field="expires_at")
        if defaults.queue is not None:
            queue_for(self._settings, defaults.queue, None)
        faults = {
            "models": _fault_of_models(defaults.models or ()),
            "providers": _fault_of_list(defaults.providers or ()),
        }
        for name, fault in faults.items():
            if fault:
                raise InvalidRequest(fault, field=f"defaults.{name}")
        if not set(defaults.providers or ()) <= set(self._settings.provider_names):
            raise unknown("provider", self._settings.provider_names, field="defaults.providers")
        if defaults.hook_url is not None:
            await self._check_hook(defaults.hook_url, owner)
