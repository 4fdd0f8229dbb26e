"""Examines a media file without trusting it, in a child process that the file may kill.

Decoders are large pieces of C, and files come from strangers. So a child reads the file, with little memory, little
time and none of the deployment's secrets. Its failure becomes an error word here.

The child gets three open files and no name: the file, its answer and the thumbnail. What it wrote is read from these
files. By a name, it could have put a link there that leads to this process' secrets.
"""

import asyncio
import dataclasses
import math
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from shared.media.decoders import is_decoded
from shared.media.hiding import hide
from shared.media.media import MAX_ANSWER, MAX_THUMBNAIL, Media, ThumbnailType, Word, answer_of

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = (sys.executable, "-m", "shared.media.child")
# An interpreter needs only these to start; none of them holds a secret.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
STARTS = {"image/jpeg": (b"\xff\xd8\xff",), "image/webp": (b"RIFF",)}  # of thumbnails


async def examine(path: Path, content_type: str, *, timeout: float) -> Media:
    """Examines the file at ``path`` within ``timeout`` s. Never raises, and leaves no file behind."""
    if not is_decoded(content_type):
        return Media(error="unknown_type")
    try:
        file = path.open("rb")
    except OSError:
        return Media(error="unreadable")
    try:
        with file, tempfile.TemporaryFile() as thumbnail, tempfile.TemporaryFile() as printed:
            word = await _run_child(content_type, file, thumbnail, printed, timeout)
            if word:
                return Media(error=word)
            found = answer_of(_content(printed, MAX_ANSWER))
            seen = _thumbnail_in(thumbnail, found.thumbnail_type) if found.thumbnail_type else None
            return dataclasses.replace(found, thumbnail=seen)
    except (OSError, ValueError):
        return Media(error="failed")


async def _run_child(
    content_type: str, file: BinaryIO, thumbnail: BinaryIO, printed: BinaryIO, timeout: float
) -> Word | None:
    """Runs the child; returns why it gave no answer, or None.

    The child prints to a file, because it could keep a pipe full, or open, forever.
    """
    hide()
    child = await asyncio.create_subprocess_exec(
        *COMMAND,
        content_type,
        str(thumbnail.fileno()),
        str(math.ceil(timeout)),
        cwd=ROOT,
        env=_environment(),
        stdin=file,
        stdout=printed,
        stderr=asyncio.subprocess.DEVNULL,
        pass_fds=(thumbnail.fileno(),),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            exit_code = await child.wait()
    except TimeoutError:
        return "timed_out"
    finally:
        # All that it started, also after its own end. While one process of its group lives, no other has the number.
        with suppress(ProcessLookupError, PermissionError):  # mutant: the session is killed whole
            os.killpg(child.pid, signal.SIGKILL)
        if child.returncode is None:
            await asyncio.shield(child.wait())
    if exit_code == 0:
        return None
    return "killed" if exit_code < 0 else "failed"


def _thumbnail_in(file: BinaryIO, kind: ThumbnailType) -> bytes:
    content = _content(file, MAX_THUMBNAIL)
    if not content.startswith(STARTS[kind]):
        raise ValueError("not a thumbnail")
    return content


def _content(file: BinaryIO, most: int) -> bytes:
    """Returns the content of a file of at most ``most`` bytes; raises ValueError for an empty or a longer one."""
    file.seek(0)
    content = file.read(most + 1)
    if not 0 < len(content) <= most:
        raise ValueError("empty, or too long")
    return content


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    # The child imports from the same folders as this process: a platform may install packages anywhere.
    return kept | {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path), "MALLOC_ARENA_MAX": "2"}
