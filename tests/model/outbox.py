"""The follow-ups of a change of state: files to store, events to deliver; and the verbs that work on them."""

import math
from dataclasses import dataclass
from typing import Any

from shared.jobqueue.constants import BAND, FIRST_BACKOFF, HOOK_LEASE, LONG_OVERDUE, MAX_BACKOFF
from tests.model.call import Call
from tests.model.state import Job, Model

MAX_ENTRIES = 30
JOB_EVENTS = ("processing", "completed", "files", "failed", "canceled")


@dataclass(frozen=True)
class Plan:
    """The delivery of an event. Without a lane its URL is gone, and it is not delivered."""

    event: str
    row: str
    lane: str = ""
    due: int = 0
    word: str = ""


def wants(holder: Job | dict[str, str], event: str) -> bool:
    kind = event.rstrip("0123456789")
    return bool(holder.get("hook_lane")) and kind in str(holder["hook_events"]).split(",")


def plan(model: Model, name: str, event: str, now: int, *, is_leased: bool = True) -> Plan | None:
    """The delivery of a job's event; None if its hook does not ask for it."""
    job = model.jobs[name]
    if not wants(job, event):
        return None
    host, row = model.hosts.get(job["hook_lane"], {}), f"{event}|{name}"
    if f"gone:{job['hook_tag']}" in host:
        return Plan(event, row, due=now)
    free_at = max(host.get("until", 0), host.get(f"held:{job['hook_tag']}", 0))
    if is_leased and free_at <= now:
        return Plan(event, row, job["hook_lane"], now + HOOK_LEASE, "probe" if "failures" in host else "tell")
    return Plan(event, row, job["hook_lane"], max(now, free_at), "+")


def post(model: Model, name: str, planned: Plan | None) -> str:
    """Writes a planned event; returns the caller's follow-up."""
    if planned is None:
        return ""
    model.jobs[name][f"s:{planned.event}"] = "pending" if planned.lane else "disabled"
    if not planned.lane:
        model.undelivered[planned.row] = planned.due
        model.counters["undelivered"] += 1
        return ""
    if planned.word == "probe":
        model.hosts[planned.lane]["until"] = planned.due  # no other caller probes it meanwhile
    model.lanes.setdefault(planned.lane, {})[planned.row] = planned.due
    model.outbox[planned.lane] = min(planned.due, model.outbox.get(planned.lane, planned.due))
    return "+" if planned.word == "+" else f"{planned.word}|{planned.row}"


def add_event(model: Model, name: str, event: str, now: int) -> str:
    """Adds an event of a job."""
    return post(model, name, plan(model, name, event, now))


def begin(model: Model, name: str, now: int) -> str:
    """Adds the event of a job's first run; later attempts add none."""
    return "" if "s:processing" in model.jobs[name] else add_event(model, name, "processing", now)


def store_later(model: Model, name: str, due: int) -> str:
    """A job's files are stored before its owner is notified."""
    model.jobs[name].update(storing="1", turn=1)
    model.outbox[name] = due - BAND
    return f"store|{name}"


def place(model: Model, lane: str) -> None:
    """A lane is due when its first row is, and its host is not left alone."""
    rows = model.lanes.get(lane)
    if rows:
        model.outbox[lane] = max(min(rows.values()), model.hosts.get(lane, {}).get("until", 0))
    else:
        model.lanes.pop(lane, None)
        model.outbox.pop(lane, None)


def first(entries: dict[str, int], now: int, most: int) -> list[str]:
    """The names that are due, in the store's order."""
    return sorted((name for name in entries if entries[name] <= now), key=lambda n: (entries[n], n))[:most]


