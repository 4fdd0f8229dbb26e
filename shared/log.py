"""Logs: one JSON line an event on standard output.

Events name things by id. A prompt, an input, an output, a token or a URL with a query never goes into one; structlog
escapes what a caller chose (a user id, say), so that one event is always one line.
"""

import logging
import sys

import structlog

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def configure_logs(level: str) -> None:
    """Sets the lowest level that is written; safe to call again."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=False,
    )
    # httpx logs every URL at INFO, and a URL may carry a webhook's nonce.
    logging.getLogger("httpx").setLevel(logging.WARNING)
