"""Checks of the run as a whole: a clean store, true counters, every way out taken."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from shared.sums import parts
from tests.soak.deployment import CLEAN_COUNTERS
from tests.soak.evidence import OVER, Evidence


@dataclass(frozen=True)
class Tallies:
    """Counts of the events that the soak is about."""

    unknown: int  # submissions whose outcome was not known
    reported: int  # of these: brought by a webhook, or by a slow function
    adopted: int  # of these: found in the provider's list
    missed: int  # of these: two complete lists did not have them
    rescued: int  # of these: given up after their adoption window
    overtaken: int  # of these: an earlier attempt ended the job before this was known
    resubmitted: int  # attempts that followed one that was missed or rescued
    retried: int
    snoozed: int
    webhooks_lost: int  # predictions without an accepted webhook
    webhooks_twice: int
    webhooks_late: int
    webhooks_overtaking: int
    paid_twice: int  # successes beyond a job's first
    rescues: int  # of all jobs: the bound of paid_twice


GIVEN_UP = ("provider_down", "submission_unknown")  # in a job's history, without a prediction


def tally(evidence: Evidence) -> Tallies:
    """Counts what the evidence shows."""
    jobs, counters = evidence.jobs.values(), evidence.counters
    taken = [sum((d["status_code"] or 599) < 400 for d in each["deliveries"]) for each in evidence.predictions]
    behaviours = [str(each["behaviour"]["webhook"]) for each in evidence.predictions]
    succeeded: Counter[str] = Counter()
    for (job_id, _), predictions in evidence.by_attempt().items():
        succeeded[job_id] += sum(each["status"] == "succeeded" for each in predictions)
    rescues = [int(fields.get("rescues", "0")) for fields in jobs]
    return Tallies(
        unknown=counters.get("unknown", 0),
        reported=counters.get("reported", 0),
        adopted=counters.get("adopted", 0),
        missed=counters.get("missed", 0),
        rescued=counters.get("rescued", 0),
        overtaken=sum(_is_overtaken(fields) for fields in jobs),
        resubmitted=_resubmitted(evidence),
        retried=counters.get("retried", 0),
        snoozed=counters.get("snoozed", 0),
        webhooks_lost=taken.count(0),
        webhooks_twice=sum(count > 1 for count in taken),
        webhooks_late=sum(name in ("delay", "late") for name in behaviours),
        webhooks_overtaking=behaviours.count("overtake"),
        paid_twice=sum(count - 1 for count in succeeded.values() if count > 1),
        rescues=sum(rescues),
    )


def _is_overtaken(fields: dict[str, str]) -> bool:
    attempt = fields.get("attempt")
    return fields.get("lost") == attempt and fields.get("finished_attempt", attempt) != attempt


def _resubmitted(evidence: Evidence) -> int:
    """Returns how many submissions of unknown outcome were given up and followed by another attempt."""
    found = 0
    for fields in evidence.jobs.values():
        attempts = json.loads(f"[{fields.get('history', '')}]")
        given_up = [each["attempt"] for each in attempts if each["code"] in GIVEN_UP and not each["prediction"]]
        found += sum(attempt < int(fields["attempt"]) for attempt in given_up)
    return found


def objections(evidence: Evidence, tallies: Tallies) -> Iterator[str]:
    """Yields each reason why the run is not valid, as a sentence."""
    yield from _unclean(evidence)
    yield from _false_counters(evidence)
    yield from false_sums(evidence)
    running = [each["id"] for each in evidence.predictions if each["status"] not in OVER]
    if running:
        yield f"{len(running)} predictions still run, but no job is live"
    refused = Counter(d["status_code"] for each in evidence.predictions for d in each["deliveries"])
    for status in (400, 401, 404, 422, 500):
        if refused[status]:
            yield f"{refused[status]} genuine webhooks were answered {status}"
    if tallies.paid_twice > tallies.rescues:
        yield f"{tallies.paid_twice} extra payments, with {tallies.rescues} rescues"
    settled = tallies.reported + tallies.adopted + tallies.missed + tallies.rescued + tallies.overtaken
    if tallies.unknown > settled:
        yield f"{tallies.unknown} submissions were of unknown outcome, and {settled} are accounted for"
    # Lists settle most: in a short run none may be left for the end of its adoption window.
    for name in ("adopted", "missed", "resubmitted"):
        if not getattr(tallies, name):
            yield f"no job was {name}: the run does not prove that path"


def false_sums(evidence: Evidence) -> Iterator[str]:
    """Yields where the deployment's own statistics are not what its jobs say; no script stopped, so nothing is lost."""
    jobs, sums = list(evidence.jobs.values()), evidence.sums.grouped("").get("", {})
    expected = Counter({"accepted": len(jobs)})
    for fields in jobs:
        outcome = fields.get("outcome", "")
        expected[f"failed.{fields.get('error_code')}" if outcome == "failed" else outcome] += 1
        expected["started"] += int(fields.get("attempt", "0"))
        expected["put_off"] += int(fields.get("snoozes", "0"))
        expected["given_up"] += int(fields.get("rescues", "0"))
    found = {name: number for name, number in sums.items() if name in expected or name.startswith("failed.")}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name, 0) != expected[name]:
            yield f"the statistics have {name} {found.get(name, 0)} times instead of {expected[name]}"
    ended = sums.get("completed", 0) + sums.get("canceled", 0) + sum(parts(sums, "failed").values())
    if sums.get("accepted", 0) != ended + evidence.live:
        yield f"of {sums.get('accepted', 0)} accepted jobs {ended} have ended and {evidence.live} are live"


def _unclean(evidence: Evidence) -> Iterator[str]:
    if evidence.live:
        yield f"{evidence.live} jobs are still in the index"
    if evidence.alarmed:
        yield f"{evidence.alarmed} alarms are still in the index"
    if evidence.users:
        yield f"users' sets are left: {evidence.users[:5]}"
    if evidence.lasting:
        yield f"keys without a TTL: {evidence.lasting[:5]}"
    alive = [job_id for job_id, fields in evidence.jobs.items() if fields.get("state") != "done"]
    if alive:
        yield f"{len(alive)} jobs are not over: {alive[:5]}"


def _false_counters(evidence: Evidence) -> Iterator[str]:
    jobs, counters = list(evidence.jobs.values()), evidence.counters
    ends = Counter(fields.get("outcome", "") for fields in jobs)
    true = {name: ends[name] for name in ("completed", "failed", "canceled")}
    true["snoozed"] = sum(int(fields.get("snoozes", "0")) for fields in jobs)
    true |= dict.fromkeys(CLEAN_COUNTERS, 0)
    for name, expected in true.items():
        if counters.get(name, 0) != expected:
            yield f"the counter {name} is {counters.get(name, 0)} instead of {expected}"
    given_up = sum(
        fields.get("error_retryable") == "1" or fields.get("error_code") == "provider_refused"
        for fields in jobs
        # What has expired may follow a failure that set error_retryable.
        if fields.get("outcome") == "failed" and fields.get("error_code") != "expired"
    )
    if evidence.dead != given_up:
        yield f"{evidence.dead} dead letters for {given_up} jobs given up"
