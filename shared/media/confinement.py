"""Takes from the media child all that a picture or a film does not need.

Each measure is tried by itself. A system that refuses one, such as a container or macOS, loses that measure only.

    the parent    hiding.py     no process of the same user can read its memory and environment
    at the start  limit         memory, CPU time, open files, written bytes
    before the    lock          no new privileges, none left, no network, no new process, and then the filter of
    file is read                seccomp.py: it opens no file, and reaches no other process
"""

import ctypes
import resource
import signal

from shared.media import seccomp
from shared.media.hiding import is_linux, prctl

# Bytes of the child's own data. A function of 512 MB uses about 120 MB itself while it copies. Measured with Pillow 13
# and PyAV 18: the libraries take 25 MB. The largest images that dimensions.py allows take 105 MB (PNG), 150 MB
# (progressive JPEG) or 195 MB (WebP). 4K films take 50 to 125 MB. Shared pages (20 MB) do not count.
MEMORY = 300 * 1024**2
ADDRESSES = 1024**3  # bytes of address space; limits memory that does not count as data

# prctl(2), unshare(2), capset(2)
SET_PDEATHSIG, SET_NO_NEW_PRIVS = 1, 38
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
CAPABILITIES_3 = 0x20080522


def limit(seconds: int, most_written: int) -> None:
    """Limits this process' memory, CPU time, open files and written bytes; allows no core dump."""
    limits = {
        resource.RLIMIT_DATA: MEMORY,
        resource.RLIMIT_AS: ADDRESSES,
        resource.RLIMIT_CPU: seconds + 1,
        resource.RLIMIT_FSIZE: most_written,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _limit(kind, most)


def lock() -> None:
    """Gives up all that is not needed any more, once everything is imported and every file is open."""
    _limit(resource.RLIMIT_NPROC, 0)  # the kernel does not apply it to root
    if not is_linux():
        return
    prctl(SET_PDEATHSIG, signal.SIGKILL)  # a session of its own gets no Ctrl-C
    if not prctl(SET_NO_NEW_PRIVS, 1):
        return
    _leave_network()
    _drop_capabilities()
    seccomp.install()  # mutant: calls are filtered


def _leave_network() -> None:
    """Moves to a network without any interface. Most systems allow it to root only, or not at all."""
    libc = ctypes.CDLL(None)
    if libc.unshare(NEW_NETWORK) != 0:
        libc.unshare(NEW_NETWORK | NEW_USER)


def _drop_capabilities() -> None:
    """Leaves root without its powers: it would see a hidden process too."""
    head = (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0)
    ctypes.CDLL(None).capset(head, (ctypes.c_uint32 * 6)())


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(kind, (wanted, wanted))
    except (OSError, ValueError):  # macOS refuses the limits of memory
        return
