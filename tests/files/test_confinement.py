"""A malicious file gets nothing in the media child: no secret, no file, no process, no connection, no later moment."""

import asyncio
import ctypes
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from shared.media import seccomp
from shared.media.examination import ROOT
from tests.files.attacks import ATTACKS, SECRET, names
from tests.files.media import code, looked_into

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have none of these measures")
EVERYTHING = set(ATTACKS)
WITHOUT_A_PROGRAM = "attacks.ATTACKS['start_a_program'] = lambda: False"  # it would replace the child
WITHOUT_A_LOCK = f"child.lock = lambda: None; {WITHOUT_A_PROGRAM}"
WITHOUT_A_FILTER = f"seccomp.install = lambda: False; {WITHOUT_A_PROGRAM}"

PARENT = """
import asyncio, pathlib, sys
from shared.media import examination
examination.COMMAND = (sys.executable, "-c", sys.argv[2])
{changed}
print(asyncio.run(examination.examine(pathlib.Path(sys.argv[1]), "image/png", timeout=60)).width)
"""
CHILD = """
import os, sys
from shared.media import child, confinement, films, images, seccomp
from tests.files import attacks
child.answer, child.examiner_of = attacks.succeeded, lambda content_type: None
{changed}
child.main()
"""


def attacked(folder: Path, child: str = "", parent: str = "") -> set[str]:
    """The attacks that succeed against a process that has a secret from its start. Both may be changed by some code."""
    (folder / "file").write_bytes(b"x")
    (folder / "tmp").mkdir(exist_ok=True)
    found = subprocess.run(
        [sys.executable, "-c", PARENT.format(changed=parent), str(folder / "file"), CHILD.format(changed=child)],
        env={**os.environ, "SIGNING_SECRET": SECRET.decode(), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return names(int(found.stdout))


@linux
def test_a_malicious_file_gets_nothing(tmp_path: Path) -> None:
    assert attacked(tmp_path) == {"start_a_thread"}
    assert list((tmp_path / "tmp").iterdir()) == []


@linux
def test_without_the_measures_it_would_get_everything(tmp_path: Path) -> None:
    """These attacks are real."""
    found = attacked(tmp_path, WITHOUT_A_LOCK, "examination.hide = lambda: False")
    # The child already leads its session. Some systems refuse a debugger, and some a ring, to everybody.
    rare = {"start_a_program", "leave_the_session", "read_memory_of_parent", "open_a_ring"}
    assert found >= EVERYTHING - rare


@linux
def test_a_system_that_refuses_filters_still_hides_the_secrets(tmp_path: Path) -> None:
    found = attacked(tmp_path, WITHOUT_A_FILTER)
    assert not found & {"read_environment_of_parent", "read_any_environment", "read_memory_of_parent"}


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_system_that_refuses_filters_still_allows_no_process(tmp_path: Path) -> None:
    """The kernel applies this limit to every user but root."""
    found = attacked(tmp_path, WITHOUT_A_FILTER + "; os.setgid(65534); os.setuid(65534)")
    assert not found & {"start_a_process", "start_a_thread", "read_environment_of_parent", "signal_the_parent"}


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="most systems leave their network to root only")
def test_a_system_that_refuses_filters_still_has_no_network(tmp_path: Path) -> None:
    interfaces = "import socket; attacks.ATTACKS['connect'] = lambda: len(socket.if_nameindex()) > 1"
    assert "connect" in attacked(tmp_path, f"{WITHOUT_A_LOCK}; {interfaces}")
    assert "connect" not in attacked(tmp_path, f"{WITHOUT_A_FILTER}; {interfaces}")


@linux
async def test_an_examination_hides_this_process(file: Path) -> None:
    """From every process of its user, whether that is locked or not."""
    get_dumpable = 3
    await looked_into(file, b"x", "image/png")
    assert ctypes.CDLL(None).prctl(get_dumpable) == 0


STAYS = """
import os, sys
kept = os.open({fifo!r}, os.O_WRONLY)
if os.fork():
    {then}
import time
time.sleep(20)
"""


@pytest.mark.parametrize(
    ("then", "timeout", "error"),
    [
        ("print('{\"width\": 1}'); sys.stdout.flush(); os._exit(0)", 60, None),
        ("import time; time.sleep(600)", 2, "timed_out"),
    ],
    ids=["after an answer", "after the deadline"],
)  # fmt: skip
async def test_what_a_file_has_started_ends_with_its_examination(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, timeout: float, error: str | None
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code(monkeypatch, STAYS.format(fifo=str(fifo), then=then))
    ended = asyncio.create_task(asyncio.to_thread(fifo.read_bytes))  # as soon as no process has it open
    media = await looked_into(file, b"x", "image/png", timeout=timeout)
    assert media.error == error
    await asyncio.wait_for(ended, 10)


@linux
async def test_a_child_ends_with_its_parent(file: Path, tmp_path: Path) -> None:
    """A session of its own gets no Ctrl-C, and a killed function sends none."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    file.write_bytes(b"x")
    opened = f"import time; kept = os.open({str(fifo)!r}, os.O_WRONLY)"
    waits = f"{opened}; child.answer = lambda *given: (os.write(kept, b'x'), time.sleep(20))"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT.format(changed=""), str(file), CHILD.format(changed=waits),
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    ended = asyncio.create_task(asyncio.to_thread(_opened_and_read, fifo, parent.kill))
    await asyncio.wait_for(ended, 10)
    await parent.wait()


def _opened_and_read(fifo: Path, then: object) -> None:
    with fifo.open("rb") as end:
        end.read(1)  # the child is locked by now
        then()  # type: ignore[operator]
        end.read()


def verdict(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """What the kernel would answer: 0 if it allows the call, else the error. BPF: filter.rst of Linux."""
    instructions = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    given, at, loaded = {0: number, 4: architecture, 16: argument}, 0, 0
    while True:
        code, then, otherwise, value = instructions[at]
        at += 1
        if code == seccomp.LOAD:
            loaded = given[value]
        elif code == seccomp.RETURN:
            return 0 if value == seccomp.ALLOW else value & 0xFFFF
        else:
            tests = {seccomp.EQUAL: loaded == value, seccomp.ABOVE: loaded > value, seccomp.HAS: bool(loaded & value)}
            at += then if tests[code] else otherwise


@pytest.mark.parametrize(("machine", "read", "column"), [("x86_64", 0, 0), ("aarch64", 63, 1)])
def test_the_filter_is_the_same_on_both_machines(machine: str, read: int, column: int) -> None:
    program, (_, architecture) = seccomp.filter_of(machine, 77), seccomp.MACHINES[machine]
    assert program is not None

    def answer(number: int, argument: int = 0) -> int:
        return verdict(program, architecture, number, argument)

    assert {answer(row[column]) for row in seccomp.DENIED.values() if row[column]} == {errno.EPERM}
    assert answer(read) == 0 and verdict(program, 0x40000003, read) == errno.EPERM
    assert answer(seccomp.CLONE[column], 0x11) == errno.EPERM and answer(seccomp.CLONE[column], 0x3D0F00) == 0
    assert answer(seccomp.TGKILL[column], 77) == 0 and answer(seccomp.TGKILL[column], 78) == errno.EPERM
    assert answer(seccomp.PRLIMIT[column], 0) == 0 and answer(seccomp.PRLIMIT[column], 78) == errno.EPERM
    assert answer(seccomp.CLONE3[column]) == answer(seccomp.NEWEST + 1) == errno.ENOSYS
    assert answer(seccomp.X32 + read) != 0


def test_another_machine_has_no_filter() -> None:
    assert seccomp.filter_of("riscv64", 1) is None
