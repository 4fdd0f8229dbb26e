"""Finds the caller of an API key that the store knows.

A key is looked up once in ten seconds in each process, so that a revocation counts ten seconds later at most. That is
one call with one command. A key that is made up is refused without it: see signing/api_keys.py.
"""

from dataclasses import replace

from shared.access.caller import Caller, Role
from shared.cache import Cache
from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError, Unauthenticated
from shared.jobqueue import ApiKeys
from shared.jobs.key_record import KeyRecord
from shared.log import log
from shared.signing.api_keys import id_of, is_key_of

KNOWN_FOR = 10.0  # s
MAX_KNOWN = 1024  # keys; also ids whose records are gone
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
        if known is None or not is_key_of(credential, known.record.digest):  # mutant: digest of a key
            raise Unauthenticated(NOT_VALID)
        record, now = known.record, self._clock.now()
        state = record.state(now)
        if state != "active":
            raise Unauthenticated(f"The API key {'is' if state == 'revoked' else 'has'} {state}.")
        if now - known.used_at >= USE_NOTED_EVERY:  # mutant: noted use
            known.used_at = now
            await self._note_use(key_id)
        defaults = record.defaults
        return Caller(
            Role.APPLICATION,
            record.owner,
            scopes=record.scopes,
            models=None if defaults.models is None else frozenset(defaults.models),
            providers=None if defaults.providers is None else frozenset(defaults.providers),
            key_id=key_id,
            defaults=defaults,
        )

    async def completed(self, caller: Caller) -> Caller:
        """Returns the user of a token with the defaults of the key that minted it, unless that is revoked.

        A key that has expired or was rotated leaves its tokens, which last for a day at most.
        """
        known = await self._known(caller.key_id)
        if known is None or known.record.revoked_at is not None:  # mutant: token of a revoked key
            raise Unauthenticated("The API key that this token belongs to is no longer good.")
        return replace(caller, defaults=known.record.defaults)

    async def _known(self, key_id: str) -> _Known | None:
        return (await self.cache.remember(key_id, KNOWN_FOR, lambda: self._load(key_id))).value

    async def _load(self, key_id: str) -> _Known | None:
        stored = await self._keys.read(key_id)
        return None if stored is None else _Known(KeyRecord.of(stored), stored.used_at)

    async def _note_use(self, key_id: str) -> None:
        """Notes the use. A store that refuses it, as a full one does, refuses no caller."""
        try:
            await self._keys.note_use(key_id)
        except StoreError as error:
            log.warning("key_use_not_noted", key=key_id, code=error.code)
