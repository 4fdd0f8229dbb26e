"""The code that all providers' HTTP APIs share: how they are called, and what their answers prove.

No call is repeated, so one attempt creates at most one prediction. No redirect is followed, so a key only reaches its
provider.
"""

import asyncio
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import httpx
from pydantic import SecretStr

from shared.clock import SystemClock, read_retry_after
from shared.connection import trouble_of
from shared.frozen import dataclass
from shared.json_value import Json
from shared.log import Repeats, log
from shared.providers.base import (
    Accepted,
    Prediction,
    PredictionStatus,
    ProviderUnavailable,
    Rejected,
    SubmissionOutcome,
    Throttled,
    Unknown,
)
from shared.providers.failures import clean
from shared.providers.reading import MAX_ANSWER, UNREAD, read_answer
from shared.tls import tls_context
from shared.turnstile import Crowded, Turnstile

NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,  # the proxy refused to connect
    # The request itself is invalid:
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
UNSURE = (408, 409, 425)  # 4xx that do not prove that nothing was created
PREDICTION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
RESETS_IN = re.compile(r"resets in ~?(\d+)\s*s")
MAX_PAUSE = 120.0  # s
DEFAULT_PAUSE = 30.0
ACCOUNT_PAUSE = 60.0  # s; missing credit or a wrong key takes at least as long to mend
CONNECT_TIMEOUT = 5.0
# Of a process, creates and other calls each. Fewer than the pool of httpx has connections: it counts a wait for one as
# a wait for the answer, which would make a create unknown that was never sent.
MAX_UNDER_WAY = 64
MAX_WAITING = 1_000
WAIT = 0.25  # of a call's time; the rest is for the call itself
CROWDED_PAUSE = 2.0  # s
MAX_RUN = 86_400  # s
MAX_METRIC = 1e9
BLOCK = 64 * 1024  # bytes


