"""Names every key of the storage.

    results/<day of completion>/<user folder>/<job id>/<n>.<extension>     and <n>-thumbnail.<extension>
    results/<day of completion>/<user folder>/<job id>/<n>-<turn>.<extension>   where it took more than one turn
    uploads/<day>/<user folder>/<32 hex digits>.<extension>

The day comes first, so that retention drops whole days, and the user next, so that one listing of each day finds all
files of a user. Days are those of UTC.
"""

import hashlib
import secrets
from datetime import UTC, datetime

RESULTS = "results"
UPLOADS = "uploads"


def day_of(milliseconds: int) -> str:
    """The day of a moment (ms since the epoch) as ``yyyy-mm-dd``."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")


def user_folder(owner: str, user: str) -> str:
    """32 hex digits that stand for a user of an application; the same whatever SIGNING_SECRET is.

    Keyed with that secret, the files of before it was changed could never again be found for deletion.
    """
    parts = (owner.encode(), user.encode())
    # Lengths in front of the parts: ("a", "bc") and ("ab", "c") must differ.
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()[:32]


def job_folder(completed_at: int, owner: str, user: str, job_id: str) -> str:
    """Where the files of a job are that was completed at this moment (ms)."""
    return f"{RESULTS}/{day_of(completed_at)}/{user_folder(owner, user)}/{job_id}"


def result_key(folder: str, number: int, extension: str, turn: int = 1) -> str:
    """The file of a job's output with this number, from 0; ``extension`` is without the dot.

    Each turn of copying has keys of its own, so that one who comes too late overwrites nothing.
    """
    return f"{folder}/{_name(number, turn)}.{extension}"


def thumbnail_key(folder: str, number: int, extension: str, turn: int = 1) -> str:
    """The thumbnail of the file with this number."""
    return f"{folder}/{_name(number, turn)}-thumbnail.{extension}"


def _name(number: int, turn: int) -> str:
    return str(number) if turn == 1 else f"{number}-{turn}"


def upload_key(now: int, owner: str, user: str, extension: str) -> str:
    """A key that nobody had before, for what a user is about to upload; ``now`` in ms."""
    return f"{UPLOADS}/{day_of(now)}/{user_folder(owner, user)}/{secrets.token_hex(16)}.{extension}"


def is_before(folder: str, moment: int) -> bool:
    """Whether a day's folder, such as ``results/2026-01-31``, was over before this moment (ms).

    False for whatever is no day's folder: retention must not drop what it does not know.
    """
    try:
        day = datetime.strptime(folder.rpartition("/")[2], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return (day.timestamp() + 86_400) * 1000 <= moment
