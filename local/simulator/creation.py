"""Handles a create call, of either API."""

from fastapi import Request

from local.simulator.connection import cut, hang
from local.simulator.order import CreateBody, Target, check_webhook
from local.simulator.prediction import Prediction
from local.simulator.refusals import chosen
from local.simulator.simulation import Simulation


async def create(
    simulation: Simulation,
    request: Request,
    kind: type[Prediction],
    body: CreateBody,
    target: Target,
    cancel_after: float | None,
) -> Prediction | None:
    """Returns the prediction to answer with, or None if the connection was cut; raises the Refusal that is chosen."""
    check_webhook(body.webhook)
    simulation.throttle(kind.api)
    behaviour = simulation.choose(body, target)
    prediction: Prediction | None = None
    if behaviour.applies:
        prediction = await simulation.create(kind, body, target, behaviour, cancel_after, origin_of(request))
    if behaviour.hangs:
        await hang(request)
    if behaviour.hangs or behaviour.drops:
        cut(request)
        return None
    if prediction is None:
        raise chosen(behaviour.create, behaviour.retry_after)
    return prediction


def origin_of(request: Request) -> str:
    """Returns the address at which the caller reached the simulator."""
    return str(request.base_url).rstrip("/")