@dataclass(frozen=True)
class Answer:
    """An answer of a provider's API."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    is_cut: bool = False  # it has more bytes than were read

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @functools.cached_property
    def document(self) -> dict[str, Json]:
        """The JSON object in the answer, without what cannot be read; an empty one for any other content."""
        try:
            document = read_answer(self.content, is_cut=self.is_cut)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


class Calls:
    """The HTTP clients of one provider. Belongs to one event loop; each client is built at its first call.

    A create has a client that keeps no connection: a server may have closed a kept one, and a create that is written
    into it has an unknown outcome. All other calls may be lost, and share kept connections.
    """

    def __init__(self, provider: str, base_url: str, key: SecretStr | None, timeout: float) -> None:
        self._provider = provider
        self._base_url = base_url.rstrip("/") + "/"
        self._key = key
        self._timeout = timeout
        self._repeats = Repeats()
        self._turns = Turnstile(MAX_UNDER_WAY, MAX_WAITING)
        self._turns_of_creates = Turnstile(MAX_UNDER_WAY, MAX_WAITING)

    @functools.cached_property
    def _client(self) -> httpx.AsyncClient:
        return self._build(httpx.Limits(max_connections=100, max_keepalive_connections=20))

    @functools.cached_property
    def _creator(self) -> httpx.AsyncClient:
        return self._build(httpx.Limits(max_connections=100, max_keepalive_connections=0))  # mutant: fresh connection

    def _build(self, limits: httpx.Limits) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._base_url,
            headers={
                "Authorization": f"Bearer {self._key.get_secret_value() if self._key else ''}",
                # A few compressed bytes may hold any number of bytes.
                "Accept-Encoding": "identity",
            },
            timeout=httpx.Timeout(self._timeout, connect=CONNECT_TIMEOUT),
            limits=limits,
            follow_redirects=False,
            verify=tls_context(),
        )

    async def create(
        self,
        path: str,
        body: Mapping[str, Json],
        timeout: float,
        outcome_of: Callable[[Answer], SubmissionOutcome],
        headers: Mapping[str, str] | None = None,
    ) -> SubmissionOutcome:
        """Sends the create call of an attempt, once; ``outcome_of`` says what its answer proves."""
        until = asyncio.get_running_loop().time() + timeout
        try:
            async with self._turns_of_creates.turn(timeout * WAIT), asyncio.timeout_at(until):
                request = self._creator.build_request("POST", path, json=body, headers=headers)
                answer = await _answer(self._creator, request)
        except Crowded:  # mutant: crowded create
            self._report_crowd()
            return Throttled("provider_down", CROWDED_PAUSE)
        except NEVER_SENT as error:  # mutant: never sent
            self._report(error)
            return Throttled("provider_down", DEFAULT_PAUSE)
        except (TimeoutError, httpx.HTTPError) as error:
            return Unknown(type(error).__name__)  # mutant: no repeat of a create
        try:
            return outcome_of(answer)
        except Exception as error:
            # No answer, even an unreadable one, may lose the job.
            log.exception("answer_unreadable", provider=self._provider, error=type(error).__name__)
            return Unknown("the answer cannot be read")

    async def ask(self, method: str, path: str, timeout: float) -> Answer:
        """Sends a call that may be lost and returns the answer; raises ProviderUnavailable."""
        until = asyncio.get_running_loop().time() + timeout
        try:
            async with self._turns.turn(timeout * WAIT), asyncio.timeout_at(until):
                return await _answer(self._client, self._client.build_request(method, path))
        except Crowded:
            self._report_crowd()
            raise ProviderUnavailable("too many calls are under way") from None
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, NEVER_SENT):
                self._report(error)
            raise ProviderUnavailable(type(error).__name__) from None

    async def read(self, path: str, take: Callable[[bytes], None]) -> None:
        """Hands over the answer to a GET block by block, whatever its size: the caller sets a deadline.

        Raises ProviderUnavailable for any status but 200, and what ``take`` raises.
        """
        # The address of a list's next page comes from outside; the key must only reach the provider.
        if "://" in path and not path.startswith(str(self._client.base_url)):
            raise ProviderUnavailable("the address does not belong to the provider")
        try:
            async with self._turns.turn(self._timeout * WAIT), self._client.stream("GET", path) as response:
                if response.status_code != 200:
                    raise ProviderUnavailable(f"status {response.status_code}")
                async for block in response.aiter_bytes(BLOCK):
                    take(block)
                    await asyncio.sleep(0)  # the deadline holds for blocks that have come already, too
        except Crowded:
            self._report_crowd()
            raise ProviderUnavailable("too many calls are under way") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, NEVER_SENT):
                self._report(error)
            raise ProviderUnavailable(type(error).__name__) from None

    def _report(self, error: httpx.HTTPError | httpx.InvalidURL) -> None:
        self._report_trouble(trouble_of(error, self._base_url))

    def _report_crowd(self) -> None:
        self._report_trouble("too many calls of this process wait")

    def _report_trouble(self, trouble: str) -> None:
        if count := self._repeats.count(trouble):  # polls ask too
            log.warning("provider_unreachable", provider=self._provider, trouble=trouble, count=count)

    async def close(self) -> None:
        for name in ("_client", "_creator"):
            if (built := self.__dict__.get(name)) is not None:
                await built.aclose()


async def _answer(client: httpx.AsyncClient, request: httpx.Request) -> Answer:
    """Sends the request and reads at most MAX_ANSWER bytes of its answer; the rest never reaches this process."""
    content = bytearray()
    response = await client.send(request, stream=True)
    try:
        async for block in response.aiter_bytes():
            content += block
            if len(content) > MAX_ANSWER:  # mutant: cap
                return Answer(response.status_code, response.headers, bytes(content[:MAX_ANSWER]), is_cut=True)
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers, bytes(content))


def refusal_of(answer: Answer) -> SubmissionOutcome:
    """Returns what the answer to a create proves if it names no prediction."""
    status = answer.status
    if answer.is_success:
        return Unknown("the answer holds no prediction")
    if status == 429:
        return Throttled("rate_limited", pause_of(answer), status)
    if status == 402:
        return Throttled("billing", ACCOUNT_PAUSE, status)
    if status in (401, 403):
        return Throttled("provider_auth", ACCOUNT_PAUSE, status)
    if status == 404:
        # Seen now and then for models that exist; nothing was created, so another try is safe.
        return Rejected("model_not_found", detail_of(answer), may_pass=True)  # mutant: not found
    if 400 <= status < 500 and status not in UNSURE:
        return Rejected("invalid_input", detail_of(answer))
    return Unknown(f"status {status}")


def advised(refusal: SubmissionOutcome, advice: str) -> SubmissionOutcome:
    """Returns the refusal; if the provider has no such model, the detail begins with what the caller can do."""
    if isinstance(refusal, Rejected) and refusal.code == "model_not_found":
        return replace(refusal, detail=clean(f"{advice} The provider says: {refusal.detail}"))
    return refusal


def pause_of(answer: Answer) -> float:
    """Returns the pause (s) that a 429 asks for: its header, its ``retry_after``, or "resets in ~30s" in its text."""
    body = answer.document
    asked: list[Json] = [read_retry_after(answer.headers, SystemClock().now()), body.get("retry_after")]
    text = RESETS_IN.search(str(body.get("detail") or body.get("message") or ""))
    asked.append(text.group(1) if text else None)
    for value in asked:
        if isinstance(value, str | int | float):
            try:
                return min(MAX_PAUSE, max(1.0, float(value)))
            except (ValueError, OverflowError):
                continue
    return DEFAULT_PAUSE


def detail_of(answer: Answer) -> str:
    """Returns the provider's reason for a refusal, cleaned."""
    body = answer.document
    return clean(str(body.get("detail") or body.get("title") or body.get("message") or f"status {answer.status}"))


