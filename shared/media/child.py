"""The child of examination.py: ``python -m shared.media.child FILE TYPE THUMBNAIL SECONDS`` prints one line of JSON.

Whatever the file does here, it does to this process alone: see ``limit``.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from shared.media.dimensions import TooLarge
from shared.media.media import LARGEST_THUMBNAIL

MEMORY = 1024**3  # bytes of address space; libraries take 300 MB of it, an image of MOST_PIXELS up to 280 MB


def limit(seconds: int) -> None:
    """Takes away from this process what it does not need: memory, time, files, and a core dump's disk."""
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: seconds + 1,
        resource.RLIMIT_FSIZE: LARGEST_THUMBNAIL,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (wanted, wanted))
        except (OSError, ValueError):  # macOS has no limit of the address space
            continue


def answer(path: Path, content_type: str, thumbnail: Path) -> dict[str, Any]:
    """What the file shows, or an ``error``; writes the thumbnail of one that can be seen."""
    try:
        if content_type.startswith("image/"):
            from shared.media.images import show
        elif content_type.startswith("video/"):
            from shared.media.films import show
        else:
            from shared.media.films import listen as show
        return show(path, content_type, thumbnail)
    except ImportError:
        return {"error": "not_installed"}
    except (MemoryError, TooLarge):
        return {"error": "too_large_to_show"}
    except Exception:
        # Of every class, PyAV's and Pillow's and those they let through: the file cannot be read.
        return {"error": "unreadable"}


def main() -> None:
    path, content_type, thumbnail, seconds = sys.argv[1:5]
    limit(int(seconds))
    print(json.dumps(answer(Path(path), content_type, Path(thumbnail))), flush=True)


if __name__ == "__main__":
    main()
