"""Judges a run in the words of Jepsen's queue checker."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.client import Observed
from tests.soak.deployment import MAX_CONCURRENT_TASKS, MAX_RESCUES, MAX_RETRIES, limits
from tests.soak.evidence import Evidence


@dataclass
class Verdict:
    """The checker's sets of job ids, and the reasons why the run is not valid."""

    attempted: set[str]
    acknowledged: set[str]
    ok: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    unexpected: set[str] = field(default_factory=set)
    duplicated: dict[str, str] = field(default_factory=dict)
    recovered: set[str] = field(default_factory=set)
    objections: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether there is no objection to the run."""
        return not self.objections


def judge(observed: Sequence[Observed], evidence: Evidence) -> Verdict:
    """Classifies every job. checks.py asks what the run as a whole must show."""
    verdict = Verdict(
        attempted={each.work.job_id for each in observed if each.tries},
        acknowledged={each.work.job_id for each in observed if each.is_acknowledged},
    )
    for each in observed:
        job_id = each.work.job_id
        fields = evidence.jobs.get(job_id)
        is_over = fields is not None and fields.get("state") == "done"
        if each.uncertain and is_over:
            verdict.recovered.add(job_id)
        if fields is not None and is_over and (objection := _objection(each, fields)):
            verdict.wrong[job_id] = f"{each.work.mode.name}: {objection}"
        elif each.is_acknowledged:
            # The guilty do not poll: the store has the end of their jobs.
            is_known = bool(each.ends) or each.work.is_guilty
            (verdict.ok if is_over and is_known else verdict.lost).add(job_id)
        if each.ids - {job_id}:
            verdict.duplicated[job_id] = f"one key, but the ids {sorted(each.ids)}"
    verdict.unexpected = evidence.jobs.keys() - verdict.attempted
    _find_duplicates(observed, evidence, verdict)
    _find_overruns(evidence, verdict)
    for name in ("lost", "unexpected", "wrong", "duplicated"):
        if found := getattr(verdict, name):
            verdict.objections.append(f"{len(found)} {name}: {sorted(found)[:5]}")
    verdict.objections += [f"{job}: {why}" for job, why in {**verdict.wrong, **verdict.duplicated}.items()][:20]
    return verdict


def is_used_up(fields: dict[str, str]) -> bool:
    """Whether a job may be given up: its attempts are used up, or too many of its submissions were lost."""
    used = int(fields["attempt"]) - int(fields.get("snoozes", "0"))
    return used > MAX_RETRIES or int(fields.get("rescues", "0")) >= MAX_RESCUES


def _objection(observed: Observed, fields: dict[str, str]) -> str:
    """Returns why this job's end is wrong; '' if it is right."""
    outcome, code = fields["outcome"], fields.get("error_code", "")
    if any(status != outcome for status, _ in observed.ends):
        return f"its user read {observed.ends}, the store says {outcome}"
    if observed.was_canceled or outcome == "canceled":
        return (
            ""
            if observed.asked_to_cancel and outcome == "canceled"
            else f"{outcome}, but cancelled: {observed.was_canceled}"
        )
    mode = observed.work.mode
    if outcome == "completed":
        return _objection_to_success(observed, fields)
    if code and code in mode.codes:
        return ""
    if fields.get("error_retryable") == "1":
        return "" if is_used_up(fields) else f"failed with {code} and attempts left"
    return f"failed with {code}"


def _objection_to_success(observed: Observed, fields: dict[str, str]) -> str:
    mode = observed.work.mode
    expected = f"A simulated answer to: {observed.work.prompt}"
    if mode.codes or mode.is_hopeless:
        return "completed"
    if fields["output"] != f'"{expected}"' or any(output != expected for _, output in observed.ends):
        return f"completed with {fields['output']}"
    return ""


def _find_duplicates(observed: Sequence[Observed], evidence: Evidence, verdict: Verdict) -> None:
    """Finds more creates than promised: one for each attempt; more than one paid only after rescues."""
    paid: Counter[str] = Counter()
    for (job_id, attempt), predictions in evidence.by_attempt().items():
        if len(predictions) > 1:
            verdict.duplicated[job_id] = f"{len(predictions)} creates for attempt {attempt}"
        if attempt > _number(evidence, job_id, "attempt"):
            verdict.duplicated[job_id] = f"a create for attempt {attempt}, which does not exist"
        paid[job_id] += sum(prediction["status"] == "succeeded" for prediction in predictions)
    for job_id, times in paid.items():
        if times > 1 + (rescues := _number(evidence, job_id, "rescues")):
            verdict.duplicated[job_id] = f"paid {times} times with {rescues} rescues"
    _find_calls_without_an_attempt(observed, evidence, verdict)
    _find_shared_predictions(evidence, verdict)


def _find_calls_without_an_attempt(observed: Sequence[Observed], evidence: Evidence, verdict: Verdict) -> None:
    """Finds create calls beyond the attempts. They have no URL as evidence, so twins share a count by prompt."""
    attempts: Counter[str] = Counter()
    for each in observed:
        attempts[each.work.prompt] += _number(evidence, each.work.job_id, "attempt")
    for work in evidence.census.creates:
        if work.calls > attempts[work.prompt]:
            verdict.duplicated[work.prompt] = f"{work.calls} create calls in {attempts[work.prompt]} attempts"


def _find_shared_predictions(evidence: Evidence, verdict: Verdict) -> None:
    """Finds jobs that share one prediction."""
    jobs: dict[str, str] = {}
    for job_id, fields in evidence.jobs.items():
        if prediction := fields.get("prediction"):
            if other := jobs.get(prediction):
                verdict.duplicated[job_id] = f"has the same prediction as {other}: {prediction}"
            jobs[prediction] = job_id


def _number(evidence: Evidence, job_id: str, name: str) -> int:
    return int(evidence.jobs.get(job_id, {}).get(name, "0"))


def _find_overruns(evidence: Evidence, verdict: Verdict) -> None:
    census = evidence.census
    if census.max_running_total > MAX_CONCURRENT_TASKS:
        verdict.objections.append(f"{census.max_running_total} ran at once, the limit is {MAX_CONCURRENT_TASKS}")
    for label, limit in limits().items():
        if census.max_running.get(label, 0) > limit:
            verdict.objections.append(f"{census.max_running[label]} of {label} ran at once, the limit is {limit}")
