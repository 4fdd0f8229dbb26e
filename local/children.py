"""Child processes of the stack: started, read, stopped, and never orphaned."""

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
STOP_DEADLINE_SECONDS = 5.0
LINES_IN_ERRORS = 20
# In a line for people, and in one of JSON
TROUBLE = re.compile(r"""\btrouble(?:=|": )(?:'([^']+)'|"([^"]+)")""")

# Reads until the stack closes the pipe, however it ends, then stops the child: `kill -9` on the stack orphans none.
GUARD = 'read -r _; kill "$0"; for _ in 1 2 3 4 5; do kill -0 "$0" || exit; sleep 1; done; kill -9 "$0"'


class Child:
    """One `python -m` process. Each line it prints goes to `out`, after `prefix`."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], out: IO[str], prefix: str = ""
    ) -> None:
        self.name = name
        self._out = out
        self._prefix = prefix
        self._last: deque[str] = deque(maxlen=LINES_IN_ERRORS)
        # Its own session: Ctrl-C in the terminal must reach the stack alone, which stops the children in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Its exit status: None while it runs, and minus the signal's number if a signal ended it."""
        return self._process.poll()

    @property
    def trouble(self) -> str:
        """Why its last failed connection failed, by its own log; '' if none did."""
        found = [words.group(1) or words.group(2) for line in list(self._last) if (words := TROUBLE.search(line))]
        return found[-1] if found else ""

    def last_output(self) -> str:
        """Returns the last lines it printed; all of them once it has ended."""
        if self.exit_status is not None:
            self._reader.join(STOP_DEADLINE_SECONDS)
        return "\n".join(f"  {line}" for line in list(self._last)) or "  (it printed nothing)"

    def stop(self) -> None:
        """Terminates it, and kills it if it has not ended after STOP_DEADLINE_SECONDS."""
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._guard.kill()  # before its pipe closes: by now another process may have the child's id
        self._guard.communicate()
        self._reader.join(STOP_DEADLINE_SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 (it was asked for)
        with self._process.stdout as lines:
            for line in lines:
                self._last.append(line.rstrip("\n"))
                # If the terminal is gone, the child's output is still read, or it would block.
                with suppress(OSError, ValueError):
                    self._out.write(self._prefix + line)
                    self._out.flush()
