"""POST /api/webhook/{provider}: the provider reports that a prediction has ended."""

import functools
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.access.caller import Role
from shared.application import create_app, create_handler
from shared.config.providers import NUMBERS
from shared.config.settings import Settings
from shared.documents.answers import AppliedWebhook, WebhookWord
from shared.errors import InvalidRequest, Unauthenticated
from shared.log import log
from shared.providers.base import Prediction
from shared.requests.reading import read_body
from shared.requests.router import Router
from shared.runtime import Runtime
from shared.signing.derived import nonce_is_valid
from shared.warming import Needs

MAX_BODY = 10 * 1024 * 1024

router = Router()


@router.post("/api/webhook/{provider}")
async def webhook(request: Request, provider: str) -> JSONResponse:
    """200 once the end is recorded, or for an unknown job; 401 unless the provider sent it for this attempt."""
    async with runtime.call(request, Role.PROVIDER) as call:
        sluice = call.runtime
        # Before the body: a stranger, who has no nonce, makes this function hold no byte of it.
        job_id, attempt, incarnation = _addressee(request, provider, sluice.settings)
        body = await _signed_body(request, provider, sluice)
        prediction = _prediction(body, provider, sluice)
        want = functools.partial(sluice.dispatcher.want, call.budget)
        ended = await sluice.reconciler.apply(job_id, attempt, provider, prediction, incarnation=incarnation, want=want)
        sluice.statuses.forget(job_id, ended=ended.is_over)
        if not ended.is_known:
            log.error(
                "webhook_for_unknown_job", job=job_id, attempt=attempt, provider=provider, prediction=prediction.id
            )
        # At the same time, the scope stores this job's files and notifies its owner: neither waits for the other.
        await sluice.dispatcher.follow(ended, call.budget, provider=provider, job_id=job_id)
    # The replies of finish and fail, and that of a run that goes on.
    answer: AppliedWebhook = {"result": cast(WebhookWord, ended.word)}
    return JSONResponse(answer)


async def _signed_body(request: Request, provider: str, sluice: Runtime) -> bytes:
    now, sender = sluice.clock.now(), sluice.providers[provider]
    sender.read_headers(request.headers, now)
    body = await read_body(request, MAX_BODY)
    try:
        sender.verify(request.headers, body, now)
    except Unauthenticated:
        await sluice.webhook_alarm.ring(provider)  # its nonce was right
        raise
    await sluice.webhook_alarm.end(provider)
    return body


def _prediction(body: bytes, provider: str, sluice: Runtime) -> Prediction:
    try:
        return sluice.providers[provider].read_webhook(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not a prediction.", http_status=400) from None


def _addressee(request: Request, provider: str, settings: Settings) -> tuple[str, int, str]:
    """Returns the job, attempt and incarnation in the query; the nonce proves them, as the provider's signature cannot.

    It costs no read of the store: the script that records the end compares the incarnation with the job's.
    """
    if provider not in NUMBERS:
        raise Unauthenticated("There is no such provider.")
    job_id = request.query_params.get("job", "")
    attempt = request.query_params.get("attempt", "")
    incarnation = request.query_params.get("incarnation", "")
    given = request.query_params.get("nonce", "")
    if not (attempt.isascii() and attempt.isdigit() and len(attempt) <= 9):
        raise Unauthenticated("The webhook names no attempt.")
    # mutant: nonce
    if not nonce_is_valid(given, settings.signing_key, provider, job_id, int(attempt), incarnation):
        raise Unauthenticated("The webhook does not belong to this attempt.")
    return job_id, int(attempt), incarnation


NEEDS = Needs(("statuses",), ("finish", "claim", "record"), calls_providers=True)
app = create_app(router)
handler = create_handler(app, NEEDS)
