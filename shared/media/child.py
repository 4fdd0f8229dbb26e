"""The child of examination.py: ``python -m shared.media.child TYPE THUMBNAIL SECONDS`` prints one line of JSON.

It reads the file from its standard input, and writes the thumbnail to the open file of that number. A malicious file
can harm this process only: see confinement.py.
"""

import json
import sys
from collections.abc import Callable
from typing import BinaryIO

from shared.media.confinement import limit, lock
from shared.media.dimensions import TooLarge
from shared.media.media import MAX_THUMBNAIL, Answer

Examiner = Callable[[BinaryIO, str, BinaryIO], Answer]


def examiner_of(content_type: str) -> Examiner:
    """Returns what examines files of this type, with all that it will import; raises ImportError without its package.

    Whatever is imported here is trusted. No byte of the file has been read yet.
    """
    if content_type.startswith("image/"):
        from shared.media.images import show

        return show
    from shared.media.films import examine

    return examine


def answer(examiner: Examiner, file: BinaryIO, content_type: str, thumbnail: BinaryIO) -> Answer:
    """Returns what was found in the file, or an ``error``; writes a picture's or a film's thumbnail."""
    try:
        return examiner(file, content_type, thumbnail)
    except (MemoryError, TooLarge):  # PyAV's MemoryError is a subclass
        return {"error": "too_large_to_show"}
    except Exception:
        # PyAV and Pillow raise their own errors and let others through; all of them mean that the file is unreadable.
        return {"error": "unreadable"}


def main() -> None:
    content_type, thumbnail_number, seconds = sys.argv[1:4]
    limit(int(seconds), MAX_THUMBNAIL)
    try:
        examiner = examiner_of(content_type)
    except ImportError:
        print(json.dumps({"error": "not_installed"}), flush=True)
        return
    with open(0, "rb", closefd=False) as file, open(int(thumbnail_number), "wb", closefd=False) as thumbnail:
        lock()  # mutant: the child is locked
        found = answer(examiner, file, content_type, thumbnail)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
