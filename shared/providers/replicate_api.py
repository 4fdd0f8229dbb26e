"""Replicate over its HTTP API, without its SDK.

Facts relied on, from Replicate's documentation: no idempotency key for creates (HTTP reference); the query of a webhook
URL is preserved (topics/webhooks); ``Cancel-After`` bounds a prediction from its creation, 5 s at least (changelog,
2025-10-16); 600 creates and 3000 other calls a minute, refused with 429 and "Your rate limit resets in ~30s"
(topics/predictions/rate-limits); outputs are deleted after an hour (topics/predictions/data-retention). The SDK's 1.x
does not know the status ``aborted`` and its 2.x sends creates again by itself, each of which would break a promise.
"""

import asyncio
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from shared.log import log
from shared.providers.base import (
    Accepted,
    Prediction,
    PredictionGone,
    PredictionStatus,
    ProviderUnavailable,
    Rejected,
    Submission,
    SubmissionOutcome,
    Throttled,
    Unknown,
    Wanted,
)
from shared.providers.failures import clean
from shared.settings import Settings
from shared.signatures import verify

STATUSES: dict[str, PredictionStatus] = {
    "starting": "running",
    "processing": "running",
    "succeeded": "completed",
    "failed": "failed",
    "canceled": "canceled",
    "aborted": "canceled",  # the deadline passed before it started; not charged
}
NEVER_SENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout,
    httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL,  # our own request is impossible
)  # fmt: skip
UNSURE = (408, 409, 425)  # 4xx that do not prove that nothing was created
PREDICTION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
VERSION_ID = re.compile(r"[0-9a-f]{64}")
PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?%")
RESETS_IN = re.compile(r"resets in ~?(\d+)\s*s")
LONGEST_PAUSE = 120.0  # s
DEFAULT_PAUSE = 30.0
ACCOUNT_PAUSE = 60.0  # s; without credit or with a wrong token nothing changes sooner
CONNECT_TIMEOUT = 5.0
MOST_PAGES = 20
LONGEST_RUN = 86_400  # s


class Replicate:
    """The provider ``replicate``. Belongs to one event loop; the HTTP client is built at the first call."""

    name = "replicate"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._built is None:
            token = self._settings.replicate_api_token
            self._built = httpx.AsyncClient(
                base_url=self._settings.replicate_base_url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {token.get_secret_value() if token else ''}"},
                timeout=httpx.Timeout(self._settings.provider_timeout, connect=CONNECT_TIMEOUT),
                follow_redirects=False,
            )
        return self._built

    async def create(self, submission: Submission, timeout: float) -> SubmissionOutcome:
        path, body = request_of(submission)
        headers = {"Cancel-After": f"{submission.cancel_after}s"}
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.post(path, json=body, headers=headers)
        except NEVER_SENT:
            return Throttled("provider_down", DEFAULT_PAUSE)
        except (TimeoutError, httpx.HTTPError) as error:
            return Unknown(type(error).__name__)
        try:
            return outcome_of(response)
        except Exception as error:
            # Whatever an answer holds, the job must not be lost over reading it.
            log.exception("answer_unreadable", provider=self.name, error=type(error).__name__)
            return Unknown("the answer cannot be read")

    async def get(self, prediction_id: str, timeout: float) -> Prediction:
        response = await self._ask("GET", f"predictions/{quote(prediction_id, safe='')}", timeout)
        if response.status_code == 404:
            raise PredictionGone
        return self._described(response)

    async def cancel(self, prediction_id: str, timeout: float) -> Prediction | None:
        try:
            response = await self._ask("POST", f"predictions/{quote(prediction_id, safe='')}/cancel", timeout)
            return self._described(response)
        except ProviderUnavailable:
            return None

    async def find(self, wanted: Wanted, timeout: float) -> list[str]:
        listed = await self.list_since(wanted.since, timeout, until=wanted.until)
        return [described["id"] for described in listed if _fits(described, wanted)]

    async def list_since(
        self, moment: datetime, timeout: float, *, until: datetime | None = None
    ) -> list[dict[str, Any]]:
        """The predictions created since then, newest first, as the API describes them, a hundred a call."""
        found: list[dict[str, Any]] = []
        path = f"predictions?created_after={quote(moment.isoformat())}"
        if until is not None:
            path += f"&created_before={quote(until.isoformat())}"
        try:
            async with asyncio.timeout(timeout):
                for _ in range(MOST_PAGES):
                    page = await self._page(path, timeout)
                    found += [described for described in page["results"] if isinstance(described, dict)]
                    path = str(page.get("next") or "")
                    if not path:
                        return found
        except TimeoutError:
            raise ProviderUnavailable("the list took too long") from None
        raise ProviderUnavailable("too many predictions to tell them apart")

    async def _page(self, path: str, timeout: float) -> dict[str, Any]:
        # The address of the next page comes from outside; our token goes nowhere but to the provider.
        if "://" in path and not path.startswith(str(self._client.base_url)):
            raise ProviderUnavailable("the next page is elsewhere")
        response = await self._ask("GET", path, timeout)
        page = _object(response)
        if response.status_code != 200 or not isinstance(page.get("results"), list):
            raise ProviderUnavailable(f"status {response.status_code}")
        return page

    async def _ask(self, method: str, path: str, timeout: float) -> httpx.Response:
        try:
            async with asyncio.timeout(timeout):
                return await self._client.request(method, path)
        except (TimeoutError, httpx.HTTPError) as error:
            raise ProviderUnavailable(type(error).__name__) from None

    def _described(self, response: httpx.Response) -> Prediction:
        if not response.is_success:
            raise ProviderUnavailable(f"status {response.status_code}")
        try:
            return prediction_of(_read(response.content))
        except ValueError as error:
            raise ProviderUnavailable("no prediction in the answer") from error

    def verify(self, headers: Mapping[str, str], body: bytes, now: int) -> None:
        secrets = self._settings.replicate_webhook_secrets
        verify(headers, body, secrets, now=now, tolerance=self._settings.webhook_tolerance)

    def read_webhook(self, body: bytes) -> Prediction:
        return prediction_of(_read(body))

    async def close(self) -> None:
        if self._built is not None:
            await self._built.aclose()


