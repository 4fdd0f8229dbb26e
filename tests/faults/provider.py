"""Predictions, their webhooks, and a process's way to the provider. What it really did is kept as the truth."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

from shared.config.settings import Settings
from shared.providers.base import (
    Accepted,
    Found,
    Prediction,
    PredictionGone,
    PredictionStatus,
    ProviderUnavailable,
    Submission,
    SubmissionOutcome,
    Throttled,
    Unknown,
    Wanted,
)
from shared.signing.derived import nonce_is_valid
from tests.faults.books import Books
from tests.faults.files import urls
from tests.faults.process import Passage, Process
from tests.faults.scenario import Creation, Scenario, WebhookMode, Work
from tests.invariants import Made

Answer = TypeVar("Answer")

SHORT = 30.0  # s; a run that ends sooner may overtake the answer to its create
LATE = 50.0  # s; within the minute in which the provider repeats
RETRIES = (5.0, 15.0, 40.0)  # s between two deliveries of a webhook


class Surroundings(Protocol):
    """What the provider needs of the simulation."""

    books: Books
    settings: Settings
    scenario: Scenario
    mode: WebhookMode

    def work(self, job_id: str) -> Work:
        """Returns the scenario's work of a job."""

    def on_create(self, made: Made, *, was_frozen: bool) -> None:
        """Judges a creation."""

    def complain(self, fault: str) -> None:
        """Reports a broken invariant."""


Deliver = Callable[[str, int, int], Awaitable[None]]


class FakeProvider:
    """One provider for all processes: makes, ends, lists and cancels predictions by the true time."""

    def __init__(self, world: Surroundings, deliver: Deliver) -> None:
        self._world = world
        self._deliver = deliver

    async def create(self, submission: Submission, *, was_frozen: bool) -> SubmissionOutcome:
        """Makes a prediction, or not, as the scenario says of this creation of the job."""
        self._check_url(submission)
        books, works = self._world.books, self._world.work(submission.job_id).creations
        number = books.asked[submission.job_id] = books.asked.get(submission.job_id, 0) + 1
        creation = works[min(number, len(works)) - 1]
        if creation.answer == "throttled":
            return Throttled("rate_limited", 10.0)
        if creation.answer == "refused":
            return Throttled("provider_auth", 10.0, 403)
        if creation.answer == "unknown_not_made":
            return Unknown("not made")
        made = self._make(submission, creation, was_frozen)
        if self._overtakes(creation):
            made.status = self._end_of(creation)
            await self._deliver(made.id, 0, 1)
        else:
            books.plan(min(creation.seconds, float(submission.cancel_after)), "end", made.id)
        return Unknown("made") if creation.answer == "unknown_made" else Accepted(Prediction(made.id, "running"))

    def get(self, prediction_id: str) -> Prediction:
        """Returns the prediction as it is now."""
        if prediction_id not in self._world.books.made:
            raise PredictionGone
        return self.described(prediction_id)

    def cancel(self, prediction_id: str) -> Prediction | None:
        """Cancels a prediction that still runs. Its webhook follows, as after any end."""
        made = self._world.books.made.get(prediction_id)
        if made is None:
            return None
        if made.status == "running":
            made.status = "canceled"
            self._send_webhooks(made)
        return self.described(prediction_id)

    def find(self, wanted: Wanted) -> Found:
        """Returns all predictions of this model and input in this time, newest first; the list does not say whose."""
        if not self._world.scenario.is_listed:
            return Found()
        since, until = wanted.since.timestamp() * 1000, wanted.until.timestamp() * 1000
        like = [p for p in self._world.books.made.values() if p.model == wanted.model and p.input == dict(wanted.input)]
        now, is_complete = self._world.books.now, self._world.scenario.is_list_whole
        shown = [p for p in reversed(like) if since <= p.created_at <= until and p.listed_at <= now]
        return Found(alike=tuple(p.id for p in shown), is_complete=is_complete)

    def could_be_found(self, made: Made) -> bool:
        """Whether the list shows it, and no other prediction without an owner could be taken for it."""
        books, scenario = self._world.books, self._world.scenario
        zombies = (
            p for p in books.made.values() if p.is_zombie and p.job == made.job and p.id not in books.state.owners
        )
        twins = [name for name, work in scenario.works.items() if (work.prompt or name) == made.input["prompt"]]
        return scenario.is_listed and not scenario.list_lag and len(twins) == 1 and not any(zombies)

    def end(self, prediction_id: str) -> None:
        """Ends a run, or cancels it at its deadline."""
        made = self._world.books.made[prediction_id]
        if made.status == "running":
            made.status = self._end_of(self._world.books.creations[prediction_id])
            self._send_webhooks(made)

    def described(self, prediction_id: str) -> Prediction:
        """Returns the provider's record of a prediction."""
        books = self._world.books
        made = books.made[prediction_id]
        error = books.creations[made.id].error if made.status == "failed" else ""
        files = self._world.work(made.job).files
        output = urls(made.id, files) if files else f"the result of {made.id}"
        is_completed = made.status == "completed"
        metrics = {"predict_time": books.creations[made.id].seconds}
        return Prediction(made.id, made.status, output if is_completed else None, error, metrics=metrics)

    def _make(self, submission: Submission, creation: Creation, was_frozen: bool) -> Made:
        books = self._world.books
        made = Made(
            id=f"p{len(books.made) + 1}",
            job=submission.job_id,
            attempt=submission.attempt,
            model=submission.model,
            input=dict(submission.input),
            created_at=books.now,
            listed_at=books.now + round(self._world.scenario.list_lag * 1000),
            incarnation=parse_qs(urlsplit(submission.webhook_url or "").query).get("incarnation", [""])[0],
        )
        self._world.on_create(made, was_frozen=was_frozen)
        books.made[made.id] = made
        books.creations[made.id] = creation
        return made

    def _overtakes(self, creation: Creation) -> bool:
        return self._world.mode == "overtaking" and creation.seconds <= SHORT

    def _end_of(self, creation: Creation) -> PredictionStatus:
        return creation.verdict if creation.seconds <= self._world.settings.cancel_after else "canceled"

    def _send_webhooks(self, made: Made) -> None:
        """Sends an end's webhooks as the mode says: after how many s, and how many at once."""
        s = self._world.settings
        belated = s.lease + s.cancel_after + s.adoption_margin + 30
        deliveries: dict[WebhookMode, tuple[tuple[float, int], ...]] = {
            "lost": (), "duplicate": ((0.0, 2), (3.0, 1)), "late": ((LATE, 1),), "belated": ((belated, 1),),
        }  # fmt: skip
        for delay, copies in deliveries.get(self._world.mode, ((0.0, 1),)):
            self._world.books.plan(delay, "webhook", made.id, 0, copies)

    def _check_url(self, submission: Submission) -> None:
        query = parse_qs(urlsplit(submission.webhook_url or "").query)
        given = {name: values[0] for name, values in query.items()}
        key = self._world.settings.signing_key
        is_own = (given.get("job"), given.get("attempt")) == (submission.job_id, str(submission.attempt))
        attempt = (FaultyProvider.name, submission.job_id, submission.attempt, given.get("incarnation", ""))
        if not is_own or not nonce_is_valid(given["nonce"], key, *attempt):
            self._world.complain(f"I7 {submission.job_id} was submitted with the webhook URL {submission.webhook_url}")


