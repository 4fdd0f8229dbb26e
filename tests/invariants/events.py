"""I6: a wanted event waits in the outbox until its owner has received it, and is true when it is sent."""

import re
from collections.abc import Iterator, Mapping

from tests.invariants.state import SLACK, Limits, Outside, State

Fields = Mapping[str, str]
MAX_WAIT = 1.1 * 86_400_000  # ms; the last step of the ladder, with its jitter
OUTCOMES = ("completed", "failed", "canceled")


def events(before: State, state: State, now: int, limits: Limits, outside: Outside) -> Iterator[str]:
    for known, holders in ((before.jobs, state.jobs), (before.batches, state.batches)):
        for holder, fields in holders.items():
            is_changed = known.get(holder) is not fields
            if is_changed or fields.get("hook_lane"):
                yield from _events(state, holder, fields, outside)
            if is_changed:
                yield from _forgotten(known.get(holder, {}), holder, fields)
    if state.outbox or state.rows:
        for lane, rows in state.rows.items():
            yield from _rows(state, lane, rows, now)
        yield from _lanes(state, now, limits)


def happened(fields: Fields) -> list[str]:
    """Returns the past events of a job or batch that its owner wants."""
    if not fields.get("hook_lane"):
        return []
    if "policy" in fields and "state" not in fields:
        rounds = int(fields.get("rounds", "0"))
        # A batch that ended before a retry has had that end's event too.
        names = [f"batch{n or ''}" for n in range(rounds)] if "ended_at" in fields else []
        names = [name for name in names if f"s:{name}" in fields]
        names += [f"batch{rounds or ''}"] if "ended_at" in fields else []
    else:
        names = ["processing"] if fields.get("started_at") else []
        names += [fields["outcome"]] if fields["state"] == "done" else []
        names += ["files"] if "notified_at" in fields and fields["storing"] == "0" else []
    return [name for name in names if _kind(name) in fields["hook_events"].split(",")]


def _kind(event: str) -> str:
    return event.rstrip("0123456789")


def _events(state: State, holder: str, fields: Fields, outside: Outside) -> Iterator[str]:
    known = {name[2:]: value for name, value in fields.items() if name[:2] == "s:"}
    wanted = happened(fields)
    for event in wanted:
        if event in known:
            yield from _event(state, f"{event}|{holder}", known[event], fields, outside)
        elif event != "completed" or fields.get("storing") != "1" or "notified_at" in fields:
            yield f"I6 the outbox has no row for {event} of {holder}"
    for event in known.keys() - set(wanted):
        if _kind(event) != "batch" or "ended_at" in fields:  # else the batch was retried since
            yield f"I6 {event} of {holder} is {known[event]}, but it did not happen or is not wanted"
    if fields.get("storing") == "1" and "completed" in known and "notified_at" not in fields:
        yield f"I6 the completion of {holder} is in line while its files are pending"


def _event(state: State, row: str, status: str, fields: Fields, outside: Outside) -> Iterator[str]:
    """An event has a row only while it is pending. Its last status agrees with the endpoint or the operator's list."""
    is_in_line = row in state.rows.get(fields["hook_lane"], {})
    if is_in_line != (status == "pending"):
        yield f"I6 {row} is {status} and {'still' if is_in_line else 'not'} in line"
    if status == "delivered" and not outside.received.get(row):
        yield f"I6 {row} counts as delivered, but no endpoint has received it"
    if status == "failed" and row not in state.undelivered:
        yield f"I6 {row} was given up, but the operator's list does not have it"


def undelivered(state: State, outside: Outside, *, is_reachable: bool) -> Iterator[str]:
    """Finds undelivered events once the system is idle."""
    if state.outbox or state.rows:
        yield f"I6 every job ended, but the outbox has rows: {state.outbox}, {state.rows}"
    ways = ("delivered",) if is_reachable else ("delivered", "failed", "disabled")
    for holder, fields in {**state.jobs, **state.batches}.items():
        for event in happened(fields):
            status = fields.get(f"s:{event}")
            if status not in ways or (is_reachable and not outside.received.get(f"{event}|{holder}")):
                yield f"I6 {event} of {holder} is {status} at the end"


def _forgotten(known: Fields, holder: str, fields: Fields) -> Iterator[str]:
    """A delivered event stays delivered, unless its owner requests it again: then its tries start at 0."""
    for name, value in known.items():
        if name[:2] == "s:" and value == "delivered" != fields.get(name) and fields.get(f"n:{name[2:]}") != "0":
            yield f"I6 {name[2:]} of {holder} was delivered, but is {fields.get(name)}"


def _rows(state: State, lane: str, rows: Mapping[str, float], now: int) -> Iterator[str]:
    """Each row is a pending event in its owner's lane, and is due in time."""
    for row, due in rows.items():
        event, _, holder = row.partition("|")
        fields = (state.batches if event.startswith("batch") else state.jobs).get(holder)
        if fields is None:
            yield f"I6 {row} is in line, but its job or batch does not exist"
        elif fields.get(f"s:{event}") != "pending" or fields["hook_lane"] != lane:
            yield f"I6 {row} is {fields.get(f's:{event}')} and in {lane}, not {fields['hook_lane']}"
        if due > now + MAX_WAIT:
            yield f"I10 {row} is not due for {(due - now) / 1000:.0f} s"


def _lanes(state: State, now: int, limits: Limits) -> Iterator[str]:
    """Each row is looked at in time: when it is due, when its host's pause ends, or when a lease on its lane lapses.

    Exception: a lane whose last row went with a deleted job is corrected when it is claimed.
    """
    for lane, rows in state.rows.items():
        left_alone = float(state.hosts.get(lane, {}).get("until", 0))
        latest = max(min(rows.values()), left_alone, now + limits.lease) + SLACK
        if rows and lane not in state.lanes:
            yield f"I6 {sorted(rows)} wait in {lane}, which has no row in the outbox"
        elif rows and state.lanes[lane] > latest:
            yield f"I10 {lane} is due {(state.lanes[lane] - latest) / 1000:.0f} s too late"
    for lane in state.lanes.keys() - state.rows.keys():
        if not re.fullmatch(r"[^:]+:[0-9a-f]{12}", lane):
            yield f"I6 the outbox has {lane}, which is no lane"
        elif not state.deleted:
            yield f"I6 the outbox has {lane}, which is empty"
