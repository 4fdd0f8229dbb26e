"""Hides a process from the others of its user, such as the media child."""

import ctypes
import functools
import sys

SET_DUMPABLE = 4  # prctl(2)


@functools.cache
def hide() -> bool:
    """Hides this process' memory and environment for the rest of its life; returns whether that worked.

    Others of its user could read them in /proc otherwise. It also means: no core dump, and no debugger without
    CAP_SYS_PTRACE.
    """
    return is_linux() and prctl(SET_DUMPABLE, 0)  # mutant: the parent is hidden


def prctl(option: int, value: int) -> bool:
    """Calls prctl(2) of Linux; returns whether it did as asked."""
    words = (ctypes.c_ulong(word) for word in (value, 0, 0, 0))
    return bool(ctypes.CDLL(None).prctl(option, *words) == 0)


def is_linux() -> bool:
    return sys.platform == "linux"
