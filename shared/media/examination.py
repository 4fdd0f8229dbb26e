"""Examines a media file without trusting it, in a child process that the file may kill.

Decoders are large pieces of C, and files come from strangers. So a child opens the file, with little memory, little
time and none of the deployment's secrets. Its failure becomes an error word here.
"""

import asyncio
import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shared.media.media import MAX_ANSWER, MAX_THUMBNAIL, Media, Word, answer_of

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-m", "shared.media.child")
# An interpreter needs only these to start; none of them holds a secret.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
MEDIA = ("image/", "video/", "audio/")


async def examine(path: Path, content_type: str, *, timeout: float) -> Media:
    """Examines the file at ``path`` within ``timeout`` s. Never raises, and leaves no file behind."""
    if not content_type.startswith(MEDIA):
        return Media(error="unknown_type")
    try:
        # No thread creates, reads or removes these two small files: a cancellation would then leave them behind.
        with tempfile.TemporaryDirectory(prefix="sluice-media-", ignore_cleanup_errors=True) as folder:
            thumbnail, printed = Path(folder) / "thumbnail", Path(folder) / "answer"
            word = await _run_child((str(path.absolute()), content_type, str(thumbnail)), printed, timeout)
            if word:
                return Media(error=word)
            found = answer_of(_content(printed, MAX_ANSWER))
            seen = _content(thumbnail, MAX_THUMBNAIL) if found.thumbnail_type else None
            return dataclasses.replace(found, thumbnail=seen)
    except (OSError, ValueError):
        return Media(error="failed")


async def _run_child(arguments: Sequence[str], printed: Path, timeout: float) -> Word | None:
    """Runs the child; returns why it gave no answer, or None.

    The child prints to a file, because it could keep a pipe full, or open, forever.
    """
    with printed.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            str(math.ceil(timeout)),
            cwd=ROOT,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
        )
    try:
        async with asyncio.timeout(timeout):
            exit_code = await child.wait()
    except TimeoutError:
        return "timed_out"
    finally:
        if child.returncode is None:
            child.kill()
            await asyncio.shield(child.wait())
    if exit_code == 0:
        return None
    return "killed" if exit_code < 0 else "failed"


def _content(path: Path, most: int) -> bytes:
    """Returns the content of a file of at most ``most`` bytes; raises ValueError for an empty or a longer one."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if not 0 < len(content) <= most:
        raise ValueError("empty, or too long")
    return content


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # The child imports from the same folders as this process: a platform may install packages anywhere.
    return kept | {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path), "MALLOC_ARENA_MAX": "2"}
