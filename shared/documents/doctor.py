"""What the doctor says: ``GET`` and ``POST /api/operate/doctor``."""

from typing import Literal, TypedDict

from shared.json_value import Json

Severity = Literal["error", "warning", "notice"]
Outcome = Literal["well", "found", "undetermined"]


class Finding(TypedDict):
    """Something that is wrong: with what, what shows it, and what to do.

    ``subject`` names a job, user, batch, delivery lane, gate, key or setting, and its kind. ``healed`` is null where
    nothing was tried: no fix was asked for, or there is none.
    """

    code: str
    severity: Severity
    kind: str
    subject: str
    evidence: dict[str, Json]
    text: str
    advice: str
    can_heal: bool
    healed: bool | None


class CheckReport(TypedDict):
    """What one check found. ``undetermined``: what it could not find out, in sentences. ``figures``: what it saw."""

    name: str
    outcome: Outcome
    findings: list[Finding]
    undetermined: list[str]
    figures: dict[str, Json]
    milliseconds: int


class DoctorReport(TypedDict):
    """What the doctor found, check by check. A ``next_cursor`` means that jobs or keys are left to look at.

    ``status`` is then `unfinished`, if nothing was found so far.
    """

    status: Literal["well", "found", "unfinished"]
    found: int
    healed: int
    checks: list[CheckReport]
    stopped_by: Literal["out_of_time", "limit"] | None
    next_cursor: str | None
