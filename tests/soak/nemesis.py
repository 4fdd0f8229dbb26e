"""Injects faults into the store, the instances and the provider; a seed chooses when and which."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.soak.deployment import PROVIDER_TOKEN, STORE_TOKEN
from tests.soak.fleet import Fleet, Process

# Faults for a share of all store calls, during the whole run.
STANDING: tuple[dict[str, Any], ...] = (
    {"fault": "apply_then_drop", "probability": 0.05},
    {"fault": "drop_before", "probability": 0.01},
    {"fault": "html_502", "probability": 0.01},
    {"fault": "delay", "probability": 0.02, "seconds": 0.15},
)
# Faults for several store calls in a row.
BURSTS: tuple[dict[str, Any], ...] = (
    {"fault": "apply_then_drop", "times": 12},
    {"fault": "apply_then_hang", "times": 6},
    {"fault": "apply_then_html_502", "times": 12},
    {"fault": "hang", "times": 6},
    {"fault": "quota", "times": 15},
    {"fault": "capacity", "times": 15},
    {"fault": "throttled", "times": 12},
)
# Mean time between two events, in s.
KILLS_EVERY, FREEZES_EVERY, BURSTS_EVERY = 4.0, 9.0, 8.0
DOWN = (0.0, 1.5)  # s that a killed instance stays down
# Storms: for some s the provider answers every create with a 5xx, unless the create has its own behaviour.
STORMS_EVERY, STORM, STORM_ANSWERS = 15.0, (2.0, 4.0), ("500", "503")
# s that an instance is frozen; less than a lease, since a platform ends a function that is frozen for longer
FROZEN = (0.3, 2.5)
ADMIN_TIMEOUT = 30.0  # s; the simulated servers answer slowly while more processes than cores compute


class Nemesis:
    """Breaks things until ``heal`` is called, which repairs them."""

    def __init__(self, seed: int, fleet: Fleet) -> None:
        assert fleet.provider is not None
        self.kills = 0
        self.freezes = 0
        self.storms = 0
        self.store_faults: Counter[str] = Counter()
        self.failures: list[str] = []  # faults that it could not inject, and restarts that failed
        self._seed = seed
        self._fleet = fleet
        self._hands: list[asyncio.Task[None]] = []
        self._busy: set[Process] = set()
        self._admin = _admin(fleet.store.port, STORE_TOKEN)
        self._provider = _admin(fleet.provider.port, PROVIDER_TOKEN)

    async def start(self) -> None:
        """Starts to break things."""
        for number, order in enumerate(STANDING):
            await self._inject({**order, "times": -1, "seed": self._seed + number})
        self._hands = [
            asyncio.create_task(self._now_and_then(KILLS_EVERY, self._kill)),
            asyncio.create_task(self._now_and_then(FREEZES_EVERY, self._freeze)),
            asyncio.create_task(self._now_and_then(BURSTS_EVERY, self._burst)),
            asyncio.create_task(self._now_and_then(STORMS_EVERY, self._storm)),
        ]

    async def heal(self) -> None:
        """Ends all faults. Returns when every instance runs."""
        for hand in self._hands:
            hand.cancel()
        await asyncio.gather(*self._hands, return_exceptions=True)
        for order in (await self._admin.get("faults")).json():
            # Spent bursts are no longer listed; what is left of a listed burst has not struck.
            self.store_faults[order["fault"]] += (
                order["fired"] if order["times"] < 0 else order["fired"] - order["times"]
            )
        (await self._admin.delete("faults")).raise_for_status()
        (await self._provider.delete("behaviour")).raise_for_status()
        await asyncio.gather(self._admin.aclose(), self._provider.aclose())
        for instance in self._fleet.instances:
            instance.thaw()
        for instance in self._fleet.instances:
            # An instance that was just being killed or started is in an unknown state: start it again.
            if instance in self._busy or not instance.runs:
                await instance.stop()
                await instance.start()

    async def _now_and_then(self, mean: float, strike: Callable[[random.Random], Awaitable[None]]) -> None:
        chance = random.Random(f"{self._seed}/{strike.__name__}")
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(min(chance.expovariate(1 / mean), 3 * mean))
                struck = asyncio.create_task(self._carefully(strike, chance))
                under_way.add(struck)
                struck.add_done_callback(under_way.discard)
        finally:
            for struck in under_way:
                struck.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _carefully(self, strike: Callable[[random.Random], Awaitable[None]], chance: random.Random) -> None:
        try:
            await strike(chance)
        except (RuntimeError, OSError, httpx.HTTPError) as error:
            self.failures.append(f"the nemesis failed: {error!r}")

    async def _kill(self, chance: random.Random) -> None:
        instance, down = chance.choice(self._fleet.instances), chance.uniform(*DOWN)
        if instance in self._busy:
            return
        self._busy.add(instance)
        self.kills += 1
        await instance.kill()
        await asyncio.sleep(down)
        await instance.start()
        self._busy.discard(instance)

    async def _freeze(self, chance: random.Random) -> None:
        instance, away = chance.choice(self._fleet.instances), chance.uniform(*FROZEN)
        if instance in self._busy:
            return
        self.freezes += 1
        instance.freeze()
        await asyncio.sleep(away)
        instance.thaw()

    async def _burst(self, chance: random.Random) -> None:
        order = chance.choice(BURSTS)
        await self._inject(order)
        self.store_faults[order["fault"]] += order["times"]

    async def _storm(self, chance: random.Random) -> None:
        answer, length = chance.choice(STORM_ANSWERS), chance.uniform(*STORM)
        self.storms += 1
        (await self._provider.post("behaviour", json={"create": answer})).raise_for_status()
        await asyncio.sleep(length)
        (await self._provider.delete("behaviour")).raise_for_status()

    async def _inject(self, order: dict[str, Any]) -> None:
        (await self._admin.post("faults", json=order)).raise_for_status()


def _admin(port: int, token: str) -> httpx.AsyncClient:
    """Returns a client of a server's admin routes. It keeps no connection, which the server may close meanwhile."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}/-/",
        headers={"Authorization": f"Bearer {token}"},
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=ADMIN_TIMEOUT,
        trust_env=False,
    )
