"""I6 of files: a completed job's files are whole in the bucket, or the outbox has its row."""

import json
from collections.abc import Iterator
from typing import Any

from tests.invariants.state import SLACK, JobFields, Limits, Object, Outside, State

File = dict[str, Any]
MAX_RETRY = 300_000  # ms


def files(before: State, after: State, now: int, limits: Limits, outside: Outside) -> Iterator[str]:
    for job_id, at in after.storing.items():
        if after.jobs.get(job_id, {}).get("storing") != "1":
            yield f"I6 the outbox has {job_id}, which has no files to store"
        if at > now + max(limits.lease, MAX_RETRY) + SLACK:
            yield f"I10 the files of {job_id} are not looked at for {(at - now) / 1000:.0f} s"
    for job_id, job in after.jobs.items():
        if "files" in job:
            known = before.jobs.get(job_id, {})
            if (
                int(job.get("turn", 0)) > int(known.get("turn", 0))
                and after.storing.get(job_id, 0) < now + limits.lease - SLACK
            ):
                yield f"I3 turn {job.get('turn')} at the files of {job_id} does not lease them"
            yield from _states(after, job_id, job, json.loads(known.get("files", "[]")), outside)


def _states(state: State, job_id: str, job: JobFields, known: list[File], outside: Outside) -> Iterator[str]:
    """A job has pending files exactly as long as its row is in the outbox. Then its files agree with the bucket."""
    files: list[File] = json.loads(job["files"])
    states = [file["state"] for file in files]
    if job["state"] != "done" or job["outcome"] != "completed":
        yield f"I6 {job_id} is {job['state']} but has files"
    if len({job.get("storing") == "1", "pending" in states, job_id in state.storing}) > 1:
        yield f"I6 {job_id} has files {states}, storing is {job.get('storing')}, its row {state.storing.get(job_id)}"
    for n, file in enumerate(files):
        is_here = file["state"] == "stored" and job_id not in outside.erasing  # an erasure deletes the files first
        if is_here and outside.objects.get(file["key"]) != Object(file["size"], file["sha256"]):
            yield f"I6 file {n} of {job_id} is not what the bucket has as {file['key']}"
        if known and known[n]["state"] != "pending" and known[n] != file:
            yield f"I2 file {n} of {job_id} was {known[n]['state']} but has changed"


def referred(state: State) -> set[str]:
    """Returns the keys of all files that jobs name."""
    return {file["key"] for job in state.jobs.values() for file in json.loads(job.get("files", "[]")) if "key" in file}
