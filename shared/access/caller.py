"""The caller of an operation, as a credential proves it, and the checks that the credential alone decides."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.access.errors import NotPermitted, ScopeMissing
from shared.access.scope import Scope
from shared.errors import BatchNotFound, JobNotFound
from shared.frozen import dataclass

if TYPE_CHECKING:
    from shared.access.key_defaults import KeyDefaults


class Role(Enum):
    """Who may call an operation."""

    APPLICATION = auto()  # an API key, as Bearer token or as the password of HTTP Basic; or a token of one user
    OPERATOR = auto()  # OPERATOR_TOKEN as Bearer token, or a key of the store with the scope `operate`
    SCHEDULER = auto()  # QUEUE_PROCESSOR_TOKEN as Bearer token
    METRICS = auto()  # METRICS_TOKEN as Bearer token: what scrapes the metrics
    CRON = auto()  # CRON_SECRET as Bearer token: Vercel's cron
    QSTASH = auto()  # a signature over the address and the body
    PROVIDER = auto()  # a signature over the body, and a nonce; functions/webhook.py verifies both
    LINK = auto()  # a signed URL; functions/files.py verifies it
    ANYONE = auto()


@dataclass(frozen=True)
class Caller:
    """The caller's proved role; for an application also whose jobs it may reach, and what its credential allows.

    ``name`` is that of the API key, which owns the jobs. ``user`` is the only user for whom a token is good; None for
    a whole key. A None in ``tier``, ``models`` or ``providers`` restricts nothing. ``only`` is the id of the single
    job or batch that a token is good for. A key of the store has a ``key_id``, and ``defaults``.
    """

    role: Role
    name: str = ""
    user: str | None = None
    scopes: frozenset[Scope] = frozenset()
    tier: str | None = None
    models: frozenset[str] | None = None
    providers: frozenset[str] | None = None
    only: str = ""
    key_id: str = ""
    defaults: "KeyDefaults | None" = None

    @property
    def shown(self) -> str:
        """What the audit calls this caller; no part of a secret."""
        if self.key_id:
            return f"key {self.key_id} of {self.name}"
        # An API key may be called "operator".
        return "operator" if self.role is Role.OPERATOR else f"key {self.name}"

    @property
    def submit_rate(self) -> str | None:
        """The rate of the key's own, such as ``10/minute``; None: as the settings say."""
        limits = self.defaults.limits if self.defaults else None
        return limits.submit_rate if limits else None

    def require(self, scope: Scope, place: Mapping[str, str]) -> None:
        """Returns if the credential allows an operation that needs this scope, at this place; reads no store.

        ``place`` has the path's parameters. Raises ScopeMissing; NotPermitted, JobNotFound or BatchNotFound for a
        token that is good for something else.
        """
        if scope not in self.scopes:  # mutant: scope
            raise ScopeMissing(scope)
        if not self.only:
            return
        job_id, batch_id = place.get("job_id"), place.get("batch_id")
        if job_id is None and batch_id is None:  # mutant: only one
            raise NotPermitted("This token is good for one job or batch only.")
        # The jobs of a batch are bat_..._1, bat_..._2 and so on.
        if job_id is not None and job_id != self.only and not job_id.startswith(f"{self.only}_"):  # mutant: only job
            raise JobNotFound
        if batch_id is not None and batch_id != self.only:  # mutant: only batch
            raise BatchNotFound
