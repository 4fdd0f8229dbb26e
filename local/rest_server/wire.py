"""Replies written as the REST API's JSON."""

import json
from base64 import b64encode
from typing import TypeAlias

from .connections import Failure, Reply

Json: TypeAlias = "int | str | list[Json] | dict[str, Json] | None"


def answer(reply: Reply, base64: bool) -> dict[str, Json]:
    """Returns `{"result": ...}` or `{"error": ...}`, the object of one command."""
    if isinstance(reply, Failure):
        return {"error": reply.text}
    return {"result": encode(reply, base64)}


def encode(reply: Reply, base64: bool) -> Json:
    """Returns the reply in a form that JSON can hold.

    With `base64` every string is encoded except the literal OK, also inside arrays. Otherwise bytes that are not UTF-8
    become U+FFFD. An error nested in an array, which only a script can produce, becomes its text.
    """
    if isinstance(reply, list):
        return [encode(element, base64) for element in reply]
    if isinstance(reply, Failure):
        reply = reply.text.encode()
    if isinstance(reply, bytes):
        if base64 and reply != b"OK":
            return b64encode(reply).decode()
        return reply.decode(errors="replace")
    return reply


def dump(value: object) -> bytes:
    """Returns the JSON text of a response body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
