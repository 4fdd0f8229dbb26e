"""What a completed job brought, as its owner is sent to it."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shared.errors import NotCompleted, NotCompletedYet
from shared.statuses import StatusView

MOST_OF_URL = 2000  # characters that go into a header


@dataclass(frozen=True)
class Result:
    """The output, and the address that it is or whose list it begins, if any."""

    output: Any
    url: str | None

    @property
    def body(self) -> bytes:
        """The output as a JSON document; ASCII, since a provider's text may hold what UTF-8 cannot carry."""
        return json.dumps({"output": self.output}, separators=(",", ":")).encode()


def result_of(view: StatusView) -> Result:
    """The result of the job in the view; NotCompleted if it has none."""
    document = json.loads(view.body)
    if document["status"] != "completed":
        raise NotCompleted if view.is_final else NotCompletedYet
    output = document["output"]
    candidates = output if isinstance(output, list) else [output]
    return Result(output, next((text for text in candidates if _is_url(text)), None))


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > MOST_OF_URL or not value.isascii() or not value.isprintable():
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.netloc) and " " not in value
