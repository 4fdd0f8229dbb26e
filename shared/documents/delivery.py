"""The events of a job or batch and the tries to deliver them, as the owner and operators see them."""

from typing import TypedDict

from shared.config.hooks import Event
from shared.jobqueue.outbox import EventState


class TryDocument(TypedDict):
    """One try: the endpoint's status and the beginning of its answer, or why there is none in ``error``."""

    at: str
    status: int | None
    duration_ms: int
    answer: str
    error: str | None


class DeliveryDocument(TypedDict):
    """One event and its tries, oldest first."""

    event_id: str
    type: Event
    state: EventState
    next_try_at: str | None
    tries: list[TryDocument]


class DeliveriesDocument(TypedDict):
    """``GET /api/jobs/{id}/deliveries`` and the same of a batch."""

    id: str
    hook_url: str | None
    deliveries: list[DeliveryDocument]


class UndeliveredEvent(TypedDict):
    """An event that was given up, of a job or of a batch; ``event_id`` is null once that is no longer kept."""

    event_id: str | None
    type: Event
    job_id: str | None
    batch_id: str | None
    given_up_at: str


class UndeliveredPage(TypedDict):
    """``GET /api/operate/undelivered``."""

    undelivered: list[UndeliveredEvent]
    next_cursor: str | None
