"""What is done with API keys of the store, and the audit: each part is made, and its module loaded, at first use."""

import functools
from typing import TYPE_CHECKING

from shared.clock import Clock
from shared.config.settings import Settings
from shared.jobqueue import ApiKeys, Audit
from shared.jobs.owners import Owners
from shared.jobs.request import HookCheck

if TYPE_CHECKING:
    from shared.jobs.audit_trail import AuditTrail
    from shared.jobs.issued_keys import IssuedKeys
    from shared.jobs.key_ring import KeyRing


class KeyServices:
    """The keys as the store has them, as callers prove them, and as the operator makes them; and the audit."""

    def __init__(
        self, stored: ApiKeys, entries: Audit, settings: Settings, clock: Clock, check_hook: HookCheck
    ) -> None:
        self._stored = stored
        self.owners = Owners(stored, settings)
        self._entries = entries
        self._settings = settings
        self._clock = clock
        self._check_hook = check_hook

    @functools.cached_property
    def ring(self) -> "KeyRing":
        from shared.jobs.key_ring import KeyRing

        return KeyRing(self._stored, self._settings, self._clock)

    @functools.cached_property
    def issued(self) -> "IssuedKeys":
        from shared.jobs.issued_keys import IssuedKeys

        return IssuedKeys(self._stored, self._settings, self._clock, self._check_hook)

    @functools.cached_property
    def audit(self) -> "AuditTrail":
        from shared.jobs.audit_trail import AuditTrail

        return AuditTrail(self._entries, self._settings)
