"""A filter of system calls for the media child: no file, no process and no connection is opened behind it.

seccomp(2), classic BPF. Linux needs no privilege for it, so it also works on AWS Lambda and Vercel, which have no
namespaces for a function.
"""

import ctypes
import errno
import os
import platform
import struct

# Numbers of x86-64 and of arm64; 0 is a call that arm64 does not have. Linux: arch/x86/entry/syscalls/syscall_64.tbl
# and include/uapi/asm-generic/unistd.h.
DENIED = {
    # what opens, creates, moves or removes a file
    "open": (2, 0), "openat": (257, 56), "openat2": (437, 437), "creat": (85, 0), "open_by_handle_at": (304, 265),
    "uselib": (134, 0), "truncate": (76, 45), "link": (86, 0), "linkat": (265, 37), "symlink": (88, 0),
    "symlinkat": (266, 36), "rename": (82, 0), "renameat": (264, 38), "renameat2": (316, 276), "unlink": (87, 0),
    "unlinkat": (263, 35), "mkdir": (83, 0), "mkdirat": (258, 34), "rmdir": (84, 0), "mknod": (133, 0),
    "mknodat": (259, 33), "chmod": (90, 0), "fchmodat": (268, 53), "chown": (92, 0), "lchown": (94, 0),
    "fchownat": (260, 54), "utime": (132, 0), "utimes": (235, 0), "futimesat": (261, 0), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "removexattr": (197, 14), "lremovexattr": (198, 15),
    # what starts a program or a process
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, 0), "vfork": (58, 0),
    # what reaches another machine, or memory that other processes share
    "socket": (41, 198), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180),
    # what reads, stops or slows another process
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "kill": (62, 129),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # what leaves the session that the parent kills
    "setsid": (112, 157), "setpgid": (109, 154),
    # what does any of this in other words, or has been a way into the kernel
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442),
}  # fmt: skip
CLONE, CLONE3, TGKILL, PRLIMIT = (56, 220), (435, 435), (234, 131), (302, 261)
NEWEST = 451  # the last call of Linux 6.5; later ones answer as an older kernel does
X32 = 0x40000000  # x86-64 repeats its calls from this number on
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # a column above, and AUDIT_ARCH

CLONE_THREAD = 0x10000
SET_SECCOMP, FILTER = 22, 2  # prctl(2)
LOAD, EQUAL, ABOVE, HAS, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF's words
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little endian


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install() -> bool:
    """Installs the filter for the rest of this process' life; returns False where the system refuses it.

    The process must have given up new privileges before. Threads may still be created: decoders use them.
    """
    program = filter_of(platform.machine(), os.getpid())
    if program is None:
        return False
    loaded = _Program(len(program) // 8, program)
    return bool(ctypes.CDLL(None).prctl(SET_SECCOMP, ctypes.c_ulong(FILTER), ctypes.byref(loaded)) == 0)


def filter_of(machine: str, pid: int) -> bytes | None:
    """Returns the filter for a process on such a machine; None for a machine whose calls are not listed."""
    if machine not in MACHINES:
        return None
    column, architecture = MACHINES[machine]
    denied = ERRNO | errno.EPERM
    parts = [
        _word(LOAD, ARCHITECTURE),
        _unless(EQUAL, architecture, denied),  # the calls of another machine, such as 32-bit ones
        _word(LOAD, NUMBER),
        _when(ABOVE, X32 - 1, denied),
        _when(ABOVE, NEWEST, ERRNO | errno.ENOSYS),
        # clone3 has its flags in memory, where a filter cannot look. libc falls back to clone.
        _when(EQUAL, CLONE3[column], ERRNO | errno.ENOSYS),
        *(_when(EQUAL, row[column], denied) for row in DENIED.values() if row[column]),
        _only_with(CLONE[column], HAS, CLONE_THREAD),
        _only_with(TGKILL[column], EQUAL, pid),  # abort() sends itself a signal
        _only_with(PRLIMIT[column], EQUAL, 0),  # of this process
        _word(RETURN, ALLOW),
    ]
    return b"".join(parts)


def _word(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Returns one instruction; ``then`` and ``otherwise`` say how many a jump skips."""
    return struct.pack("<HBBI", code, then, otherwise, value)


def _when(test: int, value: int, verdict: int) -> bytes:
    return _word(test, value, 0, 1) + _word(RETURN, verdict)


def _unless(test: int, value: int, verdict: int) -> bytes:
    return _word(test, value, 1, 0) + _word(RETURN, verdict)


def _only_with(number: int, test: int, value: int) -> bytes:
    """Returns what allows a call only if its first argument passes the test, and leaves other calls alone."""
    verdicts = _word(test, value, 0, 1) + _word(RETURN, ALLOW) + _word(RETURN, ERRNO | errno.EPERM)
    return _word(EQUAL, number, 0, 4) + _word(LOAD, FIRST_ARGUMENT) + verdicts
