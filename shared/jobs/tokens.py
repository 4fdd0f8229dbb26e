"""Mints tokens: an application's backend gives one to a browser, which then acts as one user."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.access.caller import Caller, Role
from shared.access.errors import NotPermitted
from shared.access.minted import MintedTokens
from shared.access.permission import require_allowed
from shared.access.scope import Scope
from shared.clock import Clock, iso
from shared.config.order import Tier
from shared.config.settings import Settings
from shared.documents.answers import IssuedToken, Receipt, TokenReceipt
from shared.errors import InvalidRequest
from shared.jobs.request import Id, Model, SubmitRequest, queue_for, unknown
from shared.log import log

MAX_MINUTES = 1440  # a day
JobId = Annotated[str, Field(pattern=r"^(job|bat)_[A-Za-z0-9_-]{1,60}$")]
Name = Annotated[str, Field(max_length=32)]


class TokenRequest(BaseModel):
    """The body of ``POST /api/tokens``. A list that is left out restricts nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    user_id: Id
    scopes: Annotated[list[Literal["read", "submit", "cancel"]], Field(min_length=1, max_length=3)] = ["read"]
    tier: Tier | None = None
    models: Annotated[list[Model], Field(min_length=1, max_length=20)] | None = None
    providers: Annotated[list[Name], Field(min_length=1, max_length=8)] | None = None
    job_id: JobId | None = None
    batch_id: JobId | None = None
    minutes: Annotated[int, Field(ge=1, le=MAX_MINUTES)] = 15


class Issuing:
    """Mints tokens for users of the calling API key; asks nothing of the store."""

    def __init__(self, minted: MintedTokens, settings: Settings, clock: Clock) -> None:
        self._minted = minted
        self._settings = settings
        self._clock = clock

    def issue(self, caller: Caller, wanted: TokenRequest) -> IssuedToken:
        """Returns a token for this user. Raises InvalidRequest; NotPermitted for more than the caller itself may do."""
        self._check(wanted)
        scopes = frozenset(map(Scope, wanted.scopes))
        if not scopes <= caller.scopes:  # mutant: scopes of a token
            raise NotPermitted("The API key does not have all of these scopes itself.", field="scopes")
        for provider in wanted.providers or ():
            require_allowed(caller, wanted.models or (), provider)
        require_allowed(caller, wanted.models or (), next(iter(caller.providers or ()), ""))
        user = Caller(
            Role.APPLICATION,
            caller.name,
            wanted.user_id,
            scopes,
            wanted.tier or caller.tier or (caller.defaults.tier if caller.defaults else None),
            # What a key of the store allows is looked up with each request, and need not be in the token.
            frozenset(wanted.models) if wanted.models else None,
            frozenset(wanted.providers) if wanted.providers else None,
            wanted.job_id or wanted.batch_id or "",
            caller.key_id,
        )
        token, expires_at = self._signed(user, wanted.minutes * 60)
        log.info(
            "token_issued",
            owner=caller.name,
            user=user.user,
            scopes=[str(scope) for scope in sorted(scopes)],
            only=user.only,
        )
        return {"token": token, "expires_at": expires_at, "user_id": wanted.user_id, "scopes": sorted({*wanted.scopes})}

    def with_token(self, caller: Caller, wanted: SubmitRequest, job: Receipt) -> TokenReceipt:
        """Returns the receipt with a token that reads it until an hour after it must have ended, a day at most."""
        queue = queue_for(self._settings, wanted.queue, wanted.provider)
        seconds = round(queue.ttl + queue.deadline * queue.max_attempts) + 3600
        reader = Caller(
            Role.APPLICATION, caller.name, wanted.user_id, frozenset({Scope.READ}), only=job["id"], key_id=caller.key_id
        )
        token, expires_at = self._signed(reader, min(seconds, MAX_MINUTES * 60))
        return {**job, "token": {"token": token, "expires_at": expires_at}}

    def _check(self, wanted: TokenRequest) -> None:
        if wanted.job_id and wanted.batch_id:
            raise InvalidRequest("A token is good for one job or for one batch.", field="batch_id")
        if (wanted.job_id or wanted.batch_id) and "submit" in wanted.scopes:
            raise InvalidRequest("A token of one job or batch cannot submit.", field="scopes")
        for provider in wanted.providers or ():
            if provider not in self._settings.provider_names:
                raise unknown("provider", self._settings.provider_names, field="providers")

    def _signed(self, user: Caller, seconds: int) -> tuple[str, str]:
        now = self._clock.now()
        return self._minted.mint(user, now, seconds), str(iso((now // 1000 + seconds) * 1000))
