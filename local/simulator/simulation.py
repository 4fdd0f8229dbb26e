"""The provider's side of every prediction: admits and counts creates, and keeps the predictions."""

import asyncio
import math
from collections import Counter, defaultdict, deque
from functools import partial
from typing import Any, NamedTuple

from local.simulator.behaviour import Behaviour, StandingBehaviour
from local.simulator.census import Census, take_census
from local.simulator.clock import Clock
from local.simulator.media import Gallery
from local.simulator.order import CreateBody, Target, behaviour_of
from local.simulator.prediction import Prediction
from local.simulator.refusals import not_found, throttled
from local.simulator.task import Task
from local.simulator.webhooks import Courier, signature, signature_v3

CREATES_A_MINUTE = 600
"""Replicate's rate limits page; other endpoints allow 3000, which is not simulated."""


class Account(NamedTuple):
    """The secrets that one of the simulated APIs shares with its user."""

    token: str
    webhook_secret: str


class Simulation:
    """Holds all predictions of one user at both APIs; all of it runs on one event loop, so it needs no lock."""

    def __init__(self, replicate: Account, wavespeed: Account, rate_limit: int = CREATES_A_MINUTE) -> None:
        self.accounts = {Prediction.api: replicate, Task.api: wavespeed}
        self.clock = Clock()
        self.gallery = Gallery()
        self.standing: StandingBehaviour | None = None
        self._rate_limit = rate_limit
        self._couriers = {
            Prediction.api: Courier(self.clock, partial(signature, replicate.webhook_secret)),
            Task.api: Courier(self.clock, partial(signature_v3, wavespeed.webhook_secret)),
        }
        self._following: set[asyncio.Task[None]] = set()
        self._forget()

    def _forget(self) -> None:
        self._predictions: dict[str, Prediction] = {}
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._calls: Counter[tuple[str, str]] = Counter()
        self._made: Counter[tuple[str, str]] = Counter()
        self._asked = 0

    def throttle(self, api: str) -> None:
        """Refuses a create call beyond the API's limit of the last minute; a limit of 0 refuses none."""
        now, recent = self.clock.now(), self._recent[api]
        while recent and recent[0] <= now - 60:
            recent.popleft()
        if self._rate_limit and len(recent) >= self._rate_limit:
            raise throttled(math.ceil(recent[0] + 60 - now))
        recent.append(now)

    def choose(self, body: CreateBody, target: Target) -> Behaviour:
        """Counts a create call and returns its behaviour."""
        behaviour = behaviour_of(self.standing.take() if self.standing else {}, body.input)
        work = (target.model, body.prompt)
        self._calls[work] += 1
        if behaviour.create_times is not None and self._calls[work] > behaviour.create_times:
            return behaviour.model_copy(update={"create": "accept"})
        return behaviour

    async def create(
        self,
        kind: type[Prediction],
        body: CreateBody,
        target: Target,
        behaviour: Behaviour,
        cancel_after: float | None,
        origin: str,
    ) -> Prediction:
        """Makes a prediction and starts its webhooks; one that is to overtake is answered before this returns."""
        work = (target.model, body.prompt)
        prediction = kind(
            serial=len(self._predictions),
            origin=origin,
            model=target.model,
            version=target.version,
            deployment=target.deployment,
            prompt=body.prompt,
            input=body.input,
            webhook=body.webhook,
            events=body.events,
            behaviour=behaviour,
            fails=behaviour.outcome == "fail" or self._made[work] < behaviour.fail_times,
            # Rounded as in the answers, so that created_after with an answer's time finds it.
            created_at=round(self.clock.now(), 6),
            cancel_after=cancel_after,
        )
        self._made[work] += 1
        self._predictions[prediction.id] = prediction
        following = asyncio.create_task(self._couriers[kind.api].follow(prediction))
        self._following.add(following)
        following.add_done_callback(self._following.discard)
        # Also if no webhook was sent, or a reset came first: a create call must not wait for ever.
        following.add_done_callback(lambda _: prediction.is_announced.set())
        if behaviour.webhook == "overtake":
            await prediction.is_announced.wait()
        return prediction

    def find(self, prediction_id: str, api: str | None = None) -> Prediction:
        """Returns a prediction of that API by id; raises the 404."""
        found = self._predictions.get(prediction_id)
        if found is None or api not in (None, found.api):
            raise not_found()
        return found

    def describe(self, prediction_id: str, api: str) -> dict[str, Any]:
        """Counts a question about a prediction and returns the API's answer; raises the 404."""
        self._asked += 1
        return self.find(prediction_id, api).shown(self.clock.now())

    def cancel(self, prediction: Prediction) -> None:
        """Ends a prediction now, unless it has ended."""
        now = self.clock.now()
        if not prediction.is_over(now):
            prediction.canceled_at = now
            self.clock.nudge()

    def newest_first(self, api: str | None = None) -> list[Prediction]:
        """Returns every prediction, or every one of that API, newest first."""
        return [each for each in reversed(self._predictions.values()) if api in (None, each.api)]

    async def media(self, prediction: Prediction, name: str) -> bytes:
        """Renders an output file; raises the 404 before success, after removal, or for an unknown name."""
        now = self.clock.now()
        if prediction.status(now) != "succeeded" or prediction.is_removed(now) or name not in prediction.files():
            raise not_found()
        index = prediction.files().index(name)
        caption = prediction.prompt if index == 0 else f"{prediction.prompt} #{index + 1}"
        return await self.gallery.render(name.rpartition(".")[2], caption)

    def census(self) -> Census:
        """Returns the counts and maxima since the last reset."""
        return take_census(self._predictions.values(), self._calls, self._made, self._asked, self.clock.now())

    async def reset(self) -> None:
        """Deletes every prediction, count and default, stops their webhooks, and returns to real time."""
        await self._stop_following()
        self.standing = None
        self._forget()
        self.clock.rewind()

    async def close(self) -> None:
        """Stops every webhook and closes the connections."""
        await self._stop_following()
        for courier in self._couriers.values():
            await courier.close()

    async def _stop_following(self) -> None:
        following = list(self._following)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
