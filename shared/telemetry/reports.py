"""Reports each error of the log to Sentry, without anything that a caller sent.

A report has the event's name, the fields in FIELDS, and where in the code it happened. It has no request, no header, no
variable, and no text of an exception that is not Sluice's own: such a text may quote an input.

The SDK is loaded at the first error. It sends from a thread of its own, so no call waits for Sentry.
"""

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

from structlog.typing import EventDict

from shared.config.settings import Settings
from shared.log import Repeats, log, operation

if TYPE_CHECKING:
    from sentry_sdk.client import _Client as Client

# Of a line; anything else of it stays in the log.
FIELDS = (
    "job", "of", "attempt", "provider", "queue", "model", "code", "cause", "error", "reason", "refusal", "trouble",
    "command", "status", "step", "hook_event", "word", "count",
)  # fmt: skip
MAX_FIELD = 200  # characters
MAX_WAITING = 50  # reports; more are dropped
OURS = ("shared.", "functions.")


class Reports:
    """A processor of structlog, and an outlet of flushing.py. An error that comes again and again is counted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._repeats = Repeats()
        self._made = 0  # reports

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Reports an error; returns the event as it is, and never raises."""
        if event.get("level") in ("error", "critical"):
            try:
                self._report(event)
            except Exception as error:
                log.warning("report_failed", error=type(error).__name__)
        return event

    @property
    def is_empty(self) -> bool:
        return not self._made or not self._unsent()

    def begin(self) -> None:
        """Does nothing: the SDK's thread sends by itself."""

    def flush(self, seconds: float) -> bool:
        """Waits until the SDK has sent the reports, or the time is over; see Outlet."""
        made = self._made
        with contextlib.suppress(Exception):
            self._client.flush(timeout=seconds)
        return self._made - self._unsent() >= made  # newer ones may be on their way

    def _unsent(self) -> int:
        worker = getattr(self._client.transport, "_worker", None)
        return 0 if worker is None else int(worker._queue.unfinished_tasks)

    def _is_full(self) -> bool:
        """Whether the SDK would drop one more."""
        worker = getattr(self._client.transport, "_worker", None)
        return worker is not None and bool(worker.full())

    def _report(self, event: EventDict) -> None:
        error = _error_of(event.get("exc_info"))
        count = self._repeats.count(str(event["event"]), type(error).__name__)
        if not count:
            return
        report: dict[str, Any] = self._located(error) if error is not None else {}
        named = {name: str(event[name])[:MAX_FIELD] for name in FIELDS if event.get(name) is not None}
        if called := operation.get():
            named["operation"] = report["transaction"] = called
        report |= {
            "level": "error",
            "logger": "sluice",
            "logentry": {"message": str(event["event"])},
            "fingerprint": [str(event["event"]), type(error).__name__ if error else str(event.get("code", ""))],
            "tags": {"event": str(event["event"]), **named, "lines": str(count)},
        }
        self._made += 0 if self._is_full() else 1
        self._client.capture_event(report)  # type: ignore[arg-type]

    def _located(self, error: BaseException) -> dict[str, Any]:
        """Returns the types of the error and of its causes, with their places in the code."""
        from sentry_sdk.utils import event_from_exception

        found: dict[str, Any] = dict(event_from_exception(error, client_options=self._client.options)[0])
        for value in found["exception"]["values"]:
            if not (value.get("module") or "").startswith(OURS):
                value["value"] = ""  # mutant: foreign text
        return found

    @functools.cached_property
    def _client(self) -> "Client":
        from sentry_sdk import Client

        dsn = self._settings.sentry_dsn
        return Client(
            dsn=dsn.get_secret_value() if dsn else None,
            environment=self._settings.environment,
            release=self._settings.release or "unknown",  # else the SDK would ask git
            # None of the SDK's own: they would read requests, breadcrumbs and variables, and wait at the end.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,  # mutant: variables
            max_breadcrumbs=0,
            max_request_body_size="never",
            auto_session_tracking=False,
            send_client_reports=False,
            transport_queue_size=MAX_WAITING,
            shutdown_timeout=0,
        )


def _error_of(given: object) -> BaseException | None:
    """Returns the exception that a line is about, as structlog takes it."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None
