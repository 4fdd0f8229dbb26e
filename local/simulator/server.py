"""The application: Replicate's API under `/v1`, the output files, WaveSpeed's API and the admin routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from local.simulator import admin, listing, wavespeed
from local.simulator.creation import create, origin_of
from local.simulator.order import CreateBody, Target, cancel_after_of, complaint, target_of
from local.simulator.prediction import Prediction
from local.simulator.refusals import Refusal, answer, invalid, unauthenticated
from local.simulator.simulation import Simulation
from local.simulator.task import Task

_MEDIA_TYPES = {"mp4": "video/mp4", "png": "image/png"}


def build_app(simulation: Simulation) -> FastAPI:
    """Returns the application of one simulation, which it closes when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await simulation.close()

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(Refusal, answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)

    guarded = _guarded(simulation, Prediction.api)
    app.include_router(_creation(simulation), prefix="/v1", dependencies=guarded)
    app.include_router(_reading(simulation), prefix="/v1", dependencies=guarded)
    app.include_router(admin.routes(simulation), prefix="/-", dependencies=guarded)
    guarded = _guarded(simulation, Task.api)
    app.include_router(wavespeed.routes(simulation), prefix=wavespeed.PREFIX, dependencies=guarded)
    app.include_router(_files(simulation))
    return app


def _guarded(simulation: Simulation, api: str) -> list[params.Depends]:
    """Returns the dependency that refuses requests without the API's token."""
    expected = f"Bearer {simulation.accounts[api].token}".encode()

    def authenticate(request: Request) -> None:
        if not compare_digest(request.headers.get("authorization", "").encode(), expected):
            raise unauthenticated()

    return [Depends(authenticate)]


async def _answer_invalid(request: Request, wrong: Exception) -> Response:
    errors = wrong.errors() if isinstance(wrong, RequestValidationError) else []
    return await answer(request, invalid(complaint(errors, "request")))


async def _create(
    simulation: Simulation, request: Request, body: CreateBody, target: Target, cancel_after: str | None
) -> Response:
    made = await create(simulation, request, Prediction, body, target, cancel_after_of(cancel_after))
    return JSONResponse(made.shown(simulation.clock.now()), 201) if made else Response()


_CancelAfter = Annotated[str | None, Header(alias="Cancel-After")]


def _creation(simulation: Simulation) -> APIRouter:
    router = APIRouter()
    order = partial(_create, simulation)

    @router.post("/predictions")
    async def by_version(request: Request, body: CreateBody, cancel_after: _CancelAfter = None) -> Response:
        return await order(request, body, target_of(body.version), cancel_after)

    @router.post("/models/{owner}/{name}/predictions")
    async def by_model(
        request: Request, owner: str, name: str, body: CreateBody, cancel_after: _CancelAfter = None
    ) -> Response:
        return await order(request, body, Target(f"{owner}/{name}", "hidden"), cancel_after)

    @router.post("/deployments/{owner}/{name}/predictions")
    async def by_deployment(
        request: Request, owner: str, name: str, body: CreateBody, cancel_after: _CancelAfter = None
    ) -> Response:
        deployment = f"{owner}/{name}"
        version = sha256(deployment.encode()).hexdigest()
        return await order(request, body, Target(deployment, version, deployment), cancel_after)

    return router


def _reading(simulation: Simulation) -> APIRouter:
    router = APIRouter()

    @router.get("/predictions")
    async def pages(request: Request) -> dict[str, Any]:
        address, query = f"{origin_of(request)}/v1/predictions", dict(request.query_params)
        return listing.page(simulation.newest_first(Prediction.api), address, query, simulation.clock.now())

    @router.get("/predictions/{prediction_id}")
    async def one(prediction_id: str) -> dict[str, Any]:
        return simulation.describe(prediction_id, Prediction.api)

    @router.post("/predictions/{prediction_id}/cancel")
    async def cancel(prediction_id: str) -> dict[str, Any]:
        prediction = simulation.find(prediction_id, Prediction.api)
        simulation.cancel(prediction)
        return prediction.shown(simulation.clock.now())

    @router.get("/webhooks/default/secret")
    async def secret() -> dict[str, str]:
        return {"key": simulation.accounts[Prediction.api].webhook_secret}

    return router


def _files(simulation: Simulation) -> APIRouter:
    router = APIRouter()

    @router.api_route("/files/{prediction_id}/{name}", methods=["GET", "HEAD"])
    async def file(prediction_id: str, name: str) -> Response:
        content = await simulation.media(simulation.find(prediction_id), name)
        return Response(content, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])

    return router
