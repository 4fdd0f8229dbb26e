"""What an error text of the store means: which limit of the database was met, or that a script failed.

The HTTP status of these answers is not documented (only 200, 400, 401 and 405 are), so the text decides. Sources of
the texts: Upstash's troubleshooting pages, its REST API page, and answers quoted in public issues.
"""

import re

from shared.errors import StoreError, StoreRefused, StoreScriptError, StoreUncertain
from shared.frozen import dataclass

IN_SCRIPT = "error running script"  # in front of the text of a command inside a script
ANSWER_TOO_LARGE = "max request size exceeded"  # said of answers too, after the command was applied


class StoreInterrupted(StoreUncertain):
    """Maybe applied, in part: the store refused a command inside a script. It would refuse a repeat, too."""

    def __init__(self, reason: str, *, retry_after: int = 60) -> None:
        detail = f"The store refuses requests: {reason}. A part of this one may have been applied."
        super().__init__(detail, retry_after=retry_after)


@dataclass(frozen=True)
class Refusal:
    """A limit of the database. ``name`` is for the operator's log, see docs/operating.md; ``retry_after`` in s."""

    name: str
    mark: re.Pattern[str]
    reason: str
    retry_after: int = 60


def _limit(name: str, text: str, reason: str, retry_after: int = 60) -> Refusal:
    return Refusal(name, re.compile(re.escape(text), re.IGNORECASE), reason, retry_after)


def _code(name: str, code: str, reason: str, retry_after: int = 60) -> Refusal:
    """A refusal with an error code of Redis, which is a word in capitals."""
    return Refusal(name, re.compile(rf"\b{code}\b"), reason, retry_after)


REFUSALS = (
    _limit("request_quota", "max requests limit exceeded", "its monthly request quota is used up"),
    _limit("daily_request_quota", "max daily request limit exceeded", "its daily request quota is used up"),
    _limit("bandwidth_quota", "bandwidth limit exceeded", "its bandwidth quota is used up"),
    _limit("storage_full", "capacity quota exceeded", "it is full"),
    _code("storage_full", "OOM", "it is full"),
    _limit("record_size", "max single record size exceeded", "a value is larger than it takes"),
    _limit("key_size", "max key size exceeded", "a key is larger than it takes"),
    _limit("request_size", ANSWER_TOO_LARGE, "a request or its answer is larger than it takes"),
    _limit("connections", "max concurrent connections", "it has too many connections", 5),
    _code("token", "WRONGPASS", "the token is wrong"),
    _limit("token", "unauthorized", "the token is wrong"),
    _code("token_rights", "NOPERM", "the token may only read"),
    _code("read_only", "READONLY", "it is read-only", 10),
    _code("starting", "LOADING", "it is starting", 5),
)

# Those that concern every write, and last until the operator or the plan changes something.
OF_ALL_WRITES = (
    "request_quota",
    "daily_request_quota",
    "bandwidth_quota",
    "storage_full",
    "token",
    "token_rights",
    "read_only",
)


def classify(text: str, *, is_trouble: bool = False) -> StoreError:
    """Returns the error that an answer's text means. ``is_trouble``: its status was 429 or 5xx."""
    lower = text.lower()
    is_in_script = IN_SCRIPT in lower
    for refusal in REFUSALS:
        if refusal.mark.search(text):
            is_partial = is_in_script or ANSWER_TOO_LARGE in lower  # mutant: partly applied
            kind = StoreInterrupted if is_partial else StoreRefused
            error = kind(refusal.reason, retry_after=refusal.retry_after)
            error.refusal = refusal.name
            return error
    if is_trouble and not is_in_script:  # mutant: trouble
        return StoreUncertain().because("the store answered with an error status")
    return StoreScriptError(text)
