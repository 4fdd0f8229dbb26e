"""Finds the caller of an API key that the store knows.

A key is looked up once in ten seconds in each process, so that a revocation counts ten seconds later at most. That is
one call with one command. A key that is made up is refused without it: see signing/api_keys.py.
"""

from collections.abc import Collection
from dataclasses import replace

from shared.access.caller import Caller, Role
from shared.access.errors import KeyOver, TokenEnded
from shared.access.permission import is_listed
from shared.cache import Cache
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError, Unauthenticated
from shared.jobqueue import ApiKeys
from shared.jobs.key_record import KeyRecord
from shared.log import log
from shared.signing.api_keys import id_of, is_key_of

KNOWN_FOR = 10.0  # s
MAX_KNOWN = 1024  # keys
USE_NOTED_EVERY = 600_000  # ms
NOT_VALID = "The API key is not valid."


class _Known:
    """A key as it was read; ``used_at`` (ms) moves on when a use is noted."""

    def __init__(self, record: KeyRecord, used_at: int) -> None:
        self.record = record
        self.used_at = used_at


class KeyRing:
    """The keys that this process has seen of late. Belongs to one event loop."""

    def __init__(self, keys: ApiKeys, settings: Settings, clock: Clock) -> None:
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self.cache = Cache(MAX_KNOWN)

    async def caller_of(self, credential: str) -> Caller:
        """Returns the caller of a key. Raises Unauthenticated, and StoreError if the key is not known here by now."""
        key_id = id_of(credential, self._settings.signing_key)
        if key_id is None:
            raise Unauthenticated(NOT_VALID)
        known = await self._known(key_id)
        if not is_key_of(credential, known.record.digest):  # mutant: digest of a key
            raise Unauthenticated(NOT_VALID)
        record, now = known.record, self._clock.now()
        state = record.state(now)
        if state != "active":
            raise KeyOver(f"The API key {'is' if state == 'revoked' else 'has'} {state}.")
        if now - known.used_at >= USE_NOTED_EVERY:  # mutant: noted use
            known.used_at = now
            await self._note_use(key_id)
        return Caller(
            Role.APPLICATION,
            record.owner,
            scopes=record.scopes,
            models=_set_of(record.defaults.models),
            providers=_set_of(record.defaults.providers),
            key_id=key_id,
            defaults=record.defaults,
        )

    async def completed(self, caller: Caller) -> Caller:
        """Returns the user of a token with the defaults of the key that minted it, within what the key itself may do.

        Raises TokenEnded once the key is revoked. One that has expired or was rotated leaves its tokens, which last for
        a day at most.
        """
        record = (await self._known(caller.key_id)).record
        if record.revoked_at is not None:  # mutant: token of a revoked key
            raise TokenEnded("The API key that this token belongs to is no longer good.")
        return replace(
            caller,
            scopes=caller.scopes & record.scopes,  # mutant: scopes of a narrowed key
            models=_in_both(caller.models, record.defaults.models),
            providers=_in_both(caller.providers, record.defaults.providers),
            defaults=record.defaults,
        )

    async def _known(self, key_id: str) -> _Known:
        """Returns the key. Raises Unauthenticated for one that the store does not have."""
        return (await self.cache.remember(key_id, KNOWN_FOR, lambda: self._load(key_id))).value

    async def _load(self, key_id: str) -> _Known:
        stored = await self._keys.read(key_id)
        # Not remembered: a replica that lags may not have a new key, and nobody else has one with the right tag.
        if stored is None:
            raise Unauthenticated(NOT_VALID)
        return _Known(KeyRecord.of(stored), stored.used_at)

    async def _note_use(self, key_id: str) -> None:
        """Notes the use. A store that refuses it, as a full one does, refuses no caller."""
        try:
            await self._keys.note_use(key_id)
        except StoreError as error:
            log.warning("key_use_not_noted", key=key_id, code=error.code, cause=error.cause)


def _set_of(names: Collection[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _in_both(given: frozenset[str] | None, of_key: Collection[str] | None) -> frozenset[str] | None:
    """Returns what a token and its key both allow, as a submit would judge it; None allows everything."""
    if given is None or of_key is None:
        return _set_of(of_key) if given is None else given
    # Either list may have a model, and the other one a version of it: then the version is in both.
    both = {name for name in given if is_listed(name, of_key)} | {name for name in of_key if is_listed(name, given)}
    return frozenset(both)  # mutant: models of a narrowed key
