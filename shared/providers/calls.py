"""What the providers' HTTP APIs have in common: how they are called, and what their answers prove.

Nothing here is ever sent twice and no redirect is followed, so that a key goes to nobody but its provider, and a create
happens once or is known not to have happened.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from shared.json_value import Json
from shared.log import log
from shared.providers.base import (
    Prediction,
    PredictionStatus,
    ProviderUnavailable,
    Rejected,
    SubmissionOutcome,
    Throttled,
    Unknown,
)
from shared.providers.failures import clean

NEVER_SENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout,
    httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL,  # our own request is impossible
)  # fmt: skip
UNSURE = (408, 409, 425)  # 4xx that do not prove that nothing was created
PREDICTION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
RESETS_IN = re.compile(r"resets in ~?(\d+)\s*s")
MAX_PAUSE = 120.0  # s
DEFAULT_PAUSE = 30.0
ACCOUNT_PAUSE = 60.0  # s; without credit or with a wrong key nothing changes sooner
CONNECT_TIMEOUT = 5.0
MAX_RUN = 86_400  # s


@dataclass(frozen=True)
class Answer:
    """What a provider's API answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def document(self) -> dict[str, Json]:
        """The JSON object it holds; an empty one if it holds anything else."""
        try:
            document = read_json(self.content)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class Calls:
    """The HTTP client of one provider. Belongs to one event loop; it is built at the first call."""

    def __init__(self, provider: str, base_url: str, key: SecretStr | None, timeout: float) -> None:
        self._provider = provider
        self._base_url = base_url.rstrip("/") + "/"
        self._key = key
        self._timeout = timeout
        self._built: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        if self._built is None:
            self._built = httpx.AsyncClient(
                base_url=self._base_url,
                headers={"Authorization": f"Bearer {self._key.get_secret_value() if self._key else ''}"},
                timeout=httpx.Timeout(self._timeout, connect=CONNECT_TIMEOUT),
                follow_redirects=False,
            )
        return self._built

    async def create(
        self,
        path: str,
        body: Mapping[str, Json],
        timeout: float,
        outcome_of: Callable[[Answer], SubmissionOutcome],
        headers: Mapping[str, str] | None = None,
    ) -> SubmissionOutcome:
        """Sends the create call of an attempt, once, and tells by ``outcome_of`` what its answer proves."""
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.post(path, json=body, headers=headers)
        except NEVER_SENT:  # mutant: never sent
            return Throttled("provider_down", DEFAULT_PAUSE)
        except (TimeoutError, httpx.HTTPError) as error:
            return Unknown(type(error).__name__)  # mutant: no repeat of a create
        try:
            return outcome_of(_answer(response))
        except Exception as error:
            # Whatever an answer holds, the job must not be lost over reading it.
            log.exception("answer_unreadable", provider=self._provider, error=type(error).__name__)
            return Unknown("the answer cannot be read")

    async def ask(self, method: str, path: str, timeout: float) -> Answer:
        """Asks a question that may be lost; raises ProviderUnavailable."""
        # An address such as that of a list's next page comes from outside; our key goes nowhere but to the provider.
        if "://" in path and not path.startswith(str(self._client.base_url)):
            raise ProviderUnavailable("the address is elsewhere")
        try:
            async with asyncio.timeout(timeout):
                return _answer(await self._client.request(method, path))
        except (TimeoutError, httpx.HTTPError) as error:
            raise ProviderUnavailable(type(error).__name__) from None

    async def close(self) -> None:
        if self._built is not None:
            await self._built.aclose()


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def refusal_of(answer: Answer) -> SubmissionOutcome:
    """What the answer to a create proves that names no prediction."""
    status = answer.status
    if answer.is_success:
        return Unknown("the answer holds no prediction")
    if status == 429:
        return Throttled("rate_limited", pause_of(answer))
    if status == 402:
        return Throttled("billing", ACCOUNT_PAUSE)
    if status in (401, 403):
        return Throttled("provider_auth", ACCOUNT_PAUSE)
    if 400 <= status < 500 and status not in UNSURE:
        return Rejected("invalid_input", detail_of(answer))
    return Unknown(f"status {status}")


def pause_of(answer: Answer) -> float:
    """How long a 429 asks to wait, in s: its header, its ``retry_after``, or "resets in ~30s" in its text."""
    body = answer.document
    told: list[Json] = [answer.headers.get("retry-after"), body.get("retry_after")]
    text = RESETS_IN.search(str(body.get("detail") or body.get("message") or ""))
    told.append(text.group(1) if text else None)
    for value in told:
        if isinstance(value, str | int | float):
            try:
                return min(MAX_PAUSE, max(1.0, float(value)))
            except (ValueError, OverflowError):
                continue
    return DEFAULT_PAUSE


def detail_of(answer: Answer) -> str:
    """The provider's reason for a refusal, cleaned."""
    body = answer.document
    return clean(str(body.get("detail") or body.get("title") or body.get("message") or f"status {answer.status}"))


def described(answer: Answer, prediction_of: Callable[[Json], Prediction]) -> Prediction:
    """The prediction in the answer to a question; raises ProviderUnavailable if there is none."""
    if not answer.is_success:
        raise ProviderUnavailable(f"status {answer.status}")
    try:
        return prediction_of(read_json(answer.content))
    except ValueError:
        raise ProviderUnavailable("no prediction in the answer") from None


def read_json(body: bytes) -> Json:
    """The JSON document; NaN and infinities, which could not be passed on as JSON, become null."""
    try:
        document: Json = json.loads(body, parse_constant=lambda _: None, parse_float=_finite)
        return document
    except RecursionError:
        raise ValueError("nested too deep") from None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def fields_of(document: Json) -> dict[str, Json]:
    """The members of a document that describes a prediction; raises ValueError for what is no JSON object."""
    if not isinstance(document, dict):
        raise ValueError("not a prediction")
    return document


def identify(
    body: Mapping[str, Json], statuses: Mapping[str, PredictionStatus], provider: str
) -> tuple[str, PredictionStatus]:
    """The id and status of the prediction a document describes; raises ValueError if it describes none.

    A status that is not documented counts as running: it is not the end of anything we know.
    """
    prediction_id, word = body.get("id"), body.get("status")
    if not isinstance(word, str):
        raise ValueError("not a prediction")
    if not isinstance(prediction_id, str) or not PREDICTION_ID.fullmatch(prediction_id):
        raise ValueError("not a prediction's id")
    status = statuses.get(word)
    if status is None:
        log.warning("provider_status_unknown", provider=provider, prediction=prediction_id)
    return prediction_id, status or "running"


def run_time(told: Json, per_second: int = 1) -> float | None:
    """A duration as a provider tells it, in s; None for what can be none."""
    # Compared before it is divided: an integer may be too large for a float.
    if isinstance(told, int | float) and 0 <= told < MAX_RUN * per_second:
        return told / per_second
    return None
