"""The trace of a job: its spans, and how the job carries it from call to call.

    caller's traceparent, or none ──▶ submit ──┬──▶ claim   ┬──▶ finish  ┬──▶ copy
                                               │   create   │            └──▶ deliver ──▶ traceparent to the endpoint

A traceparent (W3C Trace Context, version 00) is the end of the job's incarnation, behind a hyphen. Every call that does
anything for an attempt knows the incarnation: it is in the record, in what a claim answers and in the webhook's URL. So
a trace costs no command, and no script knows of it. Without a tracer, a span costs nothing and the job carries none.
"""

import re
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Literal, Protocol

Kind = Literal["internal", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
UNKNOWN = ("00-" + "0" * 32, "-" + "0" * 16 + "-")  # a trace or a parent of zeros is not valid
# What the caller of this call has sent; '' without a tracer.
_callers: ContextVar[str] = ContextVar("traceparent", default="")


class Span(Protocol):
    """A part of a trace. ``traceparent`` leads to it; '' without a tracer."""

    @property
    def traceparent(self) -> str: ...

    def set(self, attributes: Attributes) -> None:
        """Adds attributes; those of a failure are named ``error.type``."""


class Tracer(Protocol):
    """Makes spans and has them exported; see telemetry/spans.py."""

    def span(
        self, name: str, kind: Kind, parent: str, attributes: Attributes, began_at: int | None
    ) -> AbstractContextManager[Span]: ...


class _NoSpan(AbstractContextManager["_NoSpan"]):
    traceparent = ""

    def set(self, attributes: Attributes) -> None:
        """Does nothing."""

    def __enter__(self) -> "_NoSpan":
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""


NO_SPAN = _NoSpan()
_tracers: list[Tracer] = []  # none, or one


def use(tracer: Tracer | None) -> None:
    """Makes this process trace; None ends that."""
    _tracers[:] = [tracer] if tracer else []


def note_caller(headers: Mapping[str, str]) -> None:
    """Takes the traceparent of the request that this call answers, if it is a valid one; {} for a user's request."""
    if _tracers:
        _callers.set(_valid(headers.get("traceparent", "")))


def submitting(what: str, queue: str, holder: str, attributes: Attributes) -> AbstractContextManager[Span]:
    """Begins the first span of a job's or a batch's trace, which is the caller's trace if it has sent one."""
    if not _tracers:
        return NO_SPAN
    named = {**_message(what, "send", holder), "messaging.destination.name": queue, **attributes}
    return _tracers[0].span(f"{what} {queue}", "producer", _callers.get(), named, None)


def carried(incarnation: str, span: Span) -> str:
    """Returns the incarnation with the trace of its job."""
    return f"{incarnation}-{span.traceparent}" if span.traceparent else incarnation


def trace_of(incarnation: str) -> str:
    """Returns the traceparent of a job's submit; '' if it carries none."""
    return _valid(incarnation.partition("-")[2])


def step(
    what: str, kind: Kind, holder: str, incarnation: str, attributes: Attributes, *, began_at: int | None = None
) -> AbstractContextManager[Span]:
    """Begins a span of a job that carries a trace; ``began_at`` in ns, if it began before this moment."""
    if not _tracers or not (parent := trace_of(incarnation)):
        return NO_SPAN
    named = {**_message(what, "process", holder), **attributes}
    return _tracers[0].span(what, kind, parent, named, began_at)


def clock() -> int:
    """Returns now, in ns, for ``began_at``; 0 without a tracer."""
    return time.time_ns() if _tracers else 0


def _message(what: str, kind: str, holder: str) -> dict[str, str | int]:
    """What OpenTelemetry's conventions for messaging name of a job."""
    return {
        "messaging.system": "sluice",
        "messaging.operation.name": what,
        "messaging.operation.type": kind,
        "messaging.message.id": holder,
    }


def _valid(text: str) -> str:
    return text if FORM.fullmatch(text) and not any(part in text for part in UNKNOWN) else ""
