"""Who is told of what: a job's or batch's own hook, or its API key's default."""

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from shared.config.hooks import DEFAULT_EVENTS, Event, HookOptions
from shared.config.settings import Settings

BATCH = "batch"  # as outbox.lua calls the one event of a batch
NOBODY = {"hook_url": ""}
DEFAULT_PORT = {"https": 443, "http": 80}


def subscription(
    settings: Settings, owner: str, url: str | None, events: Sequence[Event] | None, *, of_batch: bool = False
) -> dict[str, str]:
    """The fields by which a job, or with ``of_batch`` a batch, knows whom to tell, and of what."""
    default = settings.hooks.get(owner, HookOptions())
    address = url or default.url
    wanted = events if events is not None else default.events if url is None else DEFAULT_EVENTS
    kind = "batch" if of_batch else "job"
    named = [event.partition(".")[2] if kind == "job" else BATCH for event in wanted if event.startswith(kind)]
    if not address or not named:
        return NOBODY
    # Whatever it resolves to, its failures are one owner's trouble with one host; a port of its own is another host.
    parts = urlsplit(address)
    host = f"{(parts.hostname or '').replace('。', '.')}:{parts.port or DEFAULT_PORT[parts.scheme]}"
    return {
        "hook_url": address,
        "hook_lane": f"{owner}:{short(host)}",
        "hook_tag": short(address),
        "hook_events": ",".join(dict.fromkeys(named)),
    }


def short(text: str) -> str:
    """Twelve hex digits that stand for a host or a URL in key names."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
