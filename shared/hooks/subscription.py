"""Which events are sent, and where: to a job's or batch's own hook, or to its API key's default hook."""

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from shared.config.hooks import DEFAULT_EVENTS, Event, HookOptions
from shared.config.settings import Settings
from shared.mailboxes import MAILTO, is_mailto

BATCH = "batch"  # outbox.lua's name for the event of a batch
NO_HOOK = {"hook_url": ""}
# What a job takes from its API key's default hook, if its request names no URL: a retry takes the present one's.
DEFAULT_URL, DEFAULT_HOOK = "url", "all"  # the URL alone, as the request names events; or both
MAILED_EVENTS: tuple[Event, ...] = ("job.completed", "job.failed", "job.canceled", "batch.completed")
DEFAULT_PORT = {"https": 443, "http": 80}


def subscription(
    settings: Settings,
    owner: str,
    url: str | None,
    events: Sequence[Event] | None,
    *,
    of_batch: bool = False,
    of_key: HookOptions | None = None,
) -> dict[str, str]:
    """Returns the fields of a job, or with ``of_batch`` of a batch, that hold its hook and the events it receives.

    ``of_key`` is the default hook of a key of the store. A job keeps it as its own: an operator's redrive has no key.
    """
    taken = {} if url or of_key else {"hook_default": DEFAULT_HOOK if events is None else DEFAULT_URL}
    default = of_key or settings.hooks.get(owner, HookOptions())  # mutant: hook of a key
    return _hook(owner, default, url, events, of_batch=of_batch) | taken


def default_place(settings: Settings, owner: str) -> dict[str, str]:
    """Returns the fields of a job that hold where its API key's default hook is now."""
    return _place(owner, settings.hooks.get(owner, HookOptions()).url)


def _hook(
    owner: str, default: HookOptions, url: str | None, events: Sequence[Event] | None, *, of_batch: bool
) -> dict[str, str]:
    address = url or default.url
    if address and is_mailto(address):
        # What an application alone can use is no news for a user.
        # mutant: only ends are mailed
        events = [event for event in MAILED_EVENTS if events is None or event in events]
    wanted = events if events is not None else default.events if url is None else DEFAULT_EVENTS
    kind = "batch" if of_batch else "job"
    named = [event.partition(".")[2] if kind == "job" else BATCH for event in wanted if event.startswith(kind)]
    if not address or not named:
        # A retry may find a default hook.
        return NO_HOOK | ({"hook_events": ",".join(named)} if events else {})
    return _place(owner, address) | {"hook_events": ",".join(dict.fromkeys(named))}


def _place(owner: str, address: str | None) -> dict[str, str]:
    if not address:
        return NO_HOOK
    # A lane belongs to one owner and one host by its name, with its port; addresses do not matter.
    if is_mailto(address):
        host = MAILTO  # all mails go the same way
    else:
        parts = urlsplit(address)
        host = f"{(parts.hostname or '').replace('。', '.')}:{parts.port or DEFAULT_PORT[parts.scheme]}"
    return {"hook_url": address, "hook_lane": f"{owner}:{short(host)}", "hook_tag": short(address)}


def short(text: str) -> str:
    """Returns twelve hex digits for a host or a URL in key names."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
