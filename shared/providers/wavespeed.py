"""WaveSpeed over its HTTP API, without its SDK.

This module relies on these facts of WaveSpeed's documentation:

    how-to-use-webhooks          a create posts the inputs to the model's path, with the webhook's URL as ``webhook``
    shared/submit-response       answers are envelopes ``{"code", "message", "data"}``; the code is an HTTP status
    error-codes                  a task's code is 0, 1xxx or 5xxx
    what-are-predictions         results are kept for 7 days
    docs-api/verifying_webhook   a webhook's body is the task itself, signed with v3

WaveSpeed documents no idempotency key, no deadline and no sure way to cancel: a created task runs until it ends. Its
list shows no inputs, so a lost task cannot be recognized. Therefore this module cancels nothing and finds nothing.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.config.addresses import fault_of_address, is_loopback_url
from shared.config.credentials import MIN_FOREIGN_SECRET, MIN_SECRET, fault_of_form, fault_of_secret
from shared.config.environment import is_withheld
from shared.config.settings import Settings
from shared.json_value import Json
from shared.providers.base import (
    Found,
    Prediction,
    PredictionGone,
    PredictionStatus,
    Rejected,
    Submission,
    SubmissionOutcome,
    Throttled,
    Wanted,
)
from shared.providers.calls import (
    ACCOUNT_PAUSE,
    Answer,
    Calls,
    accepted,
    advised,
    described,
    detail_of,
    identify,
    is_unread,
    refusal_of,
    run_time,
)
from shared.providers.failures import clean
from shared.providers.reading import read_answer
from shared.signing.webhooks import V3, read_headers, verify

STATUSES: dict[str, PredictionStatus] = {
    "created": "running",
    "processing": "running",
    "completed": "completed",
    "failed": "failed",
    "timeout": "failed",
    "cancelled": "canceled",
    "canceled": "canceled",
    "deleted": "canceled",
}
# The meaning of a task's code (WaveSpeed's page on error codes), in words that failures.py classifies.
MEANINGS = {
    1200: "content moderation",
    1400: "invalid input",
    1401: "invalid input",
    1402: "invalid input",
    5003: "unavailable",
    5004: "timed out",
}
SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")  # it becomes part of a path, so no dot at its start
# Paths of the API that are not models. A create for a model of such a name could delete other jobs' results.
RESERVED = {
    *("predictions", "webhook", "webhooks", "media", "model", "models", "balance", "billing", "billings"),
    *("user", "users", "account", "accounts", "api", "auth", "key", "keys"),
}
# A refusal for lack of credit with another code than 402. It must be in the message's own words: the text after a colon
# or a quotation mark may quote the caller.
NO_CREDIT = re.compile(r"[^:'\"`]{0,60}insufficient (?:account )?(?:credit|balance|fund)", re.I)
NOT_FOUND = "WaveSpeed runs no model of this name. Its page of the model shows the path, such as vendor/model/variant."
SYNC_MODE = "enable_sync_mode"  # would hold the create call open until the task has ended


class WaveSpeedSettings(BaseSettings):
    """The settings of a deployment that uses WaveSpeed, in addition to Settings."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, populate_by_name=True
    )

    wavespeed_api_key: SecretStr | None = None
    wavespeed_base_url: str = "https://api.wavespeed.ai/api/v3"
    wavespeed_webhook_secret: SecretStr | None = None  # during a rotation several, separated by commas

    @classmethod
    def read(cls, settings: Settings) -> "WaveSpeedSettings":
        """Reads the environment, and in development the ``.env`` file, as for the other settings."""
        return cls(_env_file=".env" if settings.environment == "development" else None)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets for webhooks, without empty ones."""
        return tuple(part for part in self._webhook_parts() if part.removeprefix("whsec_"))

    def faults(self, settings: Settings) -> list[str]:
        """Returns why this deployment cannot start with WaveSpeed; names settings, but no values."""
        named = {"wavespeed_api_key": self.wavespeed_api_key}
        if settings.webhooks_wanted or self.wavespeed_webhook_secret:
            named["wavespeed_webhook_secret"] = self.wavespeed_webhook_secret
        texts = {name: value.get_secret_value() if value else "" for name, value in named.items()}
        faults = [f"{name.upper()} {fault}" for name, text in texts.items() if (fault := fault_of_form(text))]
        if len(self.webhook_secrets) < len(self._webhook_parts()):
            faults.append("WAVESPEED_WEBHOOK_SECRET must be whsec_ followed by text; several are separated by commas")
        if fault := fault_of_address(self.wavespeed_base_url, may_be_plain=settings.is_development):
            faults.append(f"WAVESPEED_BASE_URL {fault}")
        if not settings.is_development:
            missed = {name: value for name, value in named.items() if not is_withheld(name)}
            faults += [f"{name.upper()} {fault}" for name, value in missed.items() if (fault := fault_of_secret(value))]
            faulty = {fault.partition(" ")[0] for fault in faults}
            faults += [fault for fault in self._short_secrets() if fault.partition(" ")[0] not in faulty]
        return faults

    def _short_secrets(self) -> list[str]:
        faults = []
        if any(len(secret.removeprefix("whsec_")) < MIN_SECRET for secret in self.webhook_secrets):
            faults.append(f"WAVESPEED_WEBHOOK_SECRET must have {MIN_SECRET} characters or more")
        if self.wavespeed_api_key and len(self.wavespeed_api_key.get_secret_value()) < MIN_FOREIGN_SECRET:
            faults.append(f"WAVESPEED_API_KEY has fewer than {MIN_FOREIGN_SECRET} characters")
        return faults

    def _webhook_parts(self) -> list[str]:
        raw = self.wavespeed_webhook_secret.get_secret_value() if self.wavespeed_webhook_secret else ""
        return [part.strip() for part in raw.split(",") if part.strip()]

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: Any, field: ValidationInfo) -> Any:
        if is_withheld(field.field_name or ""):
            return None
        return value.strip() if isinstance(value, str) else value


class WaveSpeed:
    """The provider ``wavespeed``. Belongs to one event loop; the HTTP client is built at the first call."""

    name = "wavespeed"

    def __init__(self, settings: Settings, own: WaveSpeedSettings | None = None) -> None:
        self._settings = settings
        self._own = own or WaveSpeedSettings.read(settings)
        base_url, key = self._own.wavespeed_base_url, self._own.wavespeed_api_key
        self._calls = Calls(self.name, base_url, key, settings.provider_timeout)

    @staticmethod
    def faults(settings: Settings) -> list[str]:
        """Returns why this deployment cannot start with WaveSpeed; names settings, but no values."""
        return WaveSpeedSettings.read(settings).faults(settings)

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        try:
            path = path_of(submission.model)
        except ValueError as error:
            return Rejected("invalid_input", str(error))
        if submission.webhook_url is not None and self._takes(submission.webhook_url):
            path += f"?webhook={quote(submission.webhook_url, safe='')}"
        inputs = {name: value for name, value in submission.input.items() if name != SYNC_MODE}
        return await self._calls.create(path, inputs, timeout, outcome_of)

    def _takes(self, webhook_url: str) -> bool:
        """Whether WaveSpeed accepts this webhook URL: https, or http for a simulator on loopback."""
        return webhook_url.startswith("https://") or is_loopback_url(self._own.wavespeed_base_url)

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        answer = await self._calls.ask("GET", f"predictions/{quote(prediction_id, safe='')}/result", timeout)
        if _with_envelope_code(answer).status == 404:
            raise PredictionGone
        return described(answer, prediction_of)

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        return None

    async def find(self, wanted: Wanted, timeout: float) -> Found:
        return Found()

    def read_headers(self, headers: Mapping[str, str], now: int) -> None:
        read_headers(headers, now=now, tolerance=self._settings.webhook_tolerance, scheme=V3)

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        secrets, tolerance = self._own.webhook_secrets, self._settings.webhook_tolerance
        verify(headers, body, secrets, now=now, tolerance=tolerance, scheme=V3)

    def read_webhook(self, body: bytes) -> Prediction:
        return prediction_of(read_answer(body))

    async def close(self) -> None:
        await self._calls.close()


def path_of(model: str) -> str:
    """Returns the path, below the base URL, that creates a task of this model; raises ValueError for other names."""
    segments = model.split("/")
    if len(segments) < 2 or not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("WaveSpeed's models are named vendor/model.")
    if segments[0].lower() in RESERVED:
        raise ValueError("WaveSpeed has no model of this name.")
    return "/".join(segments)


def outcome_of(answer: Answer) -> SubmissionOutcome:
    """Returns what the answer to a create proves. An answer that names a task proves that task, with any code."""
    task, coded = _task_in(answer.document), _with_envelope_code(answer)
    with suppress(ValueError):
        if coded.is_success or task.get("status") in list(STATUSES):
            return accepted(task, prediction_of)
    refuses = not coded.is_success and not 500 <= coded.status < 600
    if refuses and NO_CREDIT.match(detail_of(coded)):
        return Throttled("billing", ACCOUNT_PAUSE, coded.status)
    return advised(refusal_of(coded), NOT_FOUND)


def _with_envelope_code(answer: Answer) -> Answer:
    """Returns the answer with its envelope's code as status, if only the code reports an error."""
    code = answer.document.get("code")
    if answer.is_success and type(code) is int and code != 0 and not 200 <= code < 300:
        return replace(answer, status=code)
    return answer


