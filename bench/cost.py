"""What a month costs: ``python -m bench.cost --jobs-per-day 500 --job-seconds 60 --poll-every 2 --tick 60``.

Commands come from DESIGN.md's table "What an operation costs", which a test counts. Prices are in
shared/usage/prices.toml.
The ordinary path is counted at its most expensive: every job waits in the queue before it starts. Its owner polls it
from its start to its end, each so many s or as ``Retry-After`` asks; one process answers these polls.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.environment import ROOT
from bench.watching import Watched, watch
from shared.config.settings import Settings
from shared.usage import prices as pricing
from shared.usage.counting import PERIOD
from shared.usage.prices import DAYS, Plan, Prices

DESIGN = ROOT / "DESIGN.md"
ROW = re.compile(r"^\| ([^|]+?) \| (\d+) \| (\d+) \|", re.M)
QUEUED = "queued job: submit, end that starts the next, record, one poll"
AT_ONCE = "job started at submit: submit, record, complete, one poll"
PLAIN_END = "end of a job without files and hook"
SWEEP_EVERY = 900  # s; as in shared/dispatch/tick.py
DAY = 86_400  # s
KEPT_DAYS = 7  # TASK_TTL
JOB_BYTES = 2_000  # in the store: 1.0 KB with a short prompt, measured in Valkey, and as much again for the input
MEMORY = 0.5  # GB of a Lambda function; as in serverless.yml
SECONDS = 0.5  # of an average invocation; assumed, since most of it is the provider's answer
FREE_TRAFFIC = 200  # GB a month, pay as you go
LAMBDA_FREE = {"requests": 1_000_000, "seconds": 400_000}
VERCEL_INCLUDED = 1_000_000  # invocations
MILLION = 1_000_000
JOB_SECONDS = 60.0  # of a run; assumed
USUAL: dict[str, Any] = {"sluice_env": "test", "use_redis_for_tasks": False}  # settings with the default times
# Bytes to and from the store with the headers of HTTP, measured in a warm process: a cold one sends each script once.
JOB_TRAFFIC = 5_000  # 3.5 KB measured, and room for a longer input
POLL_TRAFFIC = 1_500
SCRIPT_TRAFFIC = 3_000  # of the first poll of a job, and of a question to the provider
TICK_TRAFFIC = 1_500


@dataclass(frozen=True)
class Operation:
    """HTTP calls of the store, and billed commands."""

    calls: int
    commands: int

    def __add__(self, other: "Operation") -> "Operation":
        return Operation(self.calls + other.calls, self.commands + other.commands)

    def __sub__(self, other: "Operation") -> "Operation":
        return Operation(self.calls - other.calls, self.commands - other.commands)

    def __mul__(self, times: int) -> "Operation":
        return Operation(self.calls * times, self.commands * times)


WALK = Operation(3, 3)  # the other half of a sweep, shared.jobqueue.Records; more for each user with a live job


@dataclass(frozen=True)
class Load:
    """A deployment's work. ``tick`` in s; ``seconds`` and ``memory`` (GB) of an invocation."""

    jobs: float
    polls: int = 3  # that reach the store
    tick: float = 60.0
    files: bool = False
    hooks: bool = False
    job_bytes: int = JOB_BYTES
    seconds: float = SECONDS
    memory: float = MEMORY
    cached: int = 0  # polls that a process answers from its cache
    questions: int = 0  # polls that ask the provider
    is_counted: bool = False  # COUNT_COMMANDS


def budget(text: str) -> dict[str, Operation]:
    """Returns the operations of DESIGN.md's table, by name."""
    section = text.split("## What an operation costs", 1)[1].split("\n## ", 1)[0]
    return {name: Operation(int(calls), int(commands)) for name, calls, commands in ROW.findall(section)}