def claim(model: Model, call: Call, reply: Any) -> Any:
    now = call.number("now")
    until = now + call.number("lease")
    only = call["only"]
    storing = {name: score + BAND for name, score in model.outbox.items() if score < 0}
    lanes = {name: score for name, score in model.outbox.items() if score >= 0}
    jobs: list[str] = []
    named = [only] if storing.get(only, now + 1) <= now else []
    for name in named if only else first(storing, now, call.number("most_jobs")):
        job = model.jobs.get(name, {})
        if job.get("storing") == "1":
            job["turn"] += 1
            jobs += [name, str(job["turn"])]
            model.outbox[name] = until - BAND
        else:
            del model.outbox[name]
    handed = []
    for lane in [] if only else first(lanes, now, call.number("most_lanes")):
        failures = model.hosts.get(lane, {}).get("failures", 0)
        waiting, most = model.lanes.get(lane, {}), call.number("rows")
        rows = (
            first(waiting, now - LONG_OVERDUE, most) or first(waiting, now, 1)
            if failures
            else first(waiting, now, most)
        )
        if rows:
            model.lanes[lane] |= dict.fromkeys(rows, until)
            model.outbox[lane] = until
            held = model.hosts.get(lane, {}).get("held", 0)
            handed.append([lane, str(failures), str(held) if held > now else "", *rows])
        else:
            place(model, lane)
    return [jobs, handed]


def keep(model: Model, call: Call, reply: Any) -> Any:
    name, now = call["id"], call.number("now")
    job = model.jobs.get(name, {})
    if job.get("storing") == "0" and job["turn"] == call.number("turn") and not call["retry_at"]:
        return ["kept"]  # a repeat: kept files must not count as refused
    if job.get("storing") != "1" or job["turn"] != call.number("turn"):
        return ["stale"]
    job["files"] = call["files"]
    if call["retry_at"]:
        model.outbox[name] = call.number("retry_at") - BAND
        follow = ""
        if call["is_news"] == "1" and "notified_at" not in job:
            job["notified_at"] = now
            follow = add_event(model, name, "completed", now)
        return ["kept", follow]
    del model.outbox[name]
    job.update(storing="0", kept_at=now)
    for counter, word in (("files_stored", "stored"), ("files_given_up", "given_up")):
        if call[word] != "0":
            model.counters[counter] += call.number(word)
    return ["kept", add_event(model, name, "files" if "notified_at" in job else "completed", now)]


def note(model: Model, call: Call, reply: Any) -> Any:
    name, event, lane, word, now = call["id"], call["event"], call["lane"], call["word"], call.number("now")
    job, row, rows = model.jobs.get(name, {}), f"{event}|{name}", model.lanes.get(lane, {})
    state, tries = job.get(f"s:{event}"), job.get(f"n:{event}", 0)
    if state in (None, "delivered") or (state != "pending" and word != "delivered"):
        is_lost = rows.pop(row, None) is not None and not job
        if is_lost:
            model.counters["undelivered"] += 1
            model.undelivered[row] = now
        place(model, lane)
        return ["lost" if is_lost else "stale"]
    if word != "delivered" and tries != call.number("tries"):
        return ["stale"]
    if word == "held":
        return _hold(model, call, row)
    if word == "retry":
        model.lanes.setdefault(lane, {})[row] = call.number("due")
    else:
        rows.pop(row, None)
    entries = [*str(job.get(f"l:{event}", "")).split("\n"), call["entry"]]
    kept = "\n".join([entry for entry in entries if entry][-MAX_ENTRIES:])
    job.update({f"n:{event}": tries + 1, f"l:{event}": kept, f"s:{event}": "pending" if word == "retry" else word})
    _note_host(model, call)
    place(model, lane)
    if word in ("failed", "disabled"):
        model.counters["undelivered"] += 1
        oldest = now - call.number("lane_ttl") * 1000
        model.undelivered = {name: at for name, at in {**model.undelivered, row: now}.items() if at > oldest}
    elif word == "delivered":
        model.undelivered.pop(row, None)
    return ["noted"]


def _hold(model: Model, call: Call, row: str) -> Any:
    """An event whose URL gets nothing yet is put off, and nothing else changes."""
    model.lanes.setdefault(call["lane"], {})[row] = call.number("due")
    place(model, call["lane"])
    return ["noted"]