def _task_in(document: Json) -> dict[str, Json]:
    """Returns the task in an envelope, or the document itself: a webhook has no envelope."""
    if not isinstance(document, dict):
        return {}
    inner = document.get("data")
    return inner if isinstance(inner, dict) else document


def prediction_of(document: Json) -> Prediction:
    """Returns the prediction that an answer or a webhook describes; raises ValueError if there is none."""
    task = _task_in(document)
    prediction_id, status = identify(task, STATUSES, WaveSpeed.name)
    outputs, seconds = task.get("outputs"), _seconds_of(task)
    if is_unread(status, outputs):
        status = "unreadable"
    return Prediction(
        id=prediction_id,
        status=status,
        output=outputs if isinstance(outputs, list) and outputs else None,
        error=_error_of(task) if status == "failed" else "",
        model=str(task.get("model") or ""),
        seconds=seconds if status == "completed" else None,
        metrics={} if seconds is None or status == "running" else {"predict_time": seconds},
    )


def _error_of(task: dict[str, Json]) -> str:
    """Returns the error's text, after the meaning of the task's code or status."""
    code, text = task.get("code"), clean(str(task.get("error") or ""))
    meaning = MEANINGS.get(code, "") if type(code) is int else ""
    if task["status"] == "timeout":
        meaning = MEANINGS[5004]
    return clean(": ".join(filter(None, (meaning, text))))


def _seconds_of(task: dict[str, Json]) -> float | None:
    """Returns how long the task took, in s; WaveSpeed reports ms."""
    timings = task.get("timings")
    milliseconds = task.get("executionTime") or (timings.get("inference") if isinstance(timings, dict) else None)
    return run_time(milliseconds, per_second=1000)
