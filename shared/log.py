"""Logs: one JSON line per event, on standard output; in development, lines for people.

Events name things by id. They never hold a prompt, an input, an output, a token or a URL with a query. structlog
escapes what a caller chose (a user id, for example), so one event is always one line. Only an exception has more lines,
and only in development.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar

import structlog

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# What this call was asked for: its method and its path without ids; '' outside of a call
operation: ContextVar[str] = ContextVar("operation", default="")

GAP = 10.0  # s between two lines of the same kind
MAX_KINDS = 1000  # that are told apart within GAP; the rest count as one
OTHERS = ("",)


class Repeats:
    """Bounds lines that come again and again: of a kind, the first is written at once, and then one each GAP.

    For what a caller can cause at will. Each process counts for itself.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, ...], tuple[float, int]] = {}  # when the last line was written, and how many since

    def count(self, *kind: str) -> int:
        """Counts one more of this kind; returns how many the line stands for, or 0 if none is to be written."""
        now = self._clock()
        if kind not in self._kinds and not self._has_room(now):
            kind = OTHERS  # mutant: other kinds
        written_at, unwritten = self._kinds.get(kind, (now - GAP, 0))
        if now - written_at < GAP:  # mutant: bounded repeats
            self._kinds[kind] = written_at, unwritten + 1
            return 0
        self._kinds.pop(kind, None)
        self._kinds[kind] = now, 0  # so the first one is that whose line is the oldest
        return unwritten + 1

    def _has_room(self, now: float) -> bool:
        """Whether one more kind can be told apart; makes room by the oldest one, if its time is over."""
        if len(self._kinds) < MAX_KINDS:
            return True
        oldest = next(iter(self._kinds))
        if now - self._kinds[oldest][0] < GAP:
            return False
        del self._kinds[oldest]  # mutant: bounded kinds
        return True


def configure_logs(
    level: str,
    *,
    is_final: bool = False,
    is_for_people: bool = False,
    readers: Sequence[structlog.typing.Processor] = (),
) -> None:
    """Sets the lowest level that is written, and the form of lines; may be called again. ``readers`` see each line too.

    If it is final, the logger is made once and not for each line. Tests change their logs, so for them it is not.
    """
    vars(log).pop("bind", None)  # the logger that structlog keeps
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *readers,
            *(_for_people() if is_for_people else _for_machines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=is_final,
    )
    # httpx logs every URL at INFO, and a URL may carry a webhook's nonce.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # These write lines of their own to standard error, with the collector's URL.
    for name in ("opentelemetry", "urllib3"):  # mutant: foreign lines
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _for_machines() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]


def _for_people() -> list[structlog.typing.Processor]:
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            repr_native_str=True,  # else a text of a caller could begin a line
            exception_formatter=structlog.dev.plain_traceback,  # rich would draw the variables, and so the inputs
        ),
    ]
