"""Looks into a media file without trusting it: in a child process that may die of it.

Decoders are large pieces of C, and files come from strangers. So a child opens the file, with little memory, little
time and none of the deployment's secrets; what goes wrong there is a word here.
"""

import asyncio
import json
import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.media.words import LONGEST_ANSWER, LONGEST_THUMBNAIL, Answer, Word

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-m", "shared.media.child")
# All that an interpreter needs to start; no variable that could hold a secret.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
MEDIA = ("image/", "video/", "audio/")


@dataclass(frozen=True)
class Media:
    """What a file shows: its width and height in pixels as displayed, its duration in s, a thumbnail.

    ``thumbnail`` is a JPEG, or a WebP where something shines through; ``thumbnail_type`` says which. With ``error``
    all that is not known is None.
    """

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: bytes | None = None
    thumbnail_type: str | None = None
    error: Word | None = None


async def examine(path: Path, content_type: str, *, timeout: float) -> Media:
    """What the file at ``path`` shows, within ``timeout`` s; whatever it is, no error leaves here, and no file stays."""
    if not content_type.startswith(MEDIA):
        return Media(error="unknown_type")
    try:
        # The folder is made and removed in threads, and removed even if this is cancelled in between.
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="sluice-", ignore_cleanup_errors=True)
    except OSError:
        return Media(error="failed")
    thumbnail = Path(folder.name) / "thumbnail"
    try:
        return await _examined(path, content_type, thumbnail, timeout)
    except (OSError, ValueError):
        return Media(error="failed")
    finally:
        await asyncio.shield(asyncio.to_thread(folder.cleanup))


async def _examined(path: Path, content_type: str, thumbnail: Path, timeout: float) -> Media:
    answer, exit_code = await _answer_of_child(path, content_type, thumbnail, timeout)
    if answer is None:
        return Media(error="timed_out" if exit_code is None else "killed" if exit_code < 0 else "failed")
    kind = answer.get("thumbnail_type")
    return Media(
        answer.get("width"), answer.get("height"), answer.get("duration"),
        await asyncio.to_thread(_content, thumbnail) if kind else None,
        kind, answer.get("error"),
    )  # fmt: skip


async def _answer_of_child(
    path: Path, content_type: str, thumbnail: Path, timeout: float
) -> tuple[Answer | None, int | None]:
    """What the child printed, if it is an answer, and its exit code; None for one that had to be killed in time."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND, str(path.absolute()), content_type, str(thumbnail), str(math.ceil(timeout)),
        cwd=ROOT, env=_environment(), limit=LONGEST_ANSWER,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(timeout):
            printed = await child.stdout.read(LONGEST_ANSWER)
            exit_code = await child.wait()
    except TimeoutError:
        return None, None
    finally:
        if child.returncode is None:
            child.kill()
            await asyncio.shield(child.wait())
    return (_parsed(printed) if exit_code == 0 else None), exit_code


def _parsed(printed: bytes) -> Answer | None:
    """The child's answer; None for anything else, as the child may be in the hands of its file."""
    try:
        answer: Any = json.loads(printed)
        return Answer.checked(answer)
    except (ValueError, RecursionError):
        return None


def _content(thumbnail: Path) -> bytes:
    content = thumbnail.read_bytes() if thumbnail.stat().st_size <= LONGEST_THUMBNAIL else b""
    if not content:
        raise ValueError("no thumbnail")
    return content


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # The child imports what this process can; a platform may have put its packages anywhere.
    return kept | {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path), "MALLOC_ARENA_MAX": "2"}
