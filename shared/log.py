"""Logs: one JSON line per event, on standard output.

Events name things by id. They never hold a prompt, an input, an output, a token or a URL with a query. structlog
escapes what a caller chose (a user id, for example), so one event is always one line.
"""

import logging
import sys

import structlog

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def configure_logs(level: str, *, is_final: bool = False) -> None:
    """Sets the lowest level that is written; may be called again.

    If it is final, the logger is made once and not for each line. Tests change their logs, so for them it is not.
    """
    vars(log).pop("bind", None)  # the logger that structlog keeps
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
        cache_logger_on_first_use=is_final,
    )
    # httpx logs every URL at INFO, and a URL may carry a webhook's nonce.
    logging.getLogger("httpx").setLevel(logging.WARNING)
