"""The rules: from what was seen to what is wrong. Each is a pure function.

A rule gets the figures, and the bound from which its alert stands: the threshold, or less while it stands already.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field

from shared.alerts.alert_store import Looked
from shared.alerts.catalogue import EASED
from shared.alerts.standing import Alert
from shared.config.alerts import AlertName
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.jobqueue.reads import ProviderPause
from shared.jobqueue.terms import provider_in
from shared.usage.usage import Outlook

OF_ACCOUNT = ("billing", "provider_auth")  # refusals that no wait ends
MIN_ENDS = 10
REFUSED_FOR = 900_000  # ms; each further webhook that is refused begins them anew


@dataclass(frozen=True)
class Ends:
    """How many jobs of a model ended, and how many of these for a fault of the model or its provider."""

    all: int
    failed: int


@dataclass(frozen=True)
class Seen:
    """What one look has found. Times in ms, ``latency`` of the look's own call in ms; counts are of the last hour."""

    looked: Looked
    now: int
    latency: float
    settings: Settings
    began_at: int  # the first look of all
    standing: Mapping[str, Alert] = field(default_factory=dict)  # by key
    healed: Mapping[str, int] = field(default_factory=dict)  # by counter
    given_up: int = 0  # events
    ends: Mapping[str, Ends] = field(default_factory=dict)  # by model
    outlook: Outlook | None = None

    def age(self, moment: int | None) -> int:
        """The s since a moment; 0 for none."""
        return 0 if moment is None else max(0, (self.now - moment) // 1000)


@dataclass(frozen=True)
class Finding:
    """Something wrong. ``about`` is a provider, where one name has an alert for each.

    ``text`` is ours, and holds nothing that a caller has made up; ``names`` may, such as models. ``mark``: the finding
    counts as a new one if it changes.
    """

    name: AlertName
    text: str
    figures: Mapping[str, float]
    names: tuple[str, ...] = ()
    about: str = ""
    mark: str = ""
    holds: float = 0.0  # s for which it must last before it is told

    @property
    def subjects(self) -> frozenset[str]:
        """What it is about; a further one is told of, where the alert's kind says so."""
        return frozenset((*self.names, self.mark)) - {""}

    @property
    def key(self) -> str:
        return f"{self.name}:{self.about}" if self.about else self.name


Bound = Callable[[str], float]  # by `about`
Rule = Callable[[Seen, Bound], Iterator[Finding]]


def _schedule_silent(seen: Seen, bound: Bound) -> Iterator[Finding]:
    # Before the first tick, the first look counts: a schedule may never have been made.
    age = seen.age(seen.looked.tick_at or seen.began_at)
    if age >= bound(""):
        known = "for" if seen.looked.tick_at else "since alerts were switched on,"
        yield Finding("schedule_silent", f"No tick has come {known} {duration(age)}.", {"seconds": age})


def _jobs_not_started(seen: Seen, bound: Bound) -> Iterator[Finding]:
    age = seen.age(seen.looked.since)
    if age >= bound(""):
        text = f"A job could have started {duration(age)} ago, and has not."
        yield Finding("jobs_not_started", text, {"seconds": age}, (seen.looked.job,), mark=seen.looked.job)


def _oldest_wait(seen: Seen, bound: Bound) -> Iterator[Finding]:
    ages = {lane: seen.age(at) for lane, at in seen.looked.lines.items()}
    long = sorted((lane for lane, age in ages.items() if age >= bound("")), key=lambda lane: -ages[lane])
    if long:
        names = tuple(_line(int(lane), seen.settings) for lane in long)
        text = f"The next job of a line was submitted {duration(ages[long[0]])} ago."
        yield Finding("oldest_wait", text, {"seconds": ages[long[0]], "lines": len(long)}, names)


def _dead_letters(seen: Seen, bound: Bound) -> Iterator[Finding]:
    count = seen.looked.dead
    if count >= bound(""):
        names = tuple(dict.fromkeys(seen.looked.dead_of))
        yield Finding("dead_letters", f"{plural(count, 'dead letter')} came in the last hour.", {"count": count}, names)


def _provider_refuses(seen: Seen, bound: Bound) -> Iterator[Finding]:
    known = {pause.provider: pause for pause in seen.looked.pauses}
    for provider, until in _gates_of_pauses(seen):
        pause, stands = known.get(provider), seen.standing.get(f"provider_refuses:{provider}")
        if pause is not None and _counts(seen, pause, until, bound(provider)):
            age = seen.age(pause.since)
            text = (
                f"{provider} has refused submissions for {duration(age)}: {pause.code}, status {pause.status},"
                f" {plural(pause.refusals, 'refusal')}."
            )
            figures = {"seconds": age, "refusals": pause.refusals, "status": pause.status}
            yield Finding("provider_refuses", text, figures, pause.models, about=provider, mark=pause.code)
        elif pause is None and stands is not None and stands["mark"] in OF_ACCOUNT:  # mutant: forgotten refusals
            # Refusals are forgotten after an hour; until a submission is accepted, the account is not well.
            said = (stands["text"], stands["figures"], tuple(stands["names"]))
            yield Finding("provider_refuses", *said, about=provider, mark=stands["mark"])


def _gates_of_pauses(seen: Seen) -> Iterator[tuple[str, int]]:
    """Yields the paused providers, and until when each is paused (ms)."""
    numbers = {f"~p{NUMBERS[listed.name]}": listed.name for listed in REGISTRY}
    yield from ((numbers[gate], until) for gate, until in seen.looked.gates.items() if gate in numbers)


def _counts(seen: Seen, pause: ProviderPause, until: int, bound: float) -> bool:
    """Whether a pause is one to tell of. Its gate stays after its end, until a submission is accepted."""
    if pause.code == "provider_auth":
        # One refusal may be a private model that this account may not run: one caller's own trouble.
        return pause.refusals >= 2 or len(pause.models) >= 2  # mutant: one refused model
    if pause.code in OF_ACCOUNT:
        return True
    is_on = until > seen.now or seen.age(pause.at) < seen.settings.alert_period  # mutant: pause that is over
    return is_on and seen.age(pause.since) >= bound


def _circuit_open(seen: Seen, bound: Bound) -> Iterator[Finding]:
    # Those of one user have a share behind a bar: they are that user's own trouble.
    gates = [gate for gate in seen.looked.gates if gate.startswith("~o") and "|" not in gate]
    if gates:
        names = tuple(sorted(gate.partition(":")[2] for gate in gates))
        text = (
            f"{len(gates)} models have failed for several users in a row, and wait."
            if len(gates) > 1
            else ("A model has failed for several users in a row, and waits.")
        )
        yield Finding("circuit_open", text, {"models": len(gates)}, names, holds=bound(""))


def _webhooks_refused(seen: Seen, bound: Bound) -> Iterator[Finding]:
    at = seen.looked.webhook_refused_at
    if at is not None and seen.now - at <= REFUSED_FOR:
        age = seen.age(at)
        text = f"Webhooks of a provider were refused, the last one {duration(age)} ago: its secret may be wrong."
        yield Finding("webhooks_refused", text, {"seconds": age})


def _submissions_unknown(seen: Seen, bound: Bound) -> Iterator[Finding]:
    slots, unknown = seen.settings.max_concurrent_tasks, seen.looked.unknown
    if unknown and 100 * unknown / slots >= bound(""):
        text = f"{unknown} of {slots} slots are held by submissions whose outcome is unknown."
        yield Finding("submissions_unknown", text, {"count": unknown, "slots": slots})


def _copy_overdue(seen: Seen, bound: Bound) -> Iterator[Finding]:
    ages = {job: seen.age(at) for job, at in seen.looked.copies.items()}
    late = sorted((job for job, age in ages.items() if age >= bound("")), key=lambda job: -ages[job])
    if late:
        text = f"Files of a job that ended {duration(ages[late[0]])} ago are not stored yet."
        yield Finding("copy_overdue", text, {"seconds": ages[late[0]], "jobs": len(late)}, tuple(late))


def _hooks_failing(seen: Seen, bound: Bound) -> Iterator[Finding]:
    hosts = {lane: failures for lane, failures in seen.looked.hosts.items() if failures >= bound("")}
    is_given_up = seen.given_up >= bound("")
    if not hosts and not is_given_up:
        return
    owners = tuple(sorted({lane.partition(":")[0] for lane in hosts}))
    most = max(hosts.values(), default=0)
    parts = [f"{plural(len(hosts), 'failing host')} of hooks, up to {most} times in a row." if hosts else ""]
    parts.append(f"{seen.given_up} events were given up in the last hour." if is_given_up else "")
    figures = {"hosts": len(hosts), "failures": most, "given_up": seen.given_up}
    yield Finding("hooks_failing", " ".join(filter(None, parts)), figures, owners)


def _slots_healed(seen: Seen, bound: Bound) -> Iterator[Finding]:
    count = sum(seen.healed.values())
    if count and count >= bound(""):
        shown = ", ".join(f"{number} {WORDS[name]}" for name, number in seen.healed.items() if number)
        yield Finding("slots_healed", f"In the last hour: {shown}.", {**seen.healed})


def _store_slow(seen: Seen, bound: Bound) -> Iterator[Finding]:
    if seen.latency >= bound(""):
        text = f"A call of the store took {seen.latency:.0f} ms."
        yield Finding("store_slow", text, {"milliseconds": round(seen.latency)})


def _failure_rate(seen: Seen, bound: Bound) -> Iterator[Finding]:
    # Below so many ends, one user's bad luck would be a rate.
    rates = {model: 100 * e.failed / e.all for model, e in seen.ends.items() if e.all >= MIN_ENDS}  # mutant: few ends
    bad = sorted((model for model, rate in rates.items() if rate >= bound("")), key=lambda model: -rates[model])
    if bad:
        worst = seen.ends[bad[0]]
        text = f"In the last hour {worst.failed} of {worst.all} jobs of a model failed by its provider's fault."
        yield Finding("failure_rate", text, {"percent": round(rates[bad[0]]), "models": len(bad)}, tuple(bad))


def _commands_near_end(seen: Seen, bound: Bound) -> Iterator[Finding]:
    used = seen.outlook.used if seen.outlook is not None else None
    if seen.outlook is not None and used is not None and 100 * used >= bound(""):
        text = f"{seen.outlook.commands} commands were counted this month, {100 * used:.0f} % of COMMANDS_QUOTA."
        figures = {"percent": round(100 * used), "commands": seen.outlook.commands, "forecast": seen.outlook.forecast}
        yield Finding("commands_near_end", text, figures)


WORDS = {
    "rescued": "submissions without an outcome were given up",
    "rehomed": "jobs that the index had lost were put back",
    "lanes_restored": "lanes of hooks that the outbox had lost were put back",
}
HEALED = tuple(WORDS)
RULES: Mapping[AlertName, Rule] = {
    "schedule_silent": _schedule_silent,
    "jobs_not_started": _jobs_not_started,
    "oldest_wait": _oldest_wait,
    "dead_letters": _dead_letters,
    "provider_refuses": _provider_refuses,
    "circuit_open": _circuit_open,
    "webhooks_refused": _webhooks_refused,
    "submissions_unknown": _submissions_unknown,
    "copy_overdue": _copy_overdue,
    "hooks_failing": _hooks_failing,
    "slots_healed": _slots_healed,
    "store_slow": _store_slow,
    "failure_rate": _failure_rate,
    "commands_near_end": _commands_near_end,
}


def findings(seen: Seen) -> list[Finding]:
    """Returns what is wrong. The bounds of alerts that stand are lower."""
    found: list[Finding] = []
    for name, threshold in seen.settings.thresholds.items():

        def bound(about: str, name: str = name, threshold: float = threshold) -> float:
            key = f"{name}:{about}" if about else name
            return EASED * threshold if key in seen.standing else threshold  # mutant: eased bound

        found += RULES[name](seen, bound)
    return found


def plural(count: int, word: str) -> str:
    """Returns a number of things."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def duration(seconds: int) -> str:
    """Returns a duration for people."""
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _line(lane: int, settings: Settings) -> str:
    """Returns the queue and the provider of a lane."""
    provider = provider_in(lane)
    queue = next((q.name for q in settings.queue_list if q.number == (lane - NUMBERS[provider]) // 8), "another queue")
    return f"{queue} at {provider}"
