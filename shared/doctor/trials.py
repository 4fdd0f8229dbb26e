"""Checks of the store: who answers, how fast, at what time, and whether it does what the scripts rely on.

No database of Upstash has run these scripts before a first deployment. So the doctor tries what no document promises:
TIME before writes, numbers with all their digits, the texts of errors, and many parts in one command.
"""

import re
import statistics
import time
from datetime import timedelta

from shared.clock import Clock
from shared.config.settings import Settings
from shared.config.timing import LATE_MARGIN
from shared.doctor.check import Said
from shared.doctor.examiner import FOLDER, Examiner
from shared.errors import StoreError
from shared.jobqueue import Records
from shared.jobqueue.script import script
from shared.store import Store
from shared.store.scripts import digest_of

QUESTIONS = 5  # for the time that a call takes
SLOW, VERY_SLOW = 50.0, 300.0  # ms; a poll waits for one call, a submit for two
SKEWED = timedelta(seconds=3)  # of the two clocks; a late copy is told by them
EVICTING = "Switch eviction off in the database's console: it deletes live jobs. Then run the doctor with fix."
REPORT = "Please report it with this finding: the queue's scripts rely on it. Do not submit jobs to this store."
# What each trial must come to; see trial.lua
EXPECTED = {"number": "6500000000000001", "score": "0", "half": "1", "options": "6", "absent": "none", "many": "1502"}
TEXTS = {
    "number": "Lua writes large numbers without all their digits.",
    "score": "A large score comes back as another one.",
    "half": "Scores of half a millisecond are not kept, so a running job looks like a submission.",
    "options": "ZADD does not know LT, or XX with INCR.",
    "absent": "ZMSCORE does not say which members are missing.",
    "many": "One command does not take all its parts.",
    "error": "An error inside a script has no text that begins with WRONGTYPE.",
}


class StoreCheck:
    """Asks the store for its time, and reads what it says of itself."""

    name, timeout = "store", 20.0

    def __init__(self, store: Store, records: Records, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._settings = settings
        self._clock = clock

    async def run(self) -> Said:
        said = Said(figures={"mode": self._settings.storage_mode})
        await self._measure(said)
        counters = (await self._records.stats()).counters
        said.figures |= {name: counters.get(name, 0) for name in ("missing", "rehomed")}
        return said

    async def _measure(self, said: Said) -> None:
        """How long a call takes, and how far the two clocks are apart."""
        took, apart = [], []
        for _ in range(QUESTIONS):
            began, sent = time.perf_counter(), self._clock.now()
            seconds, micros = await self._store.execute("TIME")
            took.append((time.perf_counter() - began) * 1000)
            at = int(self._clock.lease_now() or int(seconds) * 1000 + int(micros) // 1000)
            apart.append(at - (sent + self._clock.now()) / 2)
        median, skew = statistics.median(took), statistics.median(apart)
        said.figures |= {"round_trip_ms": round(median, 1), "clock_ahead_ms": round(skew)}
        if median > SLOW:
            said.find(
                "store_slow", f"A call of the store takes {median:.0f} ms.",
                "Put the functions into the region of the database.",
                evidence={"milliseconds": round(median)}, severity="error" if median > VERY_SLOW else "warning",
            )  # fmt: skip
        if abs(skew) > SKEWED.total_seconds() * 1000:
            is_beyond = abs(skew) > LATE_MARGIN * self._settings.timing_scale * 1000
            said.find(
                "clocks_differ", "This function's clock and the store's differ.",
                "Set the machine's clock. Vercel and Lambda set theirs: there, ask again.",
                evidence={"milliseconds": round(skew)}, severity="error" if is_beyond else "warning",
            )  # fmt: skip


class ScriptCheck:
    """Runs a script that tries what all others rely on."""

    name, timeout = "scripts", 20.0

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._examiner = Examiner(store, settings, clock)
        self._store = store

    async def run(self) -> Said:
        said = Said()
        try:
            seen = await self._examiner.trial()
        except StoreError as error:
            said.find(
                "scripts_refused", "The store takes no script that writes.",
                "Look at the token's rights (a read-only one cannot be used), the quota and the size of the database.",
                evidence={"code": error.code, "refusal": error.refusal or ""},
            )  # fmt: skip
            return said
        for trial, expected in EXPECTED.items():
            if seen.get(trial) != expected:
                evidence = {"expected": expected, "seen": seen.get(trial, "")}
                said.find("script_differs", TEXTS[trial], REPORT, subject=("trial", trial), evidence=evidence)
        if "WRONGTYPE" not in seen.get("error", ""):
            evidence = {"seen": seen.get("error", "")[:200]}
            said.find("script_differs", TEXTS["error"], REPORT, subject=("trial", "error"), evidence=evidence)
        await self._digests(said)
        _read_info(seen.get("info", ""), said)
        return said

    async def _digests(self, said: Said) -> None:
        """Whether the store keeps a script that it has just run: else each call sends the whole text."""
        (is_kept,) = await self._store.execute("SCRIPT", "EXISTS", digest_of(script("trial", FOLDER).text))
        said.figures["scripts_kept"] = bool(is_kept)
        if not is_kept:
            said.find(
                "scripts_not_kept", "The store does not know a script that it has just run.",
                "Nothing has to be done: scripts are sent whole. Each call is larger and slower.", severity="notice",
            )  # fmt: skip


def _read_info(info: str, said: Said) -> None:
    """Reads version and eviction from what INFO says; without that, they cannot be known."""
    told = dict(re.findall(r"^(\w+):([^\r\n]*)", info, re.M))
    version = told.get("upstash_version") or told.get("valkey_version") or told.get("redis_version")
    said.figures["version"] = version
    policy, evicted = told.get("maxmemory_policy"), told.get("evicted_keys")
    said.figures["eviction"] = policy
    if policy not in (None, "noeviction"):
        evidence = {"maxmemory_policy": policy}
        said.find("store_evicts", "The store may delete keys when it is full.", EVICTING, evidence=evidence)
    if evicted not in (None, "0"):
        said.find("keys_evicted", "The store has deleted keys.", EVICTING, evidence={"evicted_keys": evicted})
    if policy is None:
        said.undetermined.append(
            "Whether the store evicts is not said by INFO. Look at the database's console: eviction must be off."
        )
