"""Classifies a provider's errors: the class of an error, and whether another attempt can help."""

import re
from typing import Literal, get_args

from shared.providers.failure_rules import RULES

# The class of an error says who is at fault, and so what can be done.
ErrorClass = Literal[
    "invalid_input",
    "content_policy",
    "rate_limited",
    "billing",
    "provider_down",
    "timeout",
    "expired",
    "canceled",
    "unknown",
]
ERROR_CLASSES: dict[str, ErrorClass] = {
    "output_too_large": "unknown",
    "result_expired": "provider_down",
    "provider_lost": "provider_down",
    "submission_unknown": "unknown",
    "unreadable": "unknown",
    "provider_auth": "billing",
    "model_not_found": "invalid_input",
    "provider_refused": "invalid_input",
}
KNOWN_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)
# Failures after which the model's next job is likely to fail as well. A bad input or refused content does not count.
OF_MODEL = ("provider_down", "timeout", "unknown")
# Sluice was late, could not store the result, or could not read its own record.
NOT_OF_MODEL = ("result_expired", "output_too_large", "unreadable")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
# The name of a file, a path or a URL says nothing: safety_checker.py, /src/unsafe/run, https://a.example/nsfw.png.
NAMED = re.compile(
    r"[^\s\"'(]*[/\\][^\s\"')]*|\b[\w-]{1,64}\.(?:py|so|js|png|jpe?g|webp|gif|mp4|mov|wav|mp3|pth?|bin)\b"
)
MAX_DETAIL = 500
MAX_READ = 4 * MAX_DETAIL  # characters of a foreign text that are read at all


def classify_failure(text: str) -> tuple[str, bool]:
    """Returns the error class, and whether another attempt may help; an unknown text may be retried."""
    spoken = NAMED.sub(" ", text[:MAX_READ].lower())
    for rule in RULES:
        if rule.pattern.search(spoken):
            return rule.code, rule.retryable
    return "unknown", True


def clean(text: str) -> str:
    """Returns the text on one line, cut to MAX_DETAIL characters; of a traceback its end, which names the error."""
    part = text[-MAX_DETAIL:] if text.startswith("Traceback (") else text[:MAX_READ]
    encodable = part.encode("utf-8", "replace").decode()
    return CONTROL.sub(" ", encodable).strip()[:MAX_DETAIL]


def error_class(code: str) -> ErrorClass:
    """Returns the class of an error's code."""
    return next((known for known in KNOWN_CLASSES if known == code), ERROR_CLASSES.get(code, "unknown"))


def speaks_of_model(code: str) -> bool:
    """Whether a failure with this code counts towards opening its model's circuit."""
    return code not in NOT_OF_MODEL and error_class(code) in OF_MODEL