class FaultyProvider:
    """The provider as an instance sees it; ``process`` is the instance's current one."""

    name = "replicate"
    process: Process

    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        async def created(passage: Passage) -> SubmissionOutcome:
            return await self._provider.create(submission, was_frozen=passage.was_frozen)

        return await self._call("create", created) or Unknown("timeout")

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        async def got(_: Passage) -> Prediction:
            return self._provider.get(prediction_id)

        return await self._ask("get", got)

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        async def canceled(_: Passage) -> Prediction | None:
            return self._provider.cancel(prediction_id)

        return await self._call("cancel", canceled)

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        async def found(_: Passage) -> Found:
            return self._provider.find(wanted)

        return await self._ask("find", found)

    async def _ask(self, verb: str, answer: Callable[[Passage], Awaitable[Answer]]) -> Answer:
        known = await self._call(verb, answer)
        if known is None:
            raise ProviderUnavailable("timeout")
        return known

    async def _call(self, verb: str, act: Callable[[Passage], Awaitable[Answer]]) -> Answer | None:
        """Returns the provider's answer; None if the request or the answer is lost."""

        process = self.process

        async def called(passage: Passage) -> Answer | None:
            if passage.loss is None:
                return await act(passage)
            if passage.loss.when == "after":
                await act(passage)
            if passage.loss.kind == "stale_repeat":
                await process.freeze(passage.loss)
            return None

        return await process.io(f"provider:{verb}", called)

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        """Accepts any."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        """Accepts all: webhooks here bypass functions/webhook.py, unsigned."""

    def read_webhook(self, body: bytes) -> Prediction:
        raise NotImplementedError

    async def close(self) -> None:
        """Closes nothing: the provider outlives its processes."""