def _note_host(model: Model, call: Call) -> None:
    """The effect of an answer on its host."""
    host = model.hosts.setdefault(call["lane"], {})
    if call["pause"]:
        failures = host.get("failures", 0)
        pause = min(FIRST_BACKOFF * 2 ** min(failures, 20), MAX_BACKOFF) * (1 + float(call["jitter"]) / 2)
        now, asked = call.number("now"), call.number("pause")
        if asked > MAX_BACKOFF:
            host.update({f"held:{call['tag']}": now + asked, "held": max(now + asked, host.get("held", 0))})
            asked = 0
        free_at = now + max(math.floor(pause), asked)
        host.update(failures=failures + 1, until=free_at)
    elif call["was_failing"] == "1":
        host.pop("failures", None)
        host.pop("until", None)
    if call["word"] == "disabled":
        host[f"gone:{call['tag']}"] = call.number("now")


def redeliver(model: Model, call: Call, reply: Any) -> Any:
    name, event, now = call["id"], call["event"], call.number("now")
    job = model.jobs.get(name)
    if not job or job["owner"] != call["owner"]:
        return ["not_found"]
    if f"s:{event}" not in job:
        return ["no_event"]
    lane, row, due = job["hook_lane"], f"{event}|{name}", now + HOOK_LEASE
    model.undelivered.pop(row, None)
    for kept in ("gone", "held"):
        model.hosts.get(lane, {}).pop(f"{kept}:{job['hook_tag']}", None)
    job.update({f"s:{event}": "pending", f"n:{event}": 0})
    model.lanes.setdefault(lane, {})[row] = due
    model.outbox[lane] = min(due, model.outbox.get(lane, due))
    return ["queued"]


def restore(model: Model, call: Call, reply: Any) -> Any:
    """Restores only what an eviction has lost; this machine evicts nothing of the outbox."""
    job = model.jobs.get(call["id"], {})
    if call["lane"]:
        if call["lane"] in model.outbox:
            return ["in_place"]
        place(model, call["lane"])
        return ["restored" if call["lane"] in model.outbox else "in_place"]
    if job.get("storing") != "1" or call["id"] in model.outbox:
        return ["in_place"]
    model.outbox[call["id"]] = call.number("now") - BAND
    return ["restored"]


def release(model: Model, call: Call, reply: Any) -> Any:
    released, now = 0, call.number("now")
    for given in call.rest:
        what, name, fence = given.split("|")
        job, row = model.jobs.get(name, {}), f"{what}|{name}"
        if what == "store":
            if job.get("storing") == "1" and str(job["turn"]) == fence:
                model.outbox[name] = now - BAND
                released += 1
        elif row in (rows := model.lanes.get(job.get("hook_lane", ""), {})) and rows[row] <= int(fence):
            rows[row] = min(now, int(fence))
            place(model, job["hook_lane"])
            released += 1
    return released


def delete(model: Model, call: Call, reply: Any) -> Any:
    name, job = call["id"], model.jobs.get(call["id"])
    if not job or job["owner"] != call["owner"]:
        return ["not_found"]
    if job["state"] != "done":
        return ["not_terminal"]
    if call["hold_until"] and job.get("files"):
        if job.get("storing") == "1":
            # The process that copies them has lost its turn.
            model.outbox[name] = call.number("hold_until") - BAND
            job["turn"] += job.get("hold_until") != call["hold_until"]
            job["hold_until"] = call["hold_until"]
        return ["held", job["user"], reply[2]]
    model.index.pop(f"@{job['owner']}:{job['user']}|{name}", None)
    model.dead.discard(name)
    if job.get("storing") == "1":
        model.outbox.pop(name, None)
    for event in JOB_EVENTS if job.get("hook_lane") else ():
        model.lanes.get(job["hook_lane"], {}).pop(f"{event}|{name}", None)
        model.undelivered.pop(f"{event}|{name}", None)
    del model.jobs[name]
    return ["deleted"]
