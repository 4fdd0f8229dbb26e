"""Formats the report of a run."""

from collections import Counter
from collections.abc import Iterator

from tests.soak.checks import Tallies
from tests.soak.deployment import MAX_CONCURRENT_TASKS, MAX_USER_TASKS, QUEUES
from tests.soak.run import Run
from tests.soak.verdict import Verdict
from tests.soak.waits import Waits
from tests.soak.watching import Watched

WIDTH = 22
NAMES = ("p50", "p95", "max")


def lines(run: Run, verdict: Verdict, tallies: Tallies, waits: Waits, watched: Watched) -> Iterator[str]:
    """Yields the lines of the report."""
    yield ""
    yield from _row_by_row(_sets(run, verdict))
    yield ""
    yield from _row_by_row(_counts(run, tallies))
    yield from _row_by_row({"innocent waits": _waits(waits)})
    yield from _row_by_row(_polls(run, watched))
    yield ""
    yield f"{'answers':{WIDTH}}{_listed(run.answers)}"
    yield f"{'waited for':{WIDTH}}{_listed(run.reasons)}"
    yield f"{'logged':{WIDTH}}{_listed(run.evidence.events)}"
    yield ""
    yield from (f"  {objection}" for objection in verdict.objections)
    yield f"{'VALID' if verdict.is_valid else 'INVALID'}  (seed {run.options.seed})"


def comparison(without: Waits, with_guilty: Waits) -> Iterator[str]:
    """Yields the waits of innocent jobs in both runs, and their ratios."""
    yield from _row_by_row({"waits without": _waits(without), "waits with": _waits(with_guilty)})
    ratios = (
        f"{name} {b / a:.2f}" if a else f"{name} -"
        for name, a, b in zip(NAMES, without.row, with_guilty.row, strict=True)
    )
    yield from _row_by_row({"ratio": ", ".join(ratios)})


def _waits(waits: Waits) -> str:
    return f"{_figures(waits)} of {len(waits.sorted)} innocent jobs"


def _figures(waits: Waits) -> str:
    return ", ".join(f"{name} {wait:.2f} s" for name, wait in zip(NAMES, waits.row, strict=True))


def _polls(run: Run, watched: Watched) -> dict[str, str]:
    """The commands and questions are those of the whole run: what it costs without pollers is to be taken off."""
    commands, asked, pollers = run.evidence.commands, run.evidence.census.asked, run.options.pollers
    share = f"; {commands / pollers:.0f} and {asked / pollers:.1f} a poller" if pollers else ""
    return {
        "polls": f"{watched.polls} of {watched.jobs} jobs by {pollers} pollers and the jobs' users: "
        f"{watched.not_modified} answered 304, {watched.refused} 503, {watched.lost} lost",
        "ends seen": f"{_figures(watched.delays)} after {len(watched.delays.sorted)} ends",
        "cost": f"{commands} commands, {asked} questions to the provider{share}",
    }


def _sets(run: Run, verdict: Verdict) -> dict[str, str]:
    never = sum(not each.is_acknowledged and each.work.job_id in verdict.recovered for each in run.observed)
    return {
        "attempted": f"{len(verdict.attempted)}",
        "acknowledged": f"{len(verdict.acknowledged)}",
        "ok": f"{len(verdict.ok)}",
        "wrong": f"{len(verdict.wrong)}",
        "lost": f"{len(verdict.lost)}",
        "unexpected": f"{len(verdict.unexpected)}",
        "duplicated": f"{len(verdict.duplicated)}",
        "recovered": f"{len(verdict.recovered)}, {never} of them never acknowledged",
    }


def _counts(run: Run, tallies: Tallies) -> dict[str, str]:
    t, census, nemesis = tallies, run.evidence.census, run.nemesis
    ended = run.evidence.counters
    busiest = max((most for label, most in census.max_running.items() if label.startswith("user:")), default=0)
    by_queue = ", ".join(f"{name} {census.max_running.get(f'queue:{name}', 0)} of {QUEUES[name]}" for name in QUEUES)
    settled = "never" if run.settled_after is None else f"{run.settled_after:.1f} s after the last fault"
    return {
        "ended": ", ".join(f"{ended.get(name, 0)} {name}" for name in ("completed", "failed", "canceled")),
        "unknown outcomes": f"{t.unknown}, of which {t.reported} reported by a webhook or a slow function",
        "adopted": f"{t.adopted} by the provider's list",
        "missed": f"{t.missed} in two complete lists",
        "rescued": f"{t.rescued} after their adoption window",
        "resubmitted": f"{t.resubmitted} after a lost submission, {t.retried} after a failure, {t.snoozed} snoozed",
        "paid twice": f"{t.paid_twice}, at most {t.rescues}",
        "most running": f"{census.max_running_total} of {MAX_CONCURRENT_TASKS} ({by_queue}; "
        f"one user {busiest} of {MAX_USER_TASKS})",
        "webhooks": f"{t.webhooks_lost} lost, {t.webhooks_twice} twice, {t.webhooks_late} late, "
        f"{t.webhooks_overtaking} overtaking",
        "instances": f"{nemesis.kills} killed, {nemesis.freezes} frozen",
        "guilty": _guilty(run),
        "store faults": _listed(nemesis.store_faults),
        "settled": f"{settled}, at most {run.settle_limit:.0f} s",
        "jobs per second": f"{len(run.evidence.jobs) / run.elapsed:.1f} in {run.elapsed:.0f} s",
    }


def _guilty(run: Run) -> str:
    jobs = [each.work for each in run.observed if each.work.is_guilty and each.is_acknowledged]
    by_mode = Counter(work.mode.name for work in jobs)
    return f"{_listed(by_mode)}; {run.nemesis.storms} storms of 5xx"


def _row_by_row(rows: dict[str, str]) -> Iterator[str]:
    return (f"{name:{WIDTH}}{text}" for name, text in rows.items())


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count) or "none"