def described(answer: Answer, prediction_of: Callable[[Json], Prediction]) -> Prediction:
    """Returns the prediction in an answer; raises ProviderUnavailable if there is none."""
    if not answer.is_success:
        raise ProviderUnavailable(f"status {answer.status}")
    try:
        return prediction_of(answer.document)
    except ValueError:
        raise ProviderUnavailable("no prediction in the answer") from None


def accepted(document: Mapping[str, Json], prediction_of: Callable[[Json], Prediction]) -> Accepted:
    """Returns the prediction that a successful answer to a create names; its id alone is enough.

    Raises ValueError if there is none.
    """
    try:
        return Accepted(prediction_of(document))
    except ValueError:
        return Accepted(Prediction(id_of(document), "running"))


def is_unread(status: PredictionStatus, output: Json) -> bool:
    """Whether a prediction is complete, and its output is one that cannot be read."""
    return status == "completed" and output is UNREAD


def fields_of(document: Json) -> dict[str, Json]:
    """Returns the members of a document that describes a prediction; raises ValueError unless it is a JSON object."""
    if not isinstance(document, dict):
        raise ValueError("not a prediction")
    return document


def id_of(body: Mapping[str, Json]) -> str:
    """Returns the id of the prediction that a document describes; raises ValueError if there is none."""
    prediction_id = body.get("id")
    if not isinstance(prediction_id, str) or not PREDICTION_ID.fullmatch(prediction_id):
        raise ValueError("not a prediction's id")
    return prediction_id


def identify(
    body: Mapping[str, Json], statuses: Mapping[str, PredictionStatus], provider: str
) -> tuple[str, PredictionStatus]:
    """Returns the id and status of the prediction that a document describes; raises ValueError if there is none.

    An undocumented status counts as running, because it is not a known end. One that cannot be read is "unreadable".
    """
    word = body.get("status")
    if not isinstance(word, str):
        raise ValueError("not a prediction")
    prediction_id = id_of(body)
    status = "unreadable" if word is UNREAD else statuses.get(word)
    if status is None:
        log.warning("provider_status_unknown", provider=provider, prediction=prediction_id)
    return prediction_id, status or "running"


def numbers_in(reported: Json) -> dict[str, float]:
    """Returns the numbers of a provider's metrics by name; without those that no cost can be counted by."""
    named = reported.items() if isinstance(reported, dict) else ()
    return {
        name: float(value)
        for name, value in named
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_METRIC
    }


def run_time(reported: Json, per_second: int = 1) -> float | None:
    """Returns a reported duration in s; None for a value that cannot be one."""
    # Compared before the division: an integer may be too large for a float.
    if isinstance(reported, int | float) and 0 <= reported < MAX_RUN * per_second:
        return reported / per_second
    return None