class Bill:
    """A month's bill for one load."""

    def __init__(self, load: Load, costs: dict[str, Operation], prices: Prices) -> None:
        self.load = load
        self.prices = prices
        self._costs = costs

    def job(self, path: str = QUEUED) -> Operation:
        """Returns the cost of one job with all its polls, files and hooks."""
        costs, load = self._costs, self.load
        question = costs["poll that asks the provider"] - costs["first poll of a job that runs"]
        total = costs[path] + costs["poll"] * (load.polls - 1) + question * load.questions
        if load.files:
            total += costs["end of a job with a file"] - costs[PLAIN_END] + costs["store the file and note it"]
        if load.hooks:
            total += costs["end of a job with a hook"] - costs[PLAIN_END] + costs["deliver the event and note it"]
        return total

    @property
    def idle(self) -> float:
        """Commands of a month without jobs: ticks, and their sweep every quarter of an hour."""
        sweep = self._with_count(self._costs["trim of the history"] + WALK)
        ticks = DAY / self.load.tick
        sweeps = ticks / max(1, round(SWEEP_EVERY / self.load.tick))
        return DAYS * (ticks * self._with_count(self._costs["empty tick, heartbeat included"]) + sweeps * sweep)

    def _with_count(self, operation: Operation) -> float:
        """Returns the commands of an operation, with what the own count adds if it is switched on."""
        return operation.commands + (operation.calls / PERIOD if self.load.is_counted else 0)

    @property
    def commands(self) -> float:
        """Commands of a month."""
        return self.idle + DAYS * self.load.jobs * self._with_count(self.job())

    @property
    def invocations(self) -> float:
        """Calls of functions in a month: submit, webhook, polls, ticks. Follow-ups of an end run in the webhook's."""
        load = self.load
        return DAYS * (load.jobs * (2 + load.polls + load.cached) + DAY / load.tick)

    @property
    def gigabytes(self) -> float:
        """The store's size once as many jobs expire as come."""
        return self.load.jobs * KEPT_DAYS * self.load.job_bytes / 1e9

    @property
    def traffic(self) -> float:
        """GB to and from the store in a month."""
        return DAYS * (self.load.jobs * self._job_traffic + self._tick_traffic) / 1e9

    @property
    def _job_traffic(self) -> float:
        """Bytes for one job."""
        return JOB_TRAFFIC + POLL_TRAFFIC * self.load.polls + SCRIPT_TRAFFIC * (1 + self.load.questions)

    @property
    def _tick_traffic(self) -> float:
        """Bytes for the ticks of a day."""
        return DAY / self.load.tick * TICK_TRAFFIC

    @property
    def store(self) -> float:
        """Dollars to Upstash, pay as you go."""
        amounts = self.prices.amounts
        stored = max(0.0, self.gigabytes - 1) * amounts["upstash.storage"]
        carried = max(0.0, self.traffic - FREE_TRAFFIC) * amounts["upstash.bandwidth"]
        return self.prices.commands(self.commands) + stored + carried

    @property
    def lambda_(self) -> float:
        """Dollars to AWS for requests, duration and the HTTP API, minus the free requests and seconds."""
        amounts, ticks = self.prices.amounts, DAYS * DAY / self.load.tick
        requests = max(0.0, self.invocations - LAMBDA_FREE["requests"]) / MILLION * amounts["lambda.requests"]
        seconds = self.invocations * self.load.seconds * self.load.memory
        duration = max(0.0, seconds - LAMBDA_FREE["seconds"]) * amounts["lambda.duration"]
        gateway = (self.invocations - ticks) / MILLION * amounts["gateway.requests"]  # the schedule does not use it
        return requests + duration + gateway

    @property
    def vercel(self) -> float:
        """Dollars to Vercel for invocations beyond the plan's; without the plan, CPU and memory."""
        return max(0.0, self.invocations - VERCEL_INCLUDED) / MILLION * self.prices.amounts["vercel.invocations"]

    @property
    def free(self) -> Plan:
        """The free plan."""
        return self.prices.plans[0]

    @property
    def is_free_enough(self) -> bool:
        """Whether the free plan allows the commands and holds the jobs."""
        return self.load.jobs <= self.max_free_jobs and self.commands <= (self.free.commands or math.inf)

    @property
    def max_free_jobs(self) -> int:
        """How many jobs a day the free plan carries."""
        left = (self.free.commands or math.inf) - self.idle
        by_commands = math.floor(left / DAYS / self._with_count(self.job()))
        return max(0, min(by_commands, self._held(self.free), self._carried(self.free)))

    def cheaper_from(self, plan: Plan) -> int | None:
        """Returns from how many jobs a day a fixed plan is cheaper than pay as you go; None if it cannot hold them."""
        per_job = DAYS * self.prices.commands(self._with_count(self.job()))
        # The first GB stored is free, so up to there the bill is its commands; above, storage only adds to it.
        jobs = max(0, math.floor((plan.amount - self.prices.commands(self.idle)) / per_job) + 1)
        return jobs if jobs <= self._held(plan) else None

    @property
    def cheapest_fixed(self) -> tuple[Plan, int] | None:
        """The cheapest fixed plan that can cost less, and from how many jobs a day it does."""
        found = ((plan, self.cheaper_from(plan)) for plan in self.prices.plans if plan.amount)
        return next(((plan, jobs) for plan, jobs in found if jobs is not None), None)

    def _held(self, plan: Plan) -> int:
        """Returns how many jobs a day a plan can hold."""
        return math.floor(plan.megabytes * 1e6 / (KEPT_DAYS * self.load.job_bytes))

    def _carried(self, plan: Plan) -> int:
        """Returns how many jobs a day the bandwidth of a plan carries."""
        if plan.bandwidth is None:
            return sys.maxsize
        return max(0, math.floor((plan.bandwidth * 1e9 / DAYS - self._tick_traffic) / self._job_traffic))

    def _fits(self, plan: Plan) -> bool:
        return self.load.jobs <= self._held(plan)


