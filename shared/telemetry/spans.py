"""Exports spans by OTLP over HTTP, with OpenTelemetry's SDK; only a process that traces loads this module.

The SDK's batch processor waits in each flush for as long as its exporter does, which may be for ever. So spans are kept
here, and one thread exports them: when an answer is about to be sent, and when many wait.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.config.settings import Settings
from shared.log import Repeats, log
from shared.tracing import Attributes, Kind

MAX_KEPT = 2048  # spans; the oldest are dropped
MANY = 256  # spans that are exported without waiting for an answer
MAX_AT_ONCE = 512  # spans of one export
EXPORT_TIMEOUT = 5.0  # s
PATH = "/v1/traces"  # OTLP, "OTLP/HTTP request"
KINDS = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Kept(SpanProcessor):
    """Keeps ended spans, and exports them in a thread of its own; see flushing.Outlet."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._spans: deque[ReadableSpan] = deque(maxlen=MAX_KEPT)  # mutant: bounded spans
        self._state = threading.Condition()
        self._added = 0  # spans, ever
        self._gone = 0  # of these, the first so many are exported or dropped
        self._is_wanted = False
        self._repeats = Repeats()
        self._thread: threading.Thread | None = None

    def on_end(self, span: ReadableSpan) -> None:
        """Keeps the span if it is sampled."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._state:
            self._spans.append(span)
            self._added += 1
            if len(self._spans) >= MANY:
                self._want()

    @property
    def is_empty(self) -> bool:
        return self._gone == self._added

    def begin(self) -> None:
        """Has all spans exported, and waits for nothing."""
        with self._state:
            self._want()

    def flush(self, seconds: float) -> bool:
        """Has all spans exported, and waits until those of now are, or the time is over; see Outlet."""
        with self._state:
            ticket = self._added  # others go on adding, and are not waited for
            self._want()
            return self._state.wait_for(lambda: self._gone >= ticket, seconds)  # mutant: ticket

    def _want(self) -> None:
        """Wakes the thread, which is made at the first need: a process that was forked or restored has none."""
        self._is_wanted = True
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._export_all, name="spans", daemon=True)
            self._thread.start()
        self._state.notify_all()

    def _export_all(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._is_wanted)
                count = min(len(self._spans), MAX_AT_ONCE)
                batch = [self._spans.popleft() for _ in range(count)]
                if not batch:
                    self._is_wanted = False
                    continue
            self._export(batch)
            with self._state:
                self._gone = self._added - len(self._spans)
                self._state.notify_all()

    def _export(self, batch: list[ReadableSpan]) -> None:
        """Exports these spans; a line of the log says that they are lost."""
        try:
            cause = self._exporter.export(batch).name
        except Exception as error:  # else the thread would end
            cause = type(error).__name__
        if cause == SpanExportResult.SUCCESS.name:
            return
        if count := self._repeats.count(cause):
            log.warning("spans_not_sent", cause=cause.lower(), spans=len(batch), count=count)


class Spans:
    """The tracer of this process; see tracing.Tracer. Its outlet is ``kept``."""

    def __init__(self, settings: Settings) -> None:
        named = {"service.name": settings.otel_service_name, "deployment.environment.name": settings.environment}
        if settings.release:
            named["service.version"] = settings.release
        endpoint = (settings.otel_exporter_otlp_endpoint or "").rstrip("/") + PATH
        self.kept = Kept(OTLPSpanExporter(endpoint, headers=settings.otlp_headers, timeout=EXPORT_TIMEOUT))
        # A trace that a caller has begun is sampled as it says; one that begins here, by the ratio.
        sampler = ParentBased(TraceIdRatioBased(settings.otel_traces_sampler_arg))
        self._provider = TracerProvider(sampler=sampler, resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(self.kept)
        self._tracer = self._provider.get_tracer("sluice")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, kind: Kind, parent: str, attributes: Attributes, began_at: int | None
    ) -> Iterator["_Span"]:
        """Begins a span, and ends it with the block; an error of the block is named by its class alone."""
        above = self._propagator.extract({"traceparent": parent}, Context())
        made = self._tracer.start_span(
            name, above, KINDS[kind], dict(attributes), start_time=began_at or None, record_exception=False
        )
        try:
            yield _Span(made)
        except Exception as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            made.end()


class _Span:
    """A span of the SDK, as the rest of Sluice sees it."""

    def __init__(self, made: SdkSpan) -> None:
        self._made = made
        context = made.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def set(self, attributes: Attributes) -> None:
        """Adds attributes; one named ``error.type`` marks the span as failed."""
        self._made.set_attributes(dict(attributes))
        if "error.type" in attributes:
            self._made.set_status(Status(StatusCode.ERROR))
