"""The routes under `/-/`, by which a test sees and steers more than the real API allows."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from local.simulator.behaviour import Behaviour, StandingBehaviour
from local.simulator.census import Census
from local.simulator.clock import iso
from local.simulator.prediction import Prediction
from local.simulator.simulation import Simulation


class Default(Behaviour):
    """The behaviour of the next `creates` create calls, or of all until it is cleared."""

    creates: int | None = Field(default=None, ge=1)


class Advance(BaseModel):
    """How far to move the clock."""

    seconds: float = Field(ge=0)


def routes(simulation: Simulation) -> APIRouter:
    """Returns the router; the application guards it with the API's token."""
    router = APIRouter()

    @router.post("/behaviour", status_code=204)
    async def behave(default: Default) -> None:
        fields = default.model_dump(exclude_unset=True, exclude={"creates"})
        simulation.standing = StandingBehaviour(fields, default.creates)

    @router.delete("/behaviour", status_code=204)
    async def clear() -> None:
        simulation.standing = None

    @router.get("/predictions")
    async def predictions() -> list[dict[str, Any]]:
        return [_everything(each, simulation.clock.now()) for each in simulation.newest_first()]

    @router.get("/census")
    async def census() -> Census:
        return simulation.census()

    @router.post("/advance", status_code=204)
    async def advance(by: Advance) -> None:
        simulation.clock.advance(by.seconds)

    @router.post("/reset", status_code=204)
    async def reset() -> None:
        await simulation.reset()

    return router


def _everything(prediction: Prediction, now: float) -> dict[str, Any]:
    """Returns the API's object, and the fields that the API does not show."""
    return {
        **prediction.shown(now),
        "api": prediction.api,
        "prompt": prediction.prompt,
        "webhook": prediction.webhook,
        "webhook_events_filter": sorted(prediction.events),
        "behaviour": prediction.behaviour.model_dump(),
        "deliveries": [{**each._asdict(), "at": iso(each.at)} for each in prediction.deliveries],
    }
