"""The guilty parties: they earn penalties all the time, next to the innocent users.

    locked-out        submits a model that the account may not run: the provider answers 403 or 402
    failing           submits runs that fail, of the model that all others use
    flood0, flood1    fill the queue with batches, through a second API key

Their jobs are judged like all others. When all is calm, they cancel what is left.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.soak.client import PAUSE, Desk, Observed, uncertain
from tests.soak.deployment import FLOOD_KEY, GUILTY_USERS
from tests.soak.modes import FAILING, FLOODING, LOCKED, Mode
from tests.soak.workload import MODEL, Work

LOCKED_MODEL = "acme/locked"
BATCH = 100  # jobs
# s between two submits that were accepted, and after one that was not: the flood is to fill the queue, not the cores
SUBMITS_EVERY, BATCHES_EVERY, REFUSED_FOR = 0.5, 0.2, 2.0
RUN = 1.5  # s of a run of the flood, so that it holds slots for long and costs little


class Guilty:
    """All guilty parties. ``run`` lasts until ``is_over`` is set; then ``clean_up`` ends their jobs."""

    def __init__(self, seed: int, desk: Desk) -> None:
        self.observed: list[Observed] = []
        self.is_over = False
        self._seed = seed
        self._desk = desk
        self._numbers = itertools.count()
        self._chance = random.Random(f"{seed}/guilty")
        self._singles: list[Observed] = []
        self._batches: dict[str, list[Observed]] = {}

    async def run(self) -> None:
        """Submits until ``is_over`` is set."""
        locked, failing, *flooding = GUILTY_USERS
        parties: list[tuple[Callable[[str], Awaitable[bool]], str, float]] = [
            (self._submit_locked, locked, SUBMITS_EVERY),
            (self._submit_failing, failing, SUBMITS_EVERY),
            *((self._submit_batch, user, BATCHES_EVERY) for user in flooding),
        ]
        await asyncio.gather(*(self._for_ever(*party) for party in parties))

    async def clean_up(self) -> None:
        """Cancels what is left. First it repeats each submit whose answer was lost, so that none appears later."""
        for each in self._singles:
            if not each.is_acknowledged and each.uncertain:
                await self._post_single(each)
            await self._cancel(f"/api/jobs/{each.work.job_id}/cancel", {}, [each])
        for key, batch in self._batches.items():
            if not batch[0].is_acknowledged and batch[0].uncertain:
                await self._post_batch(batch)
            batch_id = batch[0].work.job_id.rpartition("_")[0]
            await self._cancel(f"/api/batches/{batch_id}/cancel", _studio(key), batch)

    async def _for_ever(self, submit: Callable[[str], Awaitable[bool]], user: str, every: float) -> None:
        while not self.is_over:
            await asyncio.sleep(every if await submit(user) else REFUSED_FOR)

    async def _submit_locked(self, user: str) -> bool:
        create = self._chance.choice(("403", "402"))
        return await self._submit(user, LOCKED, LOCKED_MODEL, {"create": create})

    async def _submit_failing(self, user: str) -> bool:
        return await self._submit(user, FAILING, MODEL, {"seconds": 0.1})

    async def _submit(self, user: str, mode: Mode, model: str, simulate: dict[str, Any]) -> bool:
        (observed,) = self._wish(user, mode, model, simulate, 1)
        self._singles.append(observed)
        return await self._post_single(observed)

    async def _submit_batch(self, user: str) -> bool:
        batch = self._wish(user, FLOODING, MODEL, {"seconds": RUN}, BATCH)
        is_accepted = await self._post_batch(batch)
        if is_accepted or batch[0].uncertain:
            self._batches[batch[0].work.key] = batch
            self.observed += batch
        return is_accepted

    def _wish(self, user: str, mode: Mode, model: str, simulate: dict[str, Any], size: int) -> list[Observed]:
        """Returns the jobs of one submit or batch, before it is sent."""
        number = next(self._numbers)
        key, found = f"guilty-{self._seed}-{number}", []
        for place in range(size):
            prompt = f"guilty work {number} {place} of {self._seed}"
            group = [f"user:{user}", "queue:video"]
            given = {"start_delay": 0.1, "output": "text", "group": group, **mode.simulate, **simulate}
            body = {"model": model, "input": {"prompt": prompt, "simulate": given}, "user_id": user, "queue": "video"}
            work = Work(
                number=number, at=0.0, user=user, queue="video", mode=mode, prompt=prompt, key=key, body=body,
                patience=None, is_doubled=False, gives_up=False, is_watched=False, poll_every=0.0, cancel_after=None,
                is_guilty=True, place=None if size == 1 else place,
            )  # fmt: skip
            found.append(Observed(work))
        return found

    async def _post_single(self, observed: Observed) -> bool:
        if not observed.tries:
            self.observed.append(observed)
        headers = {"Idempotency-Key": observed.work.key}
        answer = await self._desk.call("submit", "POST", "/api/submit", json=observed.work.body, headers=headers)
        return _note(answer, [observed])

    async def _post_batch(self, batch: list[Observed]) -> bool:
        bodies = [each.work.body for each in batch]
        body = {name: bodies[0][name] for name in ("model", "user_id", "queue")}
        body["jobs"] = [{"input": each["input"]} for each in bodies]
        headers = _studio(batch[0].work.key)
        return _note(await self._desk.call("flood", "POST", "/api/batches", json=body, headers=headers), batch)

    async def _cancel(self, path: str, headers: dict[str, str], jobs: list[Observed]) -> None:
        if not jobs[0].is_acknowledged:
            return
        for each in jobs:
            each.asked_to_cancel = True
        while True:
            answer = await self._desk.call("end of the guilty", "POST", path, headers=headers)
            if answer is not None and answer.status_code < 500:
                return
            await asyncio.sleep(PAUSE)


def _studio(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {FLOOD_KEY}", "Idempotency-Key": key}


def _note(answer: httpx.Response | None, jobs: list[Observed]) -> bool:
    """Notes the answer to a submit; returns whether it was accepted."""
    made = "" if answer is None or answer.status_code != 202 else str(answer.json()["id"])
    for each in jobs:
        each.tries += 1
        if made:
            each.ids.add(made if each.work.place is None else f"{made}_{each.work.place}")
        elif uncertain(answer):
            each.uncertain += 1
    return bool(made)
