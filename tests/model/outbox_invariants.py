"""What must hold of the outbox after every call, read from the store alone.

Only an evicted job is an excuse: its rows and its entry for files stay behind until a call claims them.
"""

from tests.model.outbox import JOB_EVENTS, wants
from tests.model.state import Model, View

VERBS = ("outbox_claim", "outbox_keep", "outbox_note", "outbox_redeliver", "outbox_release")
OF_EVENTS = ("s:", "n:", "l:")
OF_FILES = ("files", "storing", "turn", "hold_until", "kept_at", "notified_at")
Fields = dict[str, str]


def hold(view: View, orphans: set[str]) -> None:
    """Every pending event and file has its entry, and no other entry exists."""
    due_lanes = {name for name, score in view.outbox.items() if score >= 0}
    storing = {name for name, score in view.outbox.items() if score < 0}
    assert set(view.lanes) <= due_lanes, "a lane has rows, and is not due"
    for lane, rows in view.lanes.items():
        for event, name in (row.split("|") for row in rows):
            holder = holder_of(view, event, name)
            is_pending = holder.get(f"s:{event}") == "pending" and holder["hook_lane"] == lane
            assert is_pending or name in orphans, f"{event} of {name} has a row, and is not pending"
    wanted = {name for name, job in view.jobs.items() if job.get("storing") == "1"}
    assert wanted <= storing, f"the outbox has no entry for the files of {wanted - storing}"
    assert storing - wanted <= orphans, "files would be stored that are not to be"
    for name, job in view.jobs.items():
        _job(name, job, view)
    for event, name in (row.split("|") for row in view.undelivered):
        state = holder_of(view, event, name).get(f"s:{event}")
        assert state in ("failed", "disabled") or name in orphans, f"{event} of {name} counts as undelivered: {state}"
    for name, batch in view.batches.items():
        _batch(name, batch, view)
    for lane in view.hosts:
        assert view.has_ttl[lane], f"what is known of {lane} stays for ever"


def holder_of(view: View, event: str, name: str) -> Fields:
    return (view.batches if event.startswith("batch") else view.jobs).get(name, {})


def _batch(name: str, batch: Fields, view: View) -> None:
    """Each end of a batch has its own event; a batch ends with its last job."""
    assert ("ended_at" in batch) == (not view.queues.get(name)), f"{name} has ended, and lives"
    assert view.has_ttl[name] == ("ended_at" in batch), f"{name} has a TTL, or lacks one"
    latest = f"batch{batch.get('rounds', '')}"
    if wants(batch, "batch"):
        assert (f"s:{latest}" in batch) == ("ended_at" in batch), f"{latest} of {name} is lost, or has not happened"
    for event in [part[2:] for part in batch if part.startswith("s:")]:
        assert wants(batch, event), f"{event} of {name} was not asked for"
        if batch[f"s:{event}"] == "pending":
            assert f"{event}|{name}" in view.lanes.get(batch["hook_lane"], {}), (
                f"{event} of {name} is pending, and lost"
            )


def _job(name: str, job: Fields, view: View) -> None:
    for event in JOB_EVENTS:
        state = job.get(f"s:{event}")
        if state is None:
            assert not (wants(job, event) and has_happened(job, event)), f"{event} of {name} is lost"
            continue
        assert wants(job, event), f"{event} of {name} was not asked for"
        assert has_happened(job, event), f"{event} of {name} has not happened"
        if state == "pending":
            assert f"{event}|{name}" in view.lanes.get(job["hook_lane"], {}), f"{event} of {name} is pending, and lost"
    if not job.get("hook_lane"):
        assert not any(part.startswith(OF_EVENTS) for part in job), f"{name} has no hook and knows of events"
    if "files" not in job:
        assert not set(OF_FILES) & set(job), f"{name} has no files and stores them"


def has_happened(job: Fields, event: str) -> bool:
    if event == "processing":
        return "started_at" in job
    is_stored, is_early = job.get("storing") != "1", "notified_at" in job
    if event == "files":
        return is_early and is_stored
    return job["state"] == "done" and job["outcome"] == event and (is_stored or is_early)


def follow(verb: str, before: View, after: View) -> None:
    """A delivered event stays so unless it is redelivered; the outbox' verbs move no job."""
    for name in () if verb == "outbox_redeliver" else before.jobs.keys() & after.jobs.keys():
        _states(verb, name, before.jobs[name], after.jobs[name])
    if verb in VERBS:
        for part in ("index", "sets", "runs", "owners", "dead"):
            assert getattr(before, part) == getattr(after, part), f"{verb} changed the {part}"
        assert set(before.jobs) == set(after.jobs), f"{verb} made or removed a job"
        for name, job in after.jobs.items():
            assert ordinary(job) == ordinary(before.jobs[name]), f"{verb} changed {name}"
    elif verb != "delete":
        storing = {name for name, job in before.jobs.items() if job.get("storing") == "1" and name in after.jobs}
        moved = [name for name in storing if after.outbox[name] != before.outbox[name]]
        assert not moved, f"{verb} moved the storing of {moved}"


def _states(verb: str, name: str, old: Fields, job: Fields) -> None:
    for event in JOB_EVENTS:
        was, now = old.get(f"s:{event}"), job.get(f"s:{event}")
        tries = int(job.get(f"n:{event}", 0)) - int(old.get(f"n:{event}", 0))
        if was is not None:
            assert was == now or (verb == "outbox_note" and was != "delivered"), f"{verb} made {event} {now} of {was}"
            assert was in ("pending", now) or now == "delivered", f"{event} of {name} is pending again"
            assert tries in (0, 1), f"{event} of {name} has {tries} more tries"


def ordinary(job: Fields) -> Fields:
    """The job without what the outbox notes in it."""
    return {part: value for part, value in job.items() if part not in OF_FILES and not part.startswith(OF_EVENTS)}


def relax(model: Model) -> None:
    """Takes back the excuses that are no longer needed."""
    rows = [*model.undelivered, *(row for rows in model.lanes.values() for row in rows)]
    model.relaxed.orphans &= {*model.outbox, *(row.partition("|")[2] for row in rows)}
