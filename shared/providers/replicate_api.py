"""Replicate over its HTTP API, without its SDK.

This module relies on these facts of Replicate's documentation:

    HTTP reference                      creates have no idempotency key
    topics/webhooks                     the query of a webhook URL is preserved
    changelog, 2025-10-16               ``Cancel-After`` bounds a prediction from its creation; at least 5 s
    topics/predictions/rate-limits      600 creates and 3000 other calls a minute; beyond them 429 with the text
                                        "Your rate limit resets in ~30s"
    topics/predictions/data-retention   outputs are deleted after an hour

The SDK's 1.x does not know the status ``aborted``, and its 2.x repeats creates by itself. Either would break a promise.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from urllib.parse import quote, urlencode

from shared.config.settings import Settings
from shared.json_value import Json
from shared.providers.base import (
    Found,
    Prediction,
    PredictionGone,
    PredictionStatus,
    ProviderUnavailable,
    Submission,
    SubmissionOutcome,
    Wanted,
)
from shared.providers.calls import (
    Answer,
    Calls,
    accepted,
    advised,
    described,
    fields_of,
    identify,
    is_unread,
    numbers_in,
    refusal_of,
    run_time,
)
from shared.providers.failures import clean
from shared.providers.listing import PageReader
from shared.providers.progress import progress_of
from shared.providers.reading import UNREAD, read_answer
from shared.providers.replicate_list import SHOWN, VERSION_ID, Search
from shared.signing.webhooks import read_headers, verify

STATUSES: dict[str, PredictionStatus] = {
    "starting": "running",
    "processing": "running",
    "succeeded": "completed",
    "failed": "failed",
    "canceled": "canceled",
    "aborted": "canceled",  # the deadline passed before it started; not charged
}
MAX_PAGES = 50  # of 100; an attempt's window of six minutes has 3,240 at 540 creates a minute
NOT_FOUND = "Replicate runs no model of this name. Name a community model with its version: owner/model:version."


class Replicate:
    """The provider ``replicate``. Belongs to one event loop; the HTTP client is built at the first call."""

    name = "replicate"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        token, timeout = settings.replicate_api_token, settings.provider_timeout
        self._calls = Calls(self.name, settings.replicate_base_url, token, timeout)

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        path, body = request_of(submission)
        headers = {"Cancel-After": f"{submission.cancel_after}s"}
        return await self._calls.create(path, body, timeout, outcome_of, headers)

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        answer = await self._calls.ask("GET", f"predictions/{quote(prediction_id, safe='')}", timeout)
        if answer.status == 404:
            raise PredictionGone
        return described(answer, prediction_of)

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        try:
            answer = await self._calls.ask("POST", f"predictions/{quote(prediction_id, safe='')}/cancel", timeout)
            return described(answer, prediction_of)
        except ProviderUnavailable:
            return None

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        """Follows the pages of the list to the last one; a part of the list is no list.

        Raises ProviderUnavailable if a page does not come to its end, if all of them take longer than ``timeout``, or
        if there are more than MAX_PAGES.
        """
        search = Search(wanted)
        bounds = {"created_after": wanted.since.isoformat(), "created_before": wanted.until.isoformat()}
        path = f"predictions?{urlencode(bounds)}"
        try:
            async with asyncio.timeout(timeout):
                for _ in range(MAX_PAGES):
                    path = await self._page(path, search)
                    if not path:
                        return search.found
        except TimeoutError:
            raise ProviderUnavailable("the list took too long") from None
        raise ProviderUnavailable("the list has too many pages")

    async def _page(self, path: str, search: Search) -> str:
        """Judges a page's predictions, and returns the path of the next one; '' on the last page, which says null."""
        reader = PageReader(SHOWN, search.judge)
        try:
            await self._calls.read(path, reader.feed)
        except ValueError:
            raise ProviderUnavailable("no page of a list") from None
        following = reader.page.get("next", UNREAD)
        if not reader.has_list or not isinstance(following, str | None):
            raise ProviderUnavailable("no page of a list")
        if not reader.is_whole or following is UNREAD:
            raise ProviderUnavailable("the page cannot be read to its end")
        return following or ""

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        read_headers(headers, now=now, tolerance=self._settings.webhook_tolerance)

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        secrets = self._settings.replicate_webhook_secrets
        verify(headers, body, secrets, now=now, tolerance=self._settings.webhook_tolerance)

    def read_webhook(self, body: bytes) -> Prediction:
        return prediction_of(read_answer(body))

    async def close(self) -> None:
        await self._calls.close()


def request_of(submission: Submission) -> tuple[str, dict[str, Json]]:
    """Returns the path and body that create a prediction of this model: a version, a model or a deployment."""
    body: dict[str, Json] = {"input": dict(submission.input)}
    if submission.webhook_url is not None:
        body |= {"webhook": submission.webhook_url, "webhook_events_filter": ["completed"]}
    model = submission.model
    if model.startswith("deployments/"):
        return f"{model}/predictions", body
    if ":" in model or VERSION_ID.fullmatch(model):
        return "predictions", {"version": model.rpartition(":")[2], **body}
    return f"models/{model}/predictions", body


def outcome_of(answer: Answer) -> SubmissionOutcome:
    """Returns what the answer to a create proves."""
    with suppress(ValueError):
        if answer.is_success:
            return accepted(answer.document, prediction_of)
    return advised(refusal_of(answer), NOT_FOUND)


def prediction_of(document: Json) -> Prediction:
    """Returns the prediction that an answer or a webhook describes; raises ValueError if there is none."""
    body = fields_of(document)
    prediction_id, status = identify(body, STATUSES, Replicate.name)
    metrics, output = body.get("metrics"), body.get("output")
    if is_unread(status, output):
        status = "unreadable"
    return Prediction(
        id=prediction_id,
        status=status,
        output=None if output is UNREAD else output,
        error=clean(str(body.get("error") or "")),
        progress=progress_of(body.get("logs")) if status == "running" else None,
        removed=body.get("data_removed") is True,
        model=str(body.get("model") or ""),
        seconds=run_time(metrics.get("total_time")) if isinstance(metrics, dict) else None,
        ended_at=_moment(body.get("completed_at")) if status != "running" else None,
        metrics=numbers_in(metrics),
        is_free=body.get("status") == "aborted",  # mutant: aborted
    )


def _moment(value: Json) -> int | None:
    """Returns the ms of a time with its zone; None for anything else."""
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return round(at.timestamp() * 1000) if at and at.tzinfo else None
    return None