def as_json(bill: Bill) -> dict[str, object]:
    """Returns a month's numbers."""
    fixed = bill.cheapest_fixed
    return {
        "load": asdict(bill.load),
        "prices_of": bill.prices.date.isoformat(),
        "commands_per_job": bill.job().commands,
        "commands": bill.commands,
        "idle_commands": bill.idle,
        "invocations": bill.invocations,
        "stored_gigabytes": bill.gigabytes,
        "carried_gigabytes": bill.traffic,
        "dollars": {"upstash": bill.store, "lambda": bill.lambda_, "vercel_invocations": bill.vercel},
        "free_tier_is_enough": bill.is_free_enough,
        "most_jobs_per_day_in_free_tier": bill.max_free_jobs,
        "fixed_plan": None if fixed is None else {"name": fixed[0].name, "dollars": fixed[0].amount, "from": fixed[1]},
    }


def lines(bill: Bill) -> list[str]:
    """Returns the same in words."""
    load, per_job, at_once = bill.load, bill.job(), bill.job(AT_ONCE)
    extras = [word for word, wanted in (("a file", load.files), ("a hook", load.hooks)) if wanted]
    with_extras = f", each with {' and '.join(extras)}" if extras else ""
    enough = "enough" if bill.is_free_enough else "not enough"
    printed = [
        f"{load.jobs:,.0f} jobs a day{with_extras}, {load.polls + load.cached} polls a job, "
        f"a tick each {load.tick:g} s.",
        f"Polls        {load.polls} a job reach the store, {load.cached} are answered from the cache, {load.questions} "
        "ask the provider",
        f"Commands     {bill.commands:,.0f} in {DAYS} days: {per_job.commands} a job ({at_once.commands} if it starts "
        f"at its submit), {bill.idle:,.0f} for the ticks",
        f"Invocations  {bill.invocations:,.0f} a month",
        f"Storage      {bill.gigabytes:.3f} GB of jobs, kept {KEPT_DAYS} days, {load.job_bytes:,} bytes each (assumed)",
        f"Bandwidth    {bill.traffic:.1f} GB to and from the store; {FREE_TRAFFIC} GB are free, "
        f"{bill.free.bandwidth} GB in the free plan",
        f"Upstash      ${bill.store:.2f} a month, pay as you go",
        f"Lambda       ${bill.lambda_:.2f} a month with its HTTP API, at {load.seconds:g} s and {load.memory:g} GB an "
        "invocation (assumed)",
        f"Vercel       ${bill.vercel:.2f} a month for invocations beyond a million, besides the plan, CPU and memory",
        f"Free tier    {enough}: {bill.free.commands:,} commands a month carry {bill.max_free_jobs:,} jobs a day",
    ]
    fixed = bill.cheapest_fixed
    if fixed is None:
        printed.append("Fixed plan   none of those known holds the jobs of the load from which it would be cheaper")
    else:
        plan, jobs = fixed
        printed.append(f"Fixed plan   {plan.name}, ${plan.amount:g} a month, is cheaper from {jobs:,} jobs a day")
    printed.append(f"Prices of {bill.prices.date.isoformat()}, with their sources in shared/usage/prices.toml.")
    return printed


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs-per-day", type=_at_least(0), default=500, help="default 500")
    parser.add_argument("--job-seconds", type=_at_least(1), default=JOB_SECONDS, help="of a run (default 60)")
    parser.add_argument("--poll-every", type=_at_least(0.1), help="s between two polls (default: as Retry-After asks)")
    parser.add_argument("--polls-per-job", type=int, help="status calls that reach the store, in place of these two")
    parser.add_argument("--tick", type=_at_least(1), default=60, help="s between two scheduled calls (default 60)")
    parser.add_argument("--with-files", action="store_true", help="each job has a file, which is stored")
    parser.add_argument("--with-hooks", action="store_true", help="each job has a hook, which gets one event")
    parser.add_argument("--counted", action="store_true", help="with COUNT_COMMANDS, which costs a little itself")
    parser.add_argument("--job-bytes", type=int, default=JOB_BYTES, help=f"of a job in the store (default {JOB_BYTES})")
    parser.add_argument("--seconds", type=_at_least(0), default=SECONDS, help=f"of an invocation (default {SECONDS:g})")
    parser.add_argument("--prices", type=Path, default=pricing.FILE, help="another price file")
    parser.add_argument("--json", action="store_true", help="plain numbers")
    return parser.parse_args(arguments)


def _at_least(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value < math.inf:
            raise argparse.ArgumentTypeError(f"at least {least:g}")
        return value

    return number


def main(arguments: list[str] | None = None) -> int:
    """Prints the bill."""
    options = parse(arguments)
    watched = Watched(options.polls_per_job or 0, options.polls_per_job or 0, 0)
    if options.polls_per_job is None:
        watched = watch(Settings(**USUAL), options.job_seconds, options.poll_every)
    load = Load(
        options.jobs_per_day,
        watched.reached,
        options.tick,
        options.with_files,
        options.with_hooks,
        options.job_bytes,
        options.seconds,
        cached=watched.polls - watched.reached,
        questions=watched.questions,
        is_counted=options.counted,
    )
    bill = Bill(load, budget(DESIGN.read_text()), pricing.load(options.prices))
    print(json.dumps(as_json(bill), indent=1) if options.json else "\n".join(lines(bill)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
