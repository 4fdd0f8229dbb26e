"""A provider whose calls are counted by what they brought."""

from collections.abc import Mapping

from shared.providers.base import (
    Found,
    Prediction,
    PredictionGone,
    Provider,
    ProviderUnavailable,
    Submission,
    SubmissionOutcome,
    Wanted,
)
from shared.tally import Tally


class Counted:
    """Passes each call on. An amount is named ``calls.<provider>.<call>.<outcome>``.

    create   accepted, rejected, throttled, unknown
    get      answered, gone, unavailable
    cancel   answered, unavailable
    find     complete, incomplete, unavailable
    """

    def __init__(self, name: str, provider: Provider, tally: Tally) -> None:
        self.name = name
        self._provider = provider
        self._tally = tally

    def _count(self, call: str, outcome: str) -> None:
        self._tally.count(f"calls.{self.name}.{call}.{outcome}")

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        outcome = await self._provider.create(submission, timeout)
        self._count("create", type(outcome).__name__.lower())
        return outcome

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        try:
            prediction = await self._provider.get(prediction_id, timeout)
        except PredictionGone:
            self._count("get", "gone")
            raise
        except ProviderUnavailable:
            self._count("get", "unavailable")
            raise
        self._count("get", "answered")
        return prediction

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        prediction = await self._provider.cancel(prediction_id, timeout)
        self._count("cancel", "unavailable" if prediction is None else "answered")
        return prediction

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        try:
            found = await self._provider.find(wanted, timeout)
        except ProviderUnavailable:
            self._count("find", "unavailable")
            raise
        self._count("find", "complete" if found.is_complete else "incomplete")
        return found

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        self._provider.read_headers(headers, now)

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        self._provider.verify(headers, body, now)

    def read_webhook(self, body: bytes) -> Prediction:
        return self._provider.read_webhook(body)

    async def close(self) -> None:
        await self._provider.close()
