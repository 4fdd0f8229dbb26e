"""The interface of a provider: what Sluice asks, and the types of the answers."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from shared.frozen import dataclass
from shared.json_value import Json

# unreadable: it has come to an end that cannot be read, or its status cannot be read
PredictionStatus = Literal["running", "completed", "failed", "canceled", "unreadable"]


@dataclass(frozen=True)
class Submission:
    """The provider call of one attempt. ``cancel_after`` (s) bounds how long the provider may work on it."""

    job_id: str
    attempt: int
    model: str
    input: Mapping[str, Json]
    webhook_url: str | None
    cancel_after: int


@dataclass(frozen=True)
class Prediction:
    """A provider's report on one prediction. ``progress`` is in percent, if its logs contain it."""

    id: str
    status: PredictionStatus
    output: Json = None
    error: str = ""
    progress: int | None = None
    removed: bool = False  # the provider has deleted the output
    model: str = ""
    seconds: float | None = None  # how long it took; with WaveSpeed, without the time in its queue
    ended_at: int | None = None  # ms, by the provider's clock, where it reports that
    metrics: Mapping[str, float] = field(default_factory=dict)  # by which its cost is counted
    is_free: bool = False  # the provider surely charges nothing for it


@dataclass(frozen=True)
class Wanted:
    """A submission without an answer; its prediction, if there is one, was created between two times.

    ``mark`` is what the query of its webhook's URL has; empty if it was submitted without a webhook.
    """

    model: str
    input: Mapping[str, Json]
    since: datetime
    until: datetime
    mark: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a provider's list says of a wanted submission: ids of predictions that may be its own.

    ``marked`` carry its mark, so each is surely its own. ``alike`` have its model, input and time. ``doubtful`` could
    have them, but the list does not tell. ``is_complete``: a prediction that is in none of the three is not its own,
    and the list has every prediction that was created in its time.
    """

    marked: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    is_complete: bool = False


@dataclass(frozen=True)
class Accepted:
    """The provider created the prediction."""

    prediction: Prediction


@dataclass(frozen=True)
class Rejected:
    """The provider refused this job, and would refuse it again; no prediction exists.

    A refusal that ``may_pass`` is tried once more, since the provider has been seen to take such a job later.
    """

    code: str
    detail: str
    may_pass: bool = False


@dataclass(frozen=True)
class Throttled:
    """The provider surely created nothing, but may later; ``retry_after`` in s. ``status`` is the answer's, or 0.

    The account is at fault, or the job alone: what other jobs are answered tells.
    """

    code: Literal["rate_limited", "billing", "provider_auth", "provider_down"]
    retry_after: float
    status: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Unknown:
    """A prediction may or may not exist. Never retried in place: a webhook, the list or the deadline decides."""

    detail: str


SubmissionOutcome = Accepted | Rejected | Throttled | Unknown


class ProviderUnavailable(Exception):
    """The provider did not answer; ask again later."""


class PredictionGone(Exception):
    """The provider knows no such prediction."""


class Provider(Protocol):
    """One AI provider. No method retries; each keeps to ``timeout`` (s)."""

    name: str

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        """Submits once; raises nothing."""

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        """Raises ProviderUnavailable or PredictionGone."""

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        """Asks the provider to cancel a prediction; returns its new state, or None if that is not known."""

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        """Returns the predictions that may be the wanted one. An answer without a list is never complete.

        Raises ProviderUnavailable.
        """

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        """Raises Unauthenticated if no body could make this a webhook of the provider; called before it is read."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        """Raises Unauthenticated unless the provider signed this webhook."""

    def read_webhook(self, body: bytes) -> Prediction:
        """Returns the prediction in a verified webhook; raises ValueError if there is none."""

    async def close(self) -> None:
        """Closes the connections."""
