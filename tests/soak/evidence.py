"""The evidence in the store and at the provider after a run, read past the functions."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from local.simulator.census import Census
from local.simulator.running import new_webhook_secret
from shared.clock import SystemClock
from shared.config.settings import Settings
from shared.jobqueue.constants import ALARMS, BAND, HISTORY
from shared.jobqueue.keys import RUNS, Keys
from shared.statistics.folding import Folding
from shared.statistics.statistics import Statistics
from shared.store import open_store
from shared.sums import Sums
from tests.soak.deployment import PREFIX, PROVIDER_TOKEN, STORE_TOKEN, TIMES, environment

KEYS = Keys(PREFIX)
LIVE = ["ZCOUNT", KEYS.index, "0", f"({ALARMS * BAND:.0f}"]
ALARMED = ["ZCOUNT", KEYS.index, f"{ALARMS * BAND:.0f}", f"({HISTORY * BAND:.0f}"]
AT_ONCE = 200
PATIENCE = 60.0  # s; an answer has thousands of predictions
OVER = ("succeeded", "failed", "canceled", "aborted")


class Store:
    """Reads the store over its REST API."""

    def __init__(self, port: int) -> None:
        headers = {"Authorization": f"Bearer {STORE_TOKEN}"}
        self.url = f"http://127.0.0.1:{port}"
        self._client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False)

    async def ask(self, *commands: Sequence[str]) -> list[Any]:
        """Returns the commands' results, in order."""
        answer = await self._client.post("/pipeline", json=[list(command) for command in commands])
        return [entry["result"] for entry in answer.raise_for_status().json()]

    async def live(self) -> int:
        """Returns how many jobs are not over. The index has gates below them, alarms and history above."""
        return int((await self.ask(LIVE))[0])

    async def keys(self) -> list[str]:
        """Returns every key of the deployment."""
        found: set[str] = set()
        cursor = "0"
        while True:
            cursor, some = (await self.ask(["SCAN", cursor, "MATCH", f"{PREFIX}:*", "COUNT", "1000"]))[0]
            found.update(some)
            if cursor == "0":
                return sorted(found)

    async def billed(self) -> int:
        """Returns how many commands Upstash would have charged since the start."""
        return int((await self._client.get("/-/bill")).raise_for_status().json()["billed"])

    async def close(self) -> None:
        await self._client.aclose()


class Provider:
    """Reads the simulator over its admin routes."""

    def __init__(self, port: int) -> None:
        headers = {"Authorization": f"Bearer {PROVIDER_TOKEN}"}
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/-", headers=headers, timeout=PATIENCE, trust_env=False
        )

    async def census(self) -> Census:
        """Returns counts and maxima."""
        return Census.model_validate_json((await self._client.get("/census")).raise_for_status().content)

    async def predictions(self) -> list[dict[str, Any]]:
        """Returns every prediction, with its webhook's URL and deliveries."""
        found: list[dict[str, Any]] = (await self._client.get("/predictions")).raise_for_status().json()
        return found

    async def close(self) -> None:
        await self._client.aclose()


@dataclass
class Evidence:
    """All the verdict's evidence, except what the users observed."""

    jobs: dict[str, dict[str, str]]  # hashes by job id
    # Keys without TTL, except the index, the counters, the dead letters, the lost submissions and the models' records.
    lasting: list[str]
    live: int
    alarmed: int
    users: list[str]
    dead: int
    counters: dict[str, int]
    census: Census
    predictions: list[dict[str, Any]]
    commands: int  # billed during the run
    sums: Sums  # the deployment's own statistics
    events: Counter[str] = field(default_factory=Counter)

    def by_attempt(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """Groups the predictions by job and attempt, which their webhooks' URLs name."""
        found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for prediction in self.predictions:
            query = parse_qs(urlsplit(str(prediction["webhook"])).query)
            found[query["job"][0], int(query["attempt"][0])].append(prediction)
        return found


async def gather(store: Store, provider: Provider, log: Path) -> Evidence:
    """Reads all the evidence once, after what the statistics have not summed yet was summed."""
    commands = await store.billed()
    sums = await sums_of(store)
    keys = await store.keys()
    jobs = [key for key in keys if key.startswith(KEYS.jobs)]
    hashes: list[dict[str, str]] = []
    for some in _portions(jobs):
        hashes += [_pairs(flat) for flat in await store.ask(*(["HGETALL", key] for key in some))]
    ttls: dict[str, int] = {}
    for some in _portions(keys):
        ttls |= zip(some, await store.ask(*(["TTL", key] for key in some)), strict=True)
    live, alarmed, dead, counters = await store.ask(LIVE, ALARMED, ["ZCARD", KEYS.dead], ["HGETALL", KEYS.stats])
    kept = {KEYS.index, KEYS.stats, KEYS.dead, KEYS.lost}
    # A user's set holds the tag of the user's last job until a sweep finds it behind all others.
    users = [key for key in keys if key.startswith(KEYS.users)]
    members = await store.ask(*(["ZRANGE", key, "0", "-1"] for key in users)) if users else []
    kept |= {key for key, found in zip(users, members, strict=True) if found == ["~"]}
    return Evidence(
        jobs={key.removeprefix(KEYS.jobs): fields for key, fields in zip(jobs, hashes, strict=True)},
        lasting=[k for k, ttl in ttls.items() if ttl == -1 and k not in kept and not k.startswith(KEYS.root + RUNS)],
        live=live,
        alarmed=alarmed,
        users=[key for key in users if key not in kept],
        dead=dead,
        counters={name: int(value) for name, value in _pairs(counters).items()},
        census=await provider.census(),
        predictions=await provider.predictions(),
        commands=commands,
        sums=sums,
        events=events_in(log.read_text(errors="replace").splitlines()),
    )


async def sums_of(store: Store) -> Sums:
    """Returns the deployment's statistics of all time, as its own code sums and reads them."""
    variables = environment(store.url, "http://127.0.0.1", "http://127.0.0.1", new_webhook_secret())
    # Not the deployment's times: nothing breaks any more, and the machine may be busy.
    values: dict[str, Any] = {name.lower(): value for name, value in variables.items() if name not in TIMES}
    # A test's environment asks for the memory.
    settings = Settings(**values, use_redis_for_tasks=True)
    rest, clock = open_store(settings), SystemClock()
    try:
        folding = Folding(rest, settings, clock)
        return (await Statistics(folding, None, rest, settings, clock).totals()).sums
    finally:
        await rest.close()


def records(evidence: Evidence, job_ids: Iterable[str]) -> dict[str, Any]:
    """Returns all records of these jobs, for a file."""
    by_attempt = evidence.by_attempt()
    return {
        job_id: {
            "fields": evidence.jobs.get(job_id),
            "predictions": [
                {"attempt": attempt, **{name: value for name, value in each.items() if name != "logs"}}
                for (job, attempt), predictions in by_attempt.items()
                for each in predictions
                if job == job_id
            ],
        }
        for job_id in job_ids
    }


def events_in(lines: Iterable[str]) -> Counter[str]:
    """Counts each logged event. A killed instance's last line may be cut."""
    found: Counter[str] = Counter()
    for line in lines:
        if not line.startswith("{"):
            found["not an event"] += bool(line.strip())
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        detail = event.get("word") or event.get("code") or event.get("error") or ""
        found[f"{event.get('event')} {detail}".strip()] += 1
    return found


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _portions(everything: list[str]) -> list[list[str]]:
    return [everything[n : n + AT_ONCE] for n in range(0, len(everything), AT_ONCE)]