def request_of(submission: Submission) -> tuple[str, dict[str, Any]]:
    """The path and body that create a prediction of this model: a version, a model or a deployment."""
    body: dict[str, Any] = {"input": dict(submission.input)}
    if submission.webhook_url is not None:
        body |= {"webhook": submission.webhook_url, "webhook_events_filter": ["completed"]}
    model = submission.model
    if model.startswith("deployments/"):
        return f"{model}/predictions", body
    if ":" in model or VERSION_ID.fullmatch(model):
        return "predictions", {"version": model.rpartition(":")[2], **body}
    return f"models/{model}/predictions", body


def outcome_of(response: httpx.Response) -> SubmissionOutcome:
    """What the answer to a create proves."""
    status = response.status_code
    if response.is_success:
        try:
            return Accepted(prediction_of(_read(response.content)))
        except ValueError:
            return Unknown("the answer holds no prediction")
    if status == 429:
        return Throttled("rate_limited", pause_of(response))
    if status == 402:
        return Throttled("billing", ACCOUNT_PAUSE)
    if status in (401, 403):
        return Throttled("provider_auth", ACCOUNT_PAUSE)
    if 400 <= status < 500 and status not in UNSURE:
        return Rejected("invalid_input", detail_of(response))
    return Unknown(f"status {status}")


def pause_of(response: httpx.Response) -> float:
    """How long a 429 asks to wait, in s: its header, its ``retry_after``, or "resets in ~30s" in its text."""
    body = _object(response)
    told = [response.headers.get("retry-after"), body.get("retry_after")]
    text = RESETS_IN.search(str(body.get("detail", "")))
    told.append(text.group(1) if text else None)
    for value in told:
        try:
            return min(LONGEST_PAUSE, max(1.0, float(value)))
        except (TypeError, ValueError, OverflowError):
            continue
    return DEFAULT_PAUSE


def detail_of(response: httpx.Response) -> str:
    """The provider's reason for a refusal, cleaned."""
    body = _object(response)
    return clean(str(body.get("detail") or body.get("title") or f"status {response.status_code}"))


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _read(body: bytes) -> Any:
    """The JSON document; NaN and infinities, which could not be passed on as JSON, become null."""
    try:
        return json.loads(body, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def prediction_of(body: Any) -> Prediction:
    """The prediction that an answer or a webhook describes; ValueError if it describes none.

    A status that is not documented counts as running: it is not the end of anything we know.
    """
    if not isinstance(body, dict) or not isinstance(body.get("status"), str):
        raise ValueError("not a prediction")
    if not isinstance(body.get("id"), str) or not PREDICTION_ID.fullmatch(body["id"]):
        raise ValueError("not a prediction's id")
    status = STATUSES.get(body["status"])
    if status is None:
        log.warning("provider_status_unknown", provider="replicate", prediction=body["id"])
        status = "running"
    return Prediction(
        id=body["id"],
        status=status,
        output=body.get("output"),
        error=clean(str(body.get("error") or "")),
        progress=progress_of(body.get("logs")) if status == "running" else None,
        removed=body.get("data_removed") is True,
        model=str(body.get("model") or ""),
        seconds=_total_time(body.get("metrics")),
    )


def _total_time(metrics: Any) -> float | None:
    seconds = metrics.get("total_time") if isinstance(metrics, dict) else None
    if isinstance(seconds, int | float) and 0 <= seconds < LONGEST_RUN:
        return float(seconds)
    return None


def _fits(described: dict[str, Any], wanted: Wanted) -> bool:
    """Whether a listed prediction has the wanted model and input and was created in time.

    What a deployment runs is not in the list under the deployment's name, so nothing is recognised as its.
    """
    owner_name, _, version = wanted.model.rpartition(":")
    is_version = bool(owner_name) or VERSION_ID.fullmatch(wanted.model) is not None
    same_model = described.get("version") == version if is_version else described.get("model") == wanted.model
    try:
        created_at = datetime.fromisoformat(str(described.get("created_at")))
        in_time = wanted.since <= created_at <= wanted.until
    except (ValueError, TypeError):
        return False
    is_id = PREDICTION_ID.fullmatch(str(described.get("id"))) is not None
    return is_id and in_time and same_model and described.get("input") == dict(wanted.input)


def progress_of(logs: Any) -> int | None:
    """The last percentage that the logs name, as progress bars such as tqdm's print it; 99 at most."""
    found = PERCENT.findall(logs[-4000:]) if isinstance(logs, str) else []
    return min(99, int(found[-1])) if found else None
