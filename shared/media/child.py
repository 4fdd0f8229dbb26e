"""The child of examination.py: ``python -m shared.media.child FILE TYPE THUMBNAIL SECONDS`` prints one line of JSON.

A malicious file can harm this process only: see ``limit``.
"""

import json
import resource
import sys
from pathlib import Path

from shared.media.dimensions import TooLarge
from shared.media.media import MAX_THUMBNAIL, Answer

# Bytes of the child's own data. A function of 512 MB uses about 120 MB itself while it copies. Measured with Pillow 13
# and PyAV 18: the libraries take 25 MB. The largest images that dimensions.py allows take 105 MB (PNG), 150 MB
# (progressive JPEG) or 195 MB (WebP). 4K films take 50 to 125 MB. Shared pages (20 MB) do not count.
MEMORY = 300 * 1024**2
ADDRESSES = 1024**3  # bytes of address space; limits memory that does not count as data


def limit(seconds: int) -> None:
    """Limits this process' memory, CPU time, open files and written bytes; allows no core dump."""
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
        except (OSError, ValueError):  # macOS refuses the limits of memory
            continue


def answer(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """Returns what was found in the file, or an ``error``; writes a picture's or a film's thumbnail."""
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
    except (MemoryError, TooLarge):  # PyAV's MemoryError is a subclass
        return {"error": "too_large_to_show"}
    except Exception:
        # PyAV and Pillow raise their own errors and let others through; all of them mean that the file is unreadable.
        return {"error": "unreadable"}


def main() -> None:
    path, content_type, thumbnail, seconds = sys.argv[1:5]
    limit(int(seconds))
    print(json.dumps(answer(Path(path), content_type, Path(thumbnail))), flush=True)


if __name__ == "__main__":
    main()
