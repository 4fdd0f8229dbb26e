"""What an API key of the store adds to the requests that are sent with it, and what it allows of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.config.hooks import DEFAULT_EVENTS, Event, HookOptions
from shared.config.order import Tier
from shared.config.rates import RateText

Name = Annotated[str, Field(min_length=1, max_length=200)]


class KeyLimits(BaseModel):
    """Limits of one key in place of the deployment's: of its submits, and of its owner's jobs that wait or run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    submit_rate: RateText | None = None  # SUBMIT_RATE_PER_KEY
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000)] | None = None  # MAX_KEY_QUEUED
    max_running: Annotated[int, Field(ge=1, le=10_000)] | None = None  # MAX_KEY_TASKS


class KeyDefaults(BaseModel):
    """The defaults and restrictions of one key; what is None changes nothing.

    A request that names a tier, a queue or a hook has its own. It may ask for ``models`` and ``providers`` alone.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    tier: Tier | None = None
    queue: Annotated[str, Field(max_length=32)] | None = None
    hook_url: Annotated[str, Field(max_length=2000)] | None = None
    hook_events: Annotated[tuple[Event, ...], Field(max_length=8, strict=False)] | None = None
    limits: KeyLimits | None = None
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50, strict=False)] | None = None
    providers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8, strict=False)] | None = None

    @property
    def hook(self) -> HookOptions | None:
        """The hook that takes the place of the owner's in HOOKS; None without a URL."""
        if self.hook_url is None:
            return None
        return HookOptions(url=self.hook_url, events=self.hook_events or DEFAULT_EVENTS)
