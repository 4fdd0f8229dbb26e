"""The text that Prometheus scrapes, by its own client's library; this module loads it.

Labels are bounded: queues, providers and API keys are settings, operations and events are names of this project, and
models are those that the statistics name, 64 at most.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.documents.operating import LimitsDocument
from shared.frozen import dataclass
from shared.jobqueue import Stats
from shared.jobqueue.reads import Facts
from shared.sums import BOUNDS, Amounts, Sums, histogram, parts
from shared.usage.usage import Month, Outlook

OF_SERIES = ("queue", "provider", "model")
TIMES = {
    "wait": "From its admission to its submission, of jobs with one submission.",
    "run": "From its last submission to its end, of completed jobs.",
    "store": "From its end until its files are stored.",
    "tell": "From what happened until its event is delivered.",
}
Samples = Iterable[tuple[Sequence[str], float]]


@dataclass(frozen=True)
class Seen:
    """All that is shown. Times in ms; ``counted`` and ``sums`` are None where they are not switched on."""

    now: int
    stats: Stats
    facts: Facts
    limits: LimitsDocument
    counted: tuple[Month, Outlook] | None
    sums: Sums | None


def exposition(seen: Seen) -> bytes:
    """Returns the text of the format 0.0.4, which each release of Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(seen))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        seen = self._seen
        yield from _jobs(seen)
        yield from _limits(seen.limits)
        if seen.counted is not None:
            yield from _commands(*seen.counted)
        if seen.sums is not None:
            yield from _sums(seen.sums)

    def describe(self) -> Iterable[Metric]:
        return ()


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"sluice_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _counter(name: str, text: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"sluice_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _one(name: str, text: str, number: float) -> Metric:
    return _gauge(name, text, (), [((), number)])


def _jobs(seen: Seen) -> Iterator[Metric]:
    stats, queue, key = seen.stats, ("queue",), ("key",)
    yield _gauge("jobs_running", "Jobs at the providers.", queue, (((q.name,), q.running) for q in stats.queues))
    yield _gauge("jobs_ready", "Jobs that wait for a slot.", queue, (((q.name,), q.ready) for q in stats.queues))
    yield _one("jobs_delayed", "Jobs that wait for a retry, a circuit or their API key's slots.", stats.delayed)
    yield _one("jobs_backlog", "Jobs that wait for another one of their user.", stats.backlog)
    yield _one("dead_letters", "Jobs that used up their attempts.", stats.dead)
    yield _one("submissions_unknown", "Submissions whose outcome is unknown; each holds a slot.", stats.unknown)
    yield _gauge(
        "key_jobs_running", "An API key's jobs at the providers.", key, (((k.name,), k.running) for k in stats.keys)
    )
    yield _gauge("key_jobs_waiting", "An API key's waiting jobs.", key, (((k.name,), k.waiting) for k in stats.keys))
    since = seen.facts.since
    oldest = max(0, seen.now - since) / 1000 if since is not None else 0
    yield _one("oldest_startable_age_seconds", "How long a job could have started and has not; 0 for none.", oldest)
    if stats.tick_at is not None:
        yield _one("last_tick_timestamp_seconds", "When the last tick ran.", stats.tick_at / 1000)
    events = (((name,), count) for name, count in sorted(stats.counters.items()) if not name.endswith("_at"))
    yield _counter(
        "events", "What has happened since the store was empty; docs/operating.md has each.", ("event",), events
    )


def _limits(limits: LimitsDocument) -> Iterator[Metric]:
    queues, providers, circuits = limits["queues"], limits["providers"], limits["circuits"]
    provider = ("provider",)
    yield _one("running_limit", "The system's limit of running jobs; 0 while paused.", limits["system"]["concurrency"])
    text = "A queue's limit of running jobs; 0 while paused."
    yield _gauge("queue_running_limit", text, ("queue",), (((n,), q["concurrency"]) for n, q in queues.items()))
    text = "A provider's limit of running jobs; 0 while paused."
    yield _gauge("provider_running_limit", text, provider, (((n,), p["concurrency"]) for n, p in providers.items()))
    text = "Creates a minute that a provider takes."
    yield _gauge(
        "provider_create_limit", text, provider, (((n,), p["creates_per_minute"]) for n, p in providers.items())
    )
    text = "1 while a provider refuses submissions, or no job may try one yet."
    refusing = (((n,), p["paused_until"] is not None or p["pause"] is not None) for n, p in providers.items())
    yield _gauge("provider_refusing", text, provider, refusing)
    opened = (((n,), sum(c["provider"] == n for c in circuits)) for n in providers)
    yield _gauge("circuits_open", "Models that are put aside since they fail.", provider, opened)


def _commands(month: Month, outlook: Outlook) -> Iterator[Metric]:
    text = "Billed commands counted in this month of UTC."
    yield _counter("store_commands", text, ("operation",), (((n,), c) for n, c in month.by_operation.items()))
    yield _one("store_commands_forecast", "Billed commands at the month's end, by the last week.", outlook.forecast)
    if outlook.quota is not None:
        yield _one("store_commands_quota", "COMMANDS_QUOTA.", outlook.quota)


def _sums(sums: Sums) -> Iterator[Metric]:
    of_jobs = {tuple(series.split("|", 2)): amounts for series, amounts in sums.of.items() if series}
    text = "Admissions, submissions and ends of jobs."
    plain = ("accepted", "started", "put_off", "given_up", "completed", "canceled")
    moves = (
        ((*series, name), amounts[name]) for series, amounts in of_jobs.items() for name in plain if name in amounts
    )
    yield _counter("job_moves", text, (*OF_SERIES, "move"), moves)
    failed = (
        ((*series, code), count)
        for series, amounts in of_jobs.items()
        for code, count in parts(amounts, "failed").items()
    )
    yield _counter("jobs_failed", "Failed jobs by error code.", (*OF_SERIES, "code"), failed)
    for name, text in TIMES.items():
        yield _histogram(name, text, of_jobs)
    yield from _of_processes(sums.of.get("", {}))


def _histogram(name: str, text: str, of_jobs: Mapping[tuple[str, ...], Amounts]) -> Metric:
    family = HistogramMetricFamily(f"sluice_job_{name}_seconds", text, labels=OF_SERIES)
    for series, amounts in of_jobs.items():
        found, below, buckets = histogram(amounts, name), 0, []
        if not found.count:
            continue
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], found.counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(series, buckets, found.total_ms / 1000)
    return family


def _of_processes(amounts: Amounts) -> Iterator[Metric]:
    """What processes have counted themselves, and events that belong to no series."""
    yield _counter(
        "refusals", "Refused admissions by code.", ("code",), (((c,), n) for c, n in parts(amounts, "refused").items())
    )
    calls = ((name.split(".", 2), count) for name, count in parts(amounts, "calls").items() if name.count(".") == 2)
    yield _counter("provider_calls", "Calls of providers.", ("provider", "call", "outcome"), calls)
    tried = (((word,), count) for word, count in parts(amounts, "deliveries").items())
    yield _counter("deliveries", "Tries to deliver an event.", ("outcome",), tried)
    rest = (
        ((name,), count)
        for name, count in sorted(amounts.items())
        if ":" not in name and not name.startswith(("refused.", "calls.", "deliveries."))
    )
    yield _counter("work", "Files, cache hits and rarer events; docs/metrics.md has each.", ("kind",), rest)
