"""What pydantic finds wrong with the settings, as lines that name the setting and the place in it, and no value."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from shared.config.hooks import HookOptions
from shared.config.queues import QueueOptions

# The settings that are JSON: what each of their members is, and how one is written.
MEMBERS: Mapping[str, type[BaseModel]] = {"hooks": HookOptions, "queue_options": QueueOptions}
EXAMPLES = {
    "hooks": '{"app": {"url": "https://<your application>/hook"}}',
    "queue_options": '{"video": {"concurrency": 4}}',
}
FIELD = re.compile(r'field "(\w+)"')
PART = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,23}")  # shorter than an API key that stands in the place of its name


# In words, what a pattern says.
FORMS = {
    "queues": "names in small letters, with the jobs of each at once or without: render,upscale:2",
    "providers": "names, separated by commas: replicate,wavespeed",
    "provider_rates": "creates a minute by provider: replicate:300,wavespeed:5",
    "provider_concurrency": "predictions at once by provider: replicate:20,wavespeed:3",
    "tier_weights": "whole weights of 1 to 99 by tier: free:1,premium:2,pro:4",
    "key_weights": "whole weights of 1 to 99 by API key: web:1,batch:2",
    **dict.fromkeys(
        ("submit_rate_per_user", "submit_rate_per_key", "failed_auth_rate"),
        "a whole number up to 999999 in each second, minute, hour or day: 10/minute",
    ),
    "verification_client_rate": "a whole number up to 999999 in each second, minute, hour or day, or off: 60/hour",
    "queue_prefix": "at most 64 letters, digits and the signs : _ . -",
}


def lines_of(error: ValidationError) -> list[str]:
    """Returns a line for each fault; several for one that found several."""
    # The error named here is of a derived setting, while another one is faulty.
    faults = [fault for fault in error.errors(include_input=False) if fault["type"] != "default_factory_not_called"]
    return [
        f"{_place(fault['loc'])}{line}" for fault in faults for line in _text(fault["type"], fault["msg"], fault["loc"])
    ]


def line_of_json(message: str) -> str:
    """Returns the line for a setting that should be JSON and is none, from pydantic-settings' message."""
    found = FIELD.search(message)
    name = found.group(1) if found else ""
    return f"{name.upper()} must be JSON, such as {EXAMPLES[name]}" if name in EXAMPLES else message


def _text(kind: str, message: str, location: tuple[int | str, ...]) -> list[str]:
    name = str(location[0]) if location else ""
    if name in MEMBERS and kind == "extra_forbidden":
        return [f"is not known; known are {', '.join(MEMBERS[name].model_fields)}"]
    if name in FORMS and kind == "string_pattern_mismatch":
        return [f"must be {FORMS[name]}"]
    if name in MEMBERS and kind in ("dict_type", "model_type"):
        return [f"must be an object, such as {EXAMPLES[name]}"]
    return message.removeprefix("Value error, ").splitlines()


def _place(location: tuple[int | str, ...]) -> str:
    """Returns the setting and the path to the fault in it, such as ``QUEUE_OPTIONS: video.retries: ``."""
    if not location:
        return ""
    setting, *rest = map(str, location)
    path = ".".join(part if part.isdecimal() or PART.fullmatch(part) else "(a name)" for part in rest)
    return f"{setting.upper()}: " + (f"{path}: " if path else "")
