"""What a malicious file would do in the child; each attack returns whether it succeeded."""

import ctypes
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.media.seccomp import DENIED

SECRET = b"attacked-secret-12345"
COLUMN = 1 if os.uname().machine == "aarch64" else 0


def read_environment_of_parent() -> bool:
    return SECRET in Path(f"/proc/{os.getppid()}/environ").read_bytes()


def read_memory_of_parent() -> bool:
    """Attaches to it, as a debugger does."""
    seize = 0x4206
    return bool(ctypes.CDLL(None).syscall(DENIED["ptrace"][COLUMN], seize, os.getppid(), 0, 0) == 0)


def read_any_environment() -> bool:
    return any(SECRET in content for content in _readable(Path("/proc").glob("[0-9]*/environ")))


def read_a_file() -> bool:
    return bool(Path("/etc/passwd").read_bytes())


def write_a_file() -> bool:
    return Path(tempfile.gettempdir(), "written").write_bytes(b"x") == 1


def put_a_link() -> bool:
    Path(tempfile.gettempdir(), "link").symlink_to("/proc/self/environ")
    return True


def start_a_process() -> bool:
    if os.fork() == 0:
        os._exit(0)
    return True


def start_a_program() -> bool:
    os.execv(sys.executable, [sys.executable, "-c", "print('{\"width\": 999999}')"])  # noqa: S606 (an attack)


def leave_the_session() -> bool:
    os.setsid()
    return True


def signal_the_parent() -> bool:
    os.kill(os.getppid(), 0)
    return True


def signal_it_by_descriptor() -> bool:
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)
    return True


def connect() -> bool:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    return True


def open_a_ring() -> bool:
    """io_uring opens files and connections without calls that a filter sees."""
    return bool(ctypes.CDLL(None).syscall(DENIED["io_uring_setup"][COLUMN], 1, ctypes.create_string_buffer(256)) >= 0)


def limit_the_parent() -> bool:
    import resource

    resource.prlimit(os.getppid(), resource.RLIMIT_CPU)
    return True


def start_a_thread() -> bool:
    """No attack: decoders may need it."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    return True


ATTACKS: dict[str, Callable[[], bool]] = {
    attack.__name__: attack
    for attack in (
        read_environment_of_parent, read_memory_of_parent, read_any_environment, read_a_file, write_a_file, put_a_link,
        start_a_process, start_a_program, leave_the_session, signal_the_parent, signal_it_by_descriptor, connect,
        open_a_ring, limit_the_parent, start_a_thread,
    )
}  # fmt: skip


def succeeded(*_: object) -> dict[str, int]:
    """Tries them all, in place of child.answer; returns an answer whose width has a bit for each that succeeded."""
    return {"width": sum(1 << number for number, attack in enumerate(ATTACKS.values()) if _succeeds(attack))}


def names(width: int) -> set[str]:
    return {name for number, name in enumerate(ATTACKS) if width >> number & 1}


def _succeeds(attack: Callable[[], bool]) -> bool:
    try:
        return attack()
    except (OSError, RuntimeError, ValueError):
        return False


def _readable(paths: Iterable[Path]) -> Iterable[bytes]:
    for path in paths:
        try:
            yield path.read_bytes()
        except OSError:
            continue
