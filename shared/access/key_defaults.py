"""What an API key of the store adds to the requests that are sent with it, and what it allows of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.config.hooks import DEFAULT_EVENTS, Event, HookOptions
from shared.config.order import Tier

Name = Annotated[str, Field(min_length=1, max_length=200)]


class KeyDefaults(BaseModel):
    """The defaults and restrictions of one key; what is None changes nothing.

    A request that names a tier, a queue or a hook has its own. It may ask for ``models`` and ``providers`` alone.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    tier: Tier | None = None
    queue: Annotated[str, Field(max_length=32)] | None = None
    hook_url: Annotated[str, Field(max_length=2000)] | None = None
    hook_events: Annotated[tuple[Event, ...], Field(max_length=8, strict=False)] | None = None
    models: Annotated[tuple[Name, ...], Field(min_length=1, max_length=50, strict=False)] | None = None
    providers: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8, strict=False)] | None = None

    @property
    def hook(self) -> HookOptions | None:
        """The hook that takes the place of the owner's in HOOKS; None without a URL."""
        if self.hook_url is None:
            return None
        return HookOptions(url=self.hook_url, events=self.hook_events or DEFAULT_EVENTS)
