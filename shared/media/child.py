"""The child of examination.py: ``python -m shared.media.child FILE TYPE THUMBNAIL SECONDS`` prints one line of JSON.

Whatever the file does here, it does to this process alone: see ``limit``.
"""

import json
import resource
import sys
from pathlib import Path

from shared.media.dimensions import TooLarge
from shared.media.media import MAX_THUMBNAIL, Answer

# bytes of its own; a function of 512 MB holds some 120 itself while it copies. Measured with Pillow 13 and PyAV 18: the
# libraries take 25 MB of them, the largest images of dimensions.py 105 (PNG), 150 (progressive JPEG), 195 (WebP), films
# of 4K 50 to 125, and what the child shares with others, which does not count, 20 MB more.
MEMORY = 300 * 1024**2
ADDRESSES = 1024**3  # bytes of address space, for what is not counted as data


def limit(seconds: int) -> None:
    """Takes away from this process what it does not need: memory, time, files, and a core dump's disk."""
    limits = {
        resource.RLIMIT_DATA: MEMORY,
        resource.RLIMIT_AS: ADDRESSES,
        resource.RLIMIT_CPU: seconds + 1,
        resource.RLIMIT_FSIZE: MAX_THUMBNAIL,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (wanted, wanted))
        except (OSError, ValueError):  # macOS limits neither
            continue


def answer(path: Path, content_type: str, thumbnail: Path) -> Answer:
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
    except (MemoryError, TooLarge):  # PyAV's own MemoryError is one, too
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
