"""One run: starts all processes, submits jobs, breaks things, heals them and gathers the evidence."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.simulator.running import new_webhook_secret
from tests.soak.client import TIMEOUT, Desk, Observed, Pursuit
from tests.soak.deployment import OPERATOR_TOKEN, PROCESSOR_TOKEN, TIMES, environment, settle_seconds
from tests.soak.door import Door
from tests.soak.evidence import Evidence, Provider, Store, gather
from tests.soak.fleet import Fleet
from tests.soak.guilty import Guilty
from tests.soak.nemesis import Nemesis
from tests.soak.pollers import Crowd
from tests.soak.sightings import Sighting
from tests.soak.workload import Work, workload

PROVIDER_LATENCY = (0.01, 0.1)  # s for each message, each way; long enough for a kill to interrupt a call
TICKERS = 3
DOCTOR_EVERY = 10.0  # s
PROGRESS_EVERY = 15.0  # s
STATISTICS_EVERY = 0.5  # s
# The submission under way when all is healed may be lost, and two more that the workload itself loses: workload.py's
# twins share their create calls.
MAX_LOST = 3


@dataclass(frozen=True)
class Options:
    """How long jobs are submitted, how many a second, from which seed, to how many instances; and where those log.

    ``has_guilty``: whether the guilty parties are there too. ``pollers``: how many clients watch the users' jobs too.
    """

    seconds: float
    seed: int
    jobs_per_second: float
    instances: int
    logs: Path
    has_guilty: bool = True
    pollers: int = 0


@dataclass
class Run:
    """The outcome of a run."""

    options: Options
    observed: list[Observed]
    evidence: Evidence
    nemesis: Nemesis
    answers: Counter[str]
    surprises: Counter[str]
    reasons: Counter[str]
    elapsed: float
    settled_after: float | None  # s from the end of all faults until no job was live; None: took too long
    settle_limit: float
    sightings: list[Sighting]
    healed_at: float  # s of the monotonic clock


class Soak:
    """The parts of a run while it lasts."""

    def __init__(self, options: Options, fleet: Fleet, desk: Desk, crowd: Crowd) -> None:
        self.pursuits: list[Pursuit] = []
        self.is_calm = False
        self._options = options
        self._fleet = fleet
        self._desk = desk
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []
        self._guilty = Guilty(options.seed, desk)
        self._crowd = crowd

    async def run(self) -> Run:
        """Submits and breaks for ``seconds``, heals, and waits until every job is over."""
        assert self._fleet.provider is not None
        self._desk.on_accepted = self._show
        nemesis = Nemesis(self._options.seed, self._fleet)
        await nemesis.start()
        self._others = [asyncio.create_task(self._tick_for_ever(number)) for number in range(TICKERS)]
        self._others.append(asyncio.create_task(self._report_for_ever(nemesis)))
        self._others.append(asyncio.create_task(self._heal_for_ever()))
        self._others.append(asyncio.create_task(self._read_statistics_for_ever()))
        if self._options.has_guilty:
            self._tasks.append(asyncio.create_task(self._be_guilty()))
        await self._submit_everything()
        await nemesis.heal()
        healed_at = time.monotonic()
        self._tasks.append(asyncio.create_task(self._crowd.finish()))
        self.is_calm = self._guilty.is_over = True
        limit = settle_seconds(MAX_LOST)
        store, provider = Store(self._fleet.store.port), Provider(self._fleet.provider.port)
        settled_after = await self._settle(store, limit)
        await self.stop()
        await self._read_unwatched()
        await self._outlast_orphans(provider)
        await self._fleet.stop_instances()  # nothing may change while the evidence is read
        evidence = await gather(store, provider, self._fleet.log_of_instances)
        await asyncio.gather(store.close(), provider.close())
        observed = [*(each.observed for each in self.pursuits), *self._guilty.observed]
        return Run(
            self._options, observed, evidence, nemesis, self._desk.answers, self._desk.surprises, self._desk.reasons,
            time.monotonic() - self._began, settled_after, limit, [*self._desk.sightings, *self._crowd.sightings()],
            healed_at,
        )  # fmt: skip

    async def stop(self) -> None:
        """Ends users and tickers at once."""
        for task in (*self._tasks, *self._others):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._others, return_exceptions=True)

    def _show(self, work: Work) -> None:
        """Names an accepted job to the pollers."""
        self._crowd.name(work.job_id, work.body["metadata"]["work"])

    async def _be_guilty(self) -> None:
        """Lets the guilty parties submit for as long as the innocent ones, and then cancel what is left."""
        await self._guilty.run()
        await self._guilty.clean_up()

    async def _submit_everything(self) -> None:
        o = self._options
        for work in workload(o.seed, o.seconds, o.jobs_per_second):
            await asyncio.sleep(max(0.0, work.at - (time.monotonic() - self._began)))
            pursuit = Pursuit(self._desk, work, lambda: self.is_calm)
            self.pursuits.append(pursuit)
            self._tasks.append(asyncio.create_task(pursuit.run()))
        await asyncio.sleep(max(0.0, o.seconds - (time.monotonic() - self._began)))

    async def _settle(self, store: Store, limit: float) -> float | None:
        """Waits until every user is done and no job is live. Returns how long that took, in s; None after ``limit``."""
        healed = time.monotonic()
        while time.monotonic() - healed < limit:
            await asyncio.sleep(0.25)
            if all(task.done() for task in self._tasks) and not await store.live():
                for task in self._tasks:
                    task.result()  # an exception in a user's task is a bug of the soak, and must surface
                return time.monotonic() - healed
        return None

    async def _read_unwatched(self) -> None:
        """Reads the end of each job that its user has not polled."""
        for pursuit in self.pursuits:
            if pursuit.observed.is_acknowledged and not pursuit.observed.ends:
                _ = await pursuit.poll() or await pursuit.poll()

    async def _outlast_orphans(self, provider: Provider) -> None:
        """Waits until predictions without a job have reached their deadlines."""
        deadline = time.monotonic() + TIMES["CANCEL_AFTER"] + TIMES["PROVIDER_TIMEOUT"]
        while (await provider.census()).running and time.monotonic() < deadline:
            await asyncio.sleep(0.5)

    async def _tick_for_ever(self, number: int) -> None:
        chance = random.Random(f"{self._options.seed}/ticker {number}")
        headers = {"Authorization": f"Bearer {PROCESSOR_TOKEN}"}
        while True:
            await asyncio.sleep(chance.uniform(0.2, 2 * TIMES["TICK_PERIOD"]))
            await self._desk.call("tick", "POST", "/api/process-queue", headers=headers)

    async def _heal_for_ever(self) -> None:
        """Lets the doctor heal. What it finds is a surprise: no kill and no lost answer may leave a fault for long."""
        headers, cursor = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}, None
        while True:
            await asyncio.sleep(DOCTOR_EVERY)
            order = {"fix": True, "only": "queue"} | ({"cursor": cursor} if cursor else {})
            answer = await self._desk.call("doctor", "POST", "/api/operate/doctor", headers=headers, json=order)
            report = answer.json() if answer is not None and answer.status_code == 200 else {"checks": []}
            cursor = report.get("next_cursor")
            for finding in (found for check in report["checks"] for found in check["findings"]):
                said = f"{finding['code']} of {finding['subject']}, {finding['evidence']}"
                self._desk.surprises[f"the doctor found {said}"] += 1

    async def _read_statistics_for_ever(self) -> None:
        """Reads the statistics all the time, so that instances are killed in the middle of a fold."""
        headers = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
        while True:
            await asyncio.sleep(STATISTICS_EVERY)
            await self._desk.call("statistics", "GET", "/api/operate/statistics", headers=headers)

    async def _report_for_ever(self, nemesis: Nemesis) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY)
            over = sum(task.done() for task in self._tasks)
            seconds = time.monotonic() - self._began
            print(
                f"{seconds:6.0f} s  {len(self._tasks)} jobs begun, {over} users done, {nemesis.kills} kills", flush=True
            )


async def soak(options: Options) -> Run:
    """Runs once, from nothing to nothing."""
    async with _grounds(options) as grounds:
        return await grounds.run()


@asynccontextmanager
async def _grounds(options: Options) -> AsyncIterator[Soak]:
    fleet = Fleet(options.logs)
    front, crowd = Door(fleet.ports), Crowd(options.pollers, options.logs)
    provider_door = Door(lambda: [fleet.provider.port] if fleet.provider else [], PROVIDER_LATENCY)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=2)
    try:
        await asyncio.gather(front.open(), provider_door.open())
        secret = new_webhook_secret()
        await fleet.start_servers(secret)
        store_url = f"http://127.0.0.1:{fleet.store.port}"
        variables = environment(store_url, provider_door.url, front.url, secret)
        await fleet.start_instances(options.instances, variables)
        await crowd.start(front.url)
        async with httpx.AsyncClient(base_url=front.url, timeout=TIMEOUT, limits=limits, trust_env=False) as client:
            grounds = Soak(options, fleet, Desk(client), crowd)
            try:
                yield grounds
            finally:
                await grounds.stop()
    finally:
        await crowd.stop()
        await asyncio.gather(front.close(), provider_door.close())
        await fleet.stop()
