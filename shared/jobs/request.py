"""The body of a submit, and a job's first fields."""

import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Self
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from shared.access.key_defaults import KeyDefaults, KeyLimits
from shared.access.user import Id as Id
from shared.config.hooks import Event, HookOptions
from shared.config.order import Tier
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.queues import Queue
from shared.config.settings import Settings
from shared.errors import InvalidRequest
from shared.hooks.subscription import subscription
from shared.jobqueue import priority
from shared.jobqueue.terms import lane_of, ms
from shared.json_value import likeness
from shared.signing.shares import share_of

MODEL = re.compile(
    # No part may begin with a dot: it becomes part of the path of a call with the deployment's token.
    r"deployments/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"
    r"|[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(?::[0-9a-f]{8,64})?"
    r"|[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}){2,4}"  # WaveSpeed's have more parts
    r"|[0-9a-f]{64}"
)
NO_MODEL = "must be owner/name, owner/name:version, a version id or deployments/owner/name"
MAX_METADATA = 20
LINE_BREAKS = "\n\r\t\v\f\x85"
# Of a URL, for an owner: raises InvalidRequest for one that a hook must not have, and LookupFailed.
HookCheck = Callable[[str, str], Awaitable[None]]


def _text(value: str) -> str:
    """Accepts what a user's id may hold, and paragraphs."""
    if any(category(c) == "Cc" and c not in LINE_BREAKS for c in value):  # mutant: characters of a text
        raise ValueError("must not hold control characters other than line breaks and tabs")
    return value


def _model(value: str) -> str:
    if not MODEL.fullmatch(value):
        raise ValueError(NO_MODEL)
    return value


def new_incarnation() -> str:
    """Returns what tells a job or batch from earlier ones with its id: fresh at each submit."""
    return secrets.token_hex(8)


def unknown(kind: str, known: Iterable[str], *, field: str) -> InvalidRequest:
    """Returns the error for a name of this kind that the deployment does not have, with those that it has."""
    return InvalidRequest(f"There is no such {kind}. There are: {', '.join(known)}.", field=field)


def queue_for(settings: Settings, queue: str, provider: str | None) -> Queue:
    """Returns the queue; InvalidRequest if this deployment does not have the queue or the provider."""
    found = next((q for q in settings.queue_list if q.name == queue), None)
    if found is None:
        raise unknown("queue", (q.name for q in settings.queue_list), field="queue")
    if provider is not None and provider not in settings.provider_names:
        raise unknown("provider", settings.provider_names, field="provider")
    return found


Model = Annotated[str, Field(max_length=200), AfterValidator(_model)]
MetadataText = Annotated[str, Field(max_length=500), AfterValidator(_text)]


class JobChange(BaseModel):
    """The body of ``PATCH /api/jobs/{id}``."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    priority: Annotated[int, Field(ge=1, le=5)]


class SentRequest(BaseModel):
    """What the bodies of a submitted job and of a batch have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    _sent_as: str = PrivateAttr("")  # its fingerprint as it was sent; '' while nothing was added
    _key_hook: HookOptions | None = PrivateAttr(None)  # the default hook of its API key, if the store has that
    _key_limits: KeyLimits | None = PrivateAttr(None)

    def fingerprint(self) -> str:
        """Returns a digest that is the same for every spelling of the same request, whatever its key adds."""
        asked = self.model_dump(exclude={"token"})  # a token of the answer is no part of the job
        canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return self._sent_as or hashlib.sha256(canonical.encode()).hexdigest()[:32]  # mutant: sent as

    def completed(self, defaults: KeyDefaults | None) -> Self:
        """Returns the request with what the defaults of its API key add; the same request without any."""
        if defaults is None:
            return self
        absent = {name: getattr(defaults, name) for name in ("tier", "queue") if name not in self.model_fields_set}
        added = {name: value for name, value in absent.items() if value is not None}
        completed = self.model_copy(update=added)
        completed._sent_as, completed._key_hook = self.fingerprint(), defaults.hook
        completed._key_limits = defaults.limits
        return completed

    @property
    def max_waiting(self) -> int | None:
        """How many jobs of its owner may wait, by its API key; None as the settings say."""
        return self._key_limits.max_waiting if self._key_limits else None

    @property
    def max_running(self) -> int | None:
        """How many jobs of its owner may run while this one starts, by its API key; None as the settings say."""
        return self._key_limits.max_running if self._key_limits else None


class SubmitRequest(SentRequest):
    """The body of ``POST /api/submit``."""

    model: Model
    input: dict[str, Any]
    user_id: Id
    tier: Tier = "free"
    priority: Annotated[int, Field(ge=1, le=5)] | None = None
    queue: Annotated[str, Field(max_length=32)] = "video"
    provider: Annotated[str, Field(max_length=32)] | None = None  # the deployment's first
    hook_url: Annotated[str, Field(max_length=2000)] | None = None
    # None: the API key's own events if there is no hook_url, else all except job.processing
    hook_events: Annotated[list[Event], Field(max_length=8)] | None = None
    metadata: Annotated[dict[Id, MetadataText], Field(max_length=MAX_METADATA)] = Field(default_factory=dict)
    token: bool = False  # of the answer

    def score_and_cost(self, settings: Settings, now: int) -> tuple[int, str]:
        """Returns the job's score, and its cost for the user under the fair policy; see jobqueue/priority.py."""
        explicit = self.priority or settings.default_priority
        if settings.priority_policy == "multiplicative":
            return priority.multiplicative(now, explicit), ""
        prompt = self.input.get("prompt")
        head_start = priority.points(explicit, self.tier, len(prompt) if isinstance(prompt, str) else 0)
        if settings.priority_policy == "offset":
            return priority.offset(now, head_start, settings.priority_seconds_per_point), ""
        cost = priority.fair_cost(settings.weights[self.tier])
        return priority.fair_head_start(head_start, settings.priority_grants_per_point), str(cost)

    def fields(self, settings: Settings, owner: str, queue: Queue, now: int) -> dict[str, str]:
        """Returns the job's first fields in the store, with its queue's terms: later settings do not change them."""
        provider = self.provider or settings.provider_names[0]
        listing = REGISTRY[NUMBERS[provider]]
        return {
            "schema": "2",
            "owner": owner,
            "user": self.user_id,
            "queue": self.queue,
            "lane": str(lane_of(queue.number, provider)),
            "share": str(share_of(settings.signing_key, owner, self.user_id)),
            "deadline": f"{queue.deadline:g}",
            "adoption": ms(settings.adoption(queue, listing)),
            "max_attempts": str(queue.max_attempts),
            "retry_delay": str(queue.retry_delay),
            "expire_at": str(now + round(queue.ttl * 1000)),
            "provider": provider,
            "model": self.model,
            "likeness": likeness({"provider": provider, "input": self.input}),
            "input": json.dumps(self.input, separators=(",", ":"), ensure_ascii=False),
            "tier": self.tier,
            "priority": str(self.priority or settings.default_priority),
            "metadata": json.dumps(self.metadata, separators=(",", ":"), ensure_ascii=False),
            "created_at": str(now),
            **({"key_tasks": str(self.max_running)} if self.max_running else {}),
            **({"price": price.text} if (price := settings.price_of(self.model)) else {}),
            **subscription(settings, owner, self.hook_url, self.hook_events, of_key=self._key_hook),
        }
