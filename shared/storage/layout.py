"""Names every key of the storage.

    results/<day of completion>/<user folder>/<job id>/<incarnation>/<n>.<extension>        <n>-thumbnail.<extension>
    results/<day of completion>/<user folder>/<job id>/<incarnation>/<n>-<turn>.<extension> after the first turn
    results/<day of completion>/<user folder>/<job id>/<incarnation>/data-<sha256>.<extension>
    uploads/<day>/<user folder>/<32 hex digits>.<extension>

The day comes first, so retention can drop whole days. The user comes next, so one listing per day finds all files of a
user. Days are in UTC. An id that is used again after a deletion has another incarnation, so that a late copy of the
deleted job overwrites nothing.
"""

import hashlib
import re
import secrets
from datetime import UTC, datetime

RESULTS = "results"
UPLOADS = "uploads"
OF_TURN = re.compile(r"[0-9]+(?:-(?P<turn>[0-9]+))?(?:-thumbnail)?\.[a-z0-9]+")


def day_of(milliseconds: int) -> str:
    """Returns the day of a time (ms since the epoch) as ``yyyy-mm-dd``."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")


def user_folder(owner: str, user: str) -> str:
    """Returns 32 hex digits for a user of an application; they do not depend on SIGNING_SECRET.

    If they did, a change of that secret would hide the user's older files from deletion.
    """
    parts = (owner.encode(), user.encode())
    # Each part follows its length: ("a", "bc") and ("ab", "c") must differ.
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()[:32]


def job_folder(completed_at: int, owner: str, user: str, job_id: str) -> str:
    """Returns the folder of a job's files, for a job that was completed at this time (ms)."""
    return f"{RESULTS}/{day_of(completed_at)}/{user_folder(owner, user)}/{job_id}"


def incarnation_folder(completed_at: int, owner: str, user: str, job_id: str, incarnation: str) -> str:
    """Returns the folder for the files of this incarnation of a job; one of an earlier release has none.

    The trace that an incarnation may carry is left out: users get the URLs of files.
    """
    folder, own = job_folder(completed_at, owner, user, job_id), incarnation.partition("-")[0]  # mutant: trace in a key
    return f"{folder}/{own}" if own else folder


def result_key(folder: str, number: int, extension: str, turn: int = 1) -> str:
    """Returns the key of a file of a job's output by its number, from 0; ``extension`` has no dot.

    Each turn of copying has its own keys, so a late turn overwrites nothing.
    """
    return f"{folder}/{_name(number, turn)}.{extension}"


def thumbnail_key(folder: str, number: int, extension: str, turn: int = 1) -> str:
    """Returns the key of the thumbnail of the file with this number."""
    return f"{folder}/{_name(number, turn)}-thumbnail.{extension}"


def staged_key(folder: str, sha256: str, extension: str) -> str:
    """Returns the key of a file that was in a job's output itself; another content has another key."""
    return f"{folder}/data-{sha256[:32]}.{extension}"


def turn_of(key: str) -> int:
    """Returns the turn that made a file of a job, by its key; 0 for a key that no turn has made."""
    found = OF_TURN.fullmatch(key.rpartition("/")[2])
    return int(found["turn"] or 1) if found else 0


def _name(number: int, turn: int) -> str:
    return str(number) if turn == 1 else f"{number}-{turn}"


def upload_key(now: int, owner: str, user: str, extension: str) -> str:
    """Returns a new, unique key for a user's upload; ``now`` in ms."""
    return f"{UPLOADS}/{day_of(now)}/{user_folder(owner, user)}/{secrets.token_hex(16)}.{extension}"


def is_before(folder: str, moment: int) -> bool:
    """Whether the day of a folder, such as ``results/2026-01-31``, ended before this time (ms).

    False for any other folder: retention must not drop what it does not know.
    """
    try:
        day = datetime.strptime(folder.rpartition("/")[2], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return (day.timestamp() + 86_400) * 1000 <= moment
