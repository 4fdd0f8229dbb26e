"""The errors of silences, as callers get them."""

from shared.alerts.silences import MAX_SILENCES
from shared.errors import FixedProblem, StateConflict


class SilenceNotFound(FixedProblem):
    """No such silence, or it has ended."""

    code = "silence_not_found"
    http_status = 404
    title = "No such silence"
    reason = "There is no silence with this id, or it has ended."


class TooManySilences(StateConflict):
    """No further silence fits."""

    code = "too_many_silences"
    title = "Too many silences"
    reason = f"There are {MAX_SILENCES} silences. Lift one first."
