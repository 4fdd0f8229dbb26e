"""The routes of WaveSpeed's API under `/api/v3`: submit, result and the webhooks' secret.

There is no list and no cancel. An answer is an envelope `{"code", "message", "data"}`. The webhook's URL is the query
parameter `webhook`. The body of a create is the input, with `simulate` in it.
"""

import re
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from local.simulator.creation import create
from local.simulator.order import CreateBody, Target
from local.simulator.refusals import ENVELOPED, not_found
from local.simulator.simulation import Simulation
from local.simulator.task import Task

PREFIX = ENVELOPED

_MODEL = re.compile(r"(?!predictions/|webhook/)[\w.-]+(?:/[\w.-]+)+")


def routes(simulation: Simulation) -> APIRouter:
    """Returns the router; the application guards it with WaveSpeed's key."""
    router = APIRouter()

    @router.get("/predictions/{task_id}/result")
    async def result(task_id: str) -> Response:
        return _enveloped(simulation.describe(task_id, Task.api))

    @router.get("/webhook/secret")
    async def secret() -> Response:
        return _enveloped({"secret": simulation.accounts[Task.api].webhook_secret})

    @router.post("/{model:path}")
    async def submit(request: Request, model: str, given: dict[str, Any], webhook: str | None = None) -> Response:
        if not _MODEL.fullmatch(model):
            raise not_found()
        body = CreateBody(input=given, webhook=webhook, webhook_events_filter=["completed"])
        made = await create(simulation, request, Task, body, Target(model, "hidden"), None)
        return _enveloped(made.shown(simulation.clock.now())) if made else Response()

    return router


def _enveloped(data: dict[str, Any]) -> Response:
    return JSONResponse({"code": 200, "message": "success", "data": data})
