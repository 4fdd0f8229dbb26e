"""The contents of a create call, checked as the API checks it."""

import ipaddress
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from local.simulator.behaviour import Behaviour
from local.simulator.prediction import Event
from local.simulator.refusals import Refusal, invalid

MINIMUM_CANCEL_AFTER_S = 5
"""Replicate's changelog of 16 October 2025: the shortest `Cancel-After`."""

_CANCEL_AFTER = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_VERSION = re.compile(r"(?:(?P<model>[\w.-]+/[\w.-]+)(?::(?P<of_model>\w+))?|(?P<alone>[0-9a-f]{64}))")
_DEFAULT_EVENTS: frozenset[Event] = frozenset({"output", "completed"})


class CreateBody(BaseModel):
    """The JSON body of a create call; unknown fields (`stream`) are ignored, as the API does with deprecated ones."""

    input: dict[str, Any]
    version: str | None = None
    webhook: str | None = None
    webhook_events_filter: list[Event] | None = None

    @property
    def prompt(self) -> str:
        """The prompt; creates are counted by it and media show it."""
        return str(self.input.get("prompt", ""))

    @property
    def events(self) -> frozenset[Event]:
        """The webhook events to send; without a filter the API's default: new outputs, and completion."""
        return _DEFAULT_EVENTS if self.webhook_events_filter is None else frozenset(self.webhook_events_filter)


class Target(NamedTuple):
    """The model that runs, as the prediction object names it."""

    model: str
    version: str
    deployment: str | None = None


def target_of(version: str | None) -> Target:
    """Reads the three forms of `version`: owner/name (an official model), owner/name:id, and a 64-digit id alone."""
    form = _VERSION.fullmatch(version or "")
    if form is None:
        raise Refusal(
            422,
            "Invalid version or not permitted",
            "The specified version does not exist (or perhaps you don't have permission to use it?)",
        )
    if form["alone"]:
        return Target(f"simulated/{form['alone'][:12]}", form["alone"])
    return Target(form["model"], form["of_model"] or "hidden")


def cancel_after_of(header: str | None) -> float | None:
    """Reads a `Cancel-After` header (`90s`, `5m`, `1h30m45s`) as seconds."""
    if header is None:
        return None
    form = _CANCEL_AFTER.fullmatch(header.strip())
    if form is None or not any(form.groups()):
        raise invalid(f"Cancel-After: {header[:40]!r} is not a duration such as 90s, 5m or 1h30m45s")
    hours, minutes, seconds = (int(part or 0) for part in form.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < MINIMUM_CANCEL_AFTER_S:
        raise invalid(f"Cancel-After: must be at least {MINIMUM_CANCEL_AFTER_S} seconds")
    return float(total)


def check_webhook(url: str | None) -> None:
    """Refuses a webhook that is not https. Unlike the real API it accepts plain http to this machine."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise invalid("- webhook: Does not match format 'uri'\n") from None
    if parts.scheme == "https" and host:
        return
    if parts.scheme != "http" or not _is_loopback(host):
        raise invalid("- webhook: must be an HTTPS URL\n")


def behaviour_of(standing: dict[str, Any], given: dict[str, Any]) -> Behaviour:
    """Returns the behaviour that an input chooses; `standing` gives the fields it leaves out."""
    chosen = given.get("simulate", {})
    if not isinstance(chosen, dict):
        raise invalid("- input.simulate: Invalid type. Expected: object\n")
    try:
        return Behaviour.model_validate({**standing, **chosen})
    except ValidationError as wrong:
        raise invalid(complaint(wrong.errors(), "input.simulate")) from None


def complaint(errors: Any, where: str) -> str:
    """Writes validation errors as the API does: one `- place: message` line each."""
    return "".join(f"- {'.'.join(map(str, (where, *each['loc'])))}: {each['msg']}\n" for each in errors)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
