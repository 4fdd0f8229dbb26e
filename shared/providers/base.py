"""What Sluice asks of a provider, and the words in which a provider answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from shared.json_value import Json

PredictionStatus = Literal["running", "completed", "failed", "canceled"]


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
    """What the provider says of one prediction. ``progress`` in percent where its logs tell."""

    id: str
    status: PredictionStatus
    output: Json = None
    error: str = ""
    progress: int | None = None
    removed: bool = False  # the provider has deleted the output
    model: str = ""
    seconds: float | None = None  # from creation to completion


@dataclass(frozen=True)
class Wanted:
    """What is known of a submission whose answer was lost: it was created between two moments, if at all."""

    model: str
    input: Mapping[str, Json]
    since: datetime
    until: datetime


@dataclass(frozen=True)
class Accepted:
    """The provider created the prediction."""

    prediction: Prediction


@dataclass(frozen=True)
class Rejected:
    """The provider refused this job for good; no prediction exists."""

    code: str
    detail: str


@dataclass(frozen=True)
class Throttled:
    """The provider surely created nothing and may do so later; ``retry_after`` in s. Not the job's fault."""

    code: Literal["rate_limited", "billing", "provider_auth", "provider_down"]
    retry_after: float


@dataclass(frozen=True)
class Unknown:
    """Nobody knows whether a prediction exists. Never retried in place: its webhook tells, or its time runs out."""

    detail: str


SubmissionOutcome = Accepted | Rejected | Throttled | Unknown


class ProviderUnavailable(Exception):
    """The provider did not answer a question; ask again later."""


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
        """Asks for the end of a prediction: what it is then, or None if nobody can tell."""

    async def find(self, wanted: Wanted, timeout: float) -> list[str]:
        """The ids of all predictions that could be the wanted one; none where the provider has no list.

        Raises ProviderUnavailable.
        """

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        """Raises Unauthenticated unless the provider signed this webhook."""

    def read_webhook(self, body: bytes) -> Prediction:
        """What a verified webhook says; raises ValueError if it is no prediction."""

    async def close(self) -> None:
        """Gives back the connections."""
