"""Makes a reply of what a script answered, as its header says.

name, text                str
count, moment, number     int
seconds                   float
flag                      bool
provider                  a provider's name; in Lua its lane's number
names, names...           tuple of str
values                    tuple of str and None
numbers                   tuple of int
pairs, counts             dict of str, or of int, by name
rows, row                 a tuple of replies; one reply, or None if it is empty
any of them with a ?      None for ''
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.errors import StoreScriptError
from shared.jobqueue.header import Form, Part
from shared.jobqueue.reads import (
    BatchRead,
    Counted,
    Explained,
    Facts,
    Gates,
    GivenUp,
    JobsBrowsed,
    JobsRead,
    LettersRead,
    ListedJob,
    ListedLetter,
    Outlook,
    ProviderPause,
    Undelivered,
    UserLimits,
)
from shared.jobqueue.replies import (
    Admitted,
    Adopted,
    BatchCanceled,
    Canceled,
    Claim,
    Claimed,
    Created,
    Done,
    Ended,
    Forgotten,
    Kept,
    LaneRows,
    Late,
    OutboxClaim,
    Overdue,
    Reclaimed,
    Recorded,
    Refusal,
    Rehomed,
    Released,
    Remains,
    Reply,
    Retried,
    Trimmed,
)
from shared.jobqueue.script import Script
from shared.jobqueue.terms import provider_in

# By verb: the classes of its forms. Words differ between the classes of one verb.
Forms = Mapping[str, tuple[type[Reply], ...]]
FORMS: Forms = {
    "enqueue": (Admitted, Refusal, Late),
    "claim": (Claim,),
    "record": (Recorded,),
    "finish": (Ended,),
    "fail": (Ended,),
    "snooze": (Ended,),
    "cancel": (Canceled, Refusal),
    "rescue": (Ended,),
    "expire": (Ended,),
    "trip": (Done,),
    "check": (Overdue, Done),
    "progress": (Done,),
    "adopt": (Adopted,),
    "rehome": (Rehomed,),
    "forget_runs": (Forgotten,),
    "explain": (Explained,),
    "reprioritize": (Done, Refusal),
    "limit": (Gates,),
    "limit_user": (Done,),
    "stats": (Counted,),
    "health": (Facts,),
    "batch_create": (Created, Refusal, Late),
    "batch_read": (BatchRead,),
    "batch_cancel": (BatchCanceled, Refusal),
    "batch_retry": (Retried, Refusal),
    "list": (JobsRead,),
    "letters": (LettersRead,),
    "browse": (JobsBrowsed,),
    "user_limits": (UserLimits,),
    "redrive": (Done,),
    "delete": (Kept, Done, Refusal),
    "trim": (Trimmed,),
    "erase": (Remains,),
    "forget_gone": (Done,),
    "outbox_claim": (OutboxClaim,),
    "outbox_keep": (Done,),
    "outbox_note": (Done,),
    "outbox_redeliver": (Done, Refusal),
    "outbox_undelivered": (Undelivered,),
    "outbox_restore": (Done,),
    "outbox_release": (Released,),
    "key_put": (Done,),
    "reclaim": (Reclaimed,),
}
# By the name of a list in a header: what its rows are
ROWS: dict[str, type[Reply]] = {
    "started": Claimed, "overdue": Overdue, "outlook": Outlook, "jobs": ListedJob, "letters": ListedLetter,
    "lanes": LaneRows, "events": GivenUp, "pauses": ProviderPause, "claimed": Claim,
}  # fmt: skip


def _pairs(flat: Sequence[Any], of: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: of(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _number(value: Any) -> int:
    """A score arrives as text, and a large one in an exponent form from some engines."""
    return int(value) if isinstance(value, int) or value.lstrip("-").isdigit() else int(float(value))


READERS: dict[str, Callable[[Any], Any]] = {
    "name": str,
    "text": str,
    "count": int,
    "moment": int,
    "number": int,
    "seconds": float,
    "flag": lambda value: value == "1",
    "provider": lambda lane: provider_in(int(lane)),
    "names": tuple,
    "names...": tuple,
    "values": tuple,
    "numbers": lambda values: tuple(int(value) for value in values),
    "pairs": lambda flat: _pairs(flat, str),
    "counts": lambda flat: _pairs(flat, _number),
}


def reply_to(called: Script, answer: Any, forms: Forms = FORMS) -> Reply:
    """The script's answer as one of its verb's replies. Raises StoreScriptError for a form that its header lacks."""
    try:
        if form := called.returns.get(""):
            return _read(called, form, forms[called.verb][0], [answer] if form.is_bare else answer)
        word, *values = answer
        kind = next(kind for kind in forms[called.verb] if word in kind.words)
        return _read(called, called.returns[word], kind, values)
    except (LookupError, StopIteration, ValueError, TypeError, AttributeError):
        raise StoreScriptError(f"The answer of {called.verb} has a form that its header does not name.") from None


def _read(called: Script, form: Form, kind: type[Reply], values: Sequence[Any]) -> Reply:
    """One form, or one row, whose last part may stand for all that is left."""
    parts = form.parts
    if parts and parts[-1].kind.endswith("..."):
        values = [*values[: len(parts) - 1], values[len(parts) - 1 :]]
    known = {part.name: _part(called, part, value) for part, value in zip(parts, values, strict=True)}
    if form.word and len(kind.words) > 1:
        known["word"] = form.word
    return kind(**known)


def _part(called: Script, part: Part, value: Any) -> Any:
    if part.is_optional and value == "":
        return None
    if part.kind in ("rows", "row"):
        form, kind = called.rows[part.name], ROWS[part.name]
        if part.kind == "rows":
            return tuple(_read(called, form, kind, row) for row in value)
        return _read(called, form, kind, value) if value else None
    return READERS[part.kind](value)
