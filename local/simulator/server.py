"""The routes of the API under `/v1`, and the output files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from local.simulator import admin, listing
from local.simulator.connection import cut, hang
from local.simulator.order import CreateBody, Target, cancel_after_of, check_webhook, complaint, target_of
from local.simulator.prediction import Prediction
from local.simulator.refusals import Refusal, answer, chosen, invalid, unauthenticated
from local.simulator.simulation import Simulation

_MEDIA_TYPES = {"mp4": "video/mp4", "png": "image/png"}


def build_app(simulation: Simulation) -> FastAPI:
    """Returns the application of one simulated account; it closes the simulation when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await simulation.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(Refusal, answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)

    def authenticate(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not compare_digest(given.encode(), f"Bearer {simulation.token}".encode()):
            raise unauthenticated()

    guarded = [Depends(authenticate)]
    app.include_router(_creation(simulation), prefix="/v1", dependencies=guarded)
    app.include_router(_reading(simulation), prefix="/v1", dependencies=guarded)
    app.include_router(admin.routes(simulation), prefix="/-", dependencies=guarded)
    app.include_router(_files(simulation))
    return app


async def _answer_invalid(request: Request, wrong: Exception) -> Response:
    errors = wrong.errors() if isinstance(wrong, RequestValidationError) else []
    return await answer(request, invalid(complaint(errors, "request")))


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


async def _create(
    simulation: Simulation, request: Request, body: CreateBody, target: Target, cancel_after: str | None
) -> Response:
    deadline = cancel_after_of(cancel_after)
    check_webhook(body.webhook)
    simulation.throttle()
    behaviour = simulation.choose(body, target)
    prediction: Prediction | None = None
    if behaviour.applies:
        prediction = await simulation.create(body, target, behaviour, deadline, _origin(request))
    if behaviour.hangs:
        await hang(request)
    if behaviour.hangs or behaviour.drops:
        cut(request)
        return Response()
    if prediction is None:
        raise chosen(behaviour.create, behaviour.retry_after)
    return JSONResponse(prediction.shown(simulation.clock.now()), 201)


_CancelAfter = Annotated[str | None, Header(alias="Cancel-After")]


def _creation(simulation: Simulation) -> APIRouter:
    router = APIRouter()
    create = partial(_create, simulation)

    @router.post("/predictions")
    async def by_version(request: Request, body: CreateBody, cancel_after: _CancelAfter = None) -> Response:
        return await create(request, body, target_of(body.version), cancel_after)

    @router.post("/models/{owner}/{name}/predictions")
    async def by_model(
        request: Request, owner: str, name: str, body: CreateBody, cancel_after: _CancelAfter = None
    ) -> Response:
        return await create(request, body, Target(f"{owner}/{name}", "hidden"), cancel_after)

    @router.post("/deployments/{owner}/{name}/predictions")
    async def by_deployment(
        request: Request, owner: str, name: str, body: CreateBody, cancel_after: _CancelAfter = None
    ) -> Response:
        deployment = f"{owner}/{name}"
        version = sha256(deployment.encode()).hexdigest()
        return await create(request, body, Target(deployment, version, deployment), cancel_after)

    return router


def _reading(simulation: Simulation) -> APIRouter:
    router = APIRouter()

    @router.get("/predictions")
    async def pages(request: Request) -> dict[str, Any]:
        address, query = f"{_origin(request)}/v1/predictions", dict(request.query_params)
        return listing.page(simulation.newest_first(), address, query, simulation.clock.now())

    @router.get("/predictions/{prediction_id}")
    async def one(prediction_id: str) -> dict[str, Any]:
        return simulation.find(prediction_id).shown(simulation.clock.now())

    @router.post("/predictions/{prediction_id}/cancel")
    async def cancel(prediction_id: str) -> dict[str, Any]:
        prediction = simulation.find(prediction_id)
        simulation.cancel(prediction)
        return prediction.shown(simulation.clock.now())

    @router.get("/webhooks/default/secret")
    async def secret() -> dict[str, str]:
        return {"key": simulation.webhook_secret}

    return router


def _files(simulation: Simulation) -> APIRouter:
    router = APIRouter()

    @router.api_route("/files/{prediction_id}/{name}", methods=["GET", "HEAD"])
    async def file(prediction_id: str, name: str) -> Response:
        content = await simulation.media(simulation.find(prediction_id), name)
        return Response(content, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])

    return router
