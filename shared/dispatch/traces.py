"""What the spans of a job's claim, create and end say of it: names, ids and outcomes, and no text of anybody."""

import functools
from collections.abc import Callable, Coroutine
from typing import ParamSpec

from shared import tracing
from shared.jobqueue import Claim, Claimed, Ended
from shared.providers.base import Accepted, Prediction, Rejected, SubmissionOutcome, Throttled

P = ParamSpec("P")


def attributes_of(job: Claimed) -> dict[str, str | int]:
    """Returns what the spans of a claimed job say of it."""
    return {
        "messaging.destination.name": job.queue,
        "gen_ai.request.model": job.model,
        "gen_ai.provider.name": job.provider,
        "sluice.attempt": job.attempt,
    }


def attributes_of_outcome(outcome: SubmissionOutcome) -> dict[str, str | int]:
    """Returns what the span of a create says of its outcome."""
    word: dict[str, str | int] = {"sluice.outcome": type(outcome).__name__.lower()}
    match outcome:
        case Accepted(prediction):
            return {**word, "gen_ai.response.id": prediction.id}
        case Throttled(code, _, status):
            return {**word, "error.type": code, **({"http.response.status_code": status} if status else {})}
        case Rejected(code):
            return {**word, "error.type": code}
    return {**word, "error.type": "unknown"}


def trace_claims(claim: Claim, began_at: int | None) -> None:
    """Makes the span of each claimed job, which began at ``began_at`` (ns) and ends now."""
    for job in claim.started:
        with tracing.step("claim", "consumer", job.id, job.incarnation, attributes_of(job), began_at=began_at):
            pass


def traced_end(apply: Callable[P, Coroutine[object, object, Ended]]) -> Callable[P, Coroutine[object, object, Ended]]:
    """Makes the span in which Reconciler.apply records a run's end. A run that goes on has none."""

    @functools.wraps(apply)
    async def traced(*given: P.args, **named: P.kwargs) -> Ended:
        _, job_id, attempt, provider, prediction = given
        incarnation = named.get("incarnation", "")
        if not isinstance(prediction, Prediction) or prediction.status == "running":
            return await apply(*given, **named)
        about = {"gen_ai.provider.name": str(provider), "gen_ai.response.id": prediction.id}
        with tracing.step("finish", "consumer", str(job_id), str(incarnation), about) as span:
            ended = await apply(*given, **named)
            span.set({"sluice.attempt": str(attempt), "sluice.reported": prediction.status, "sluice.word": ended.word})
        return ended

    return traced
