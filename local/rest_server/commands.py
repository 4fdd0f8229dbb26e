"""Reads commands from requests: from the path, from a JSON body, from the two kinds of batches.

The shapes are those of Upstash's REST API page. Arguments are bytes; a path may carry any byte, percent-encoded.
"""

import json
from collections.abc import AsyncIterator
from urllib.parse import unquote_to_bytes

from .connections import Command

MAX_REQUEST_BYTES = 10 * 1024 * 1024  # the free and pay-as-you-go plans' limit on one request, and on its answer


class BadRequestError(Exception):
    """The request is not a command; the message has Redis' form and goes to the client."""


async def read_body(chunks: AsyncIterator[bytes]) -> bytes:
    """Returns the request body; raises BadRequestError after reading all of one that is too large."""
    kept, size = bytearray(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= MAX_REQUEST_BYTES:
            kept += chunk
    check_size(size)
    return bytes(kept)


def check_size(size: int) -> None:
    """Raises BadRequestError if a request or its answer is too large. What an answer is about stays applied."""
    if size > MAX_REQUEST_BYTES:
        raise BadRequestError(f"ERR max request size exceeded. Limit: {MAX_REQUEST_BYTES} bytes, Actual: {size} bytes")


def from_path(raw_path: bytes, query: bytes, body: bytes) -> Command:
    """Returns `/set/foo?EX=100` with body `v` as SET foo v EX 100.

    The body, unless empty, is the last argument of the path; query parameters follow it, name and value as two
    arguments, a parameter without a value as one. `_token` is no argument.
    """
    command = [unquote_to_bytes(segment) for segment in raw_path.removeprefix(b"/").split(b"/")]
    if body:
        command.append(body)
    for parameter in query.split(b"&"):
        name, _, value = parameter.replace(b"+", b" ").partition(b"=")
        if name and name != b"_token":
            command.append(unquote_to_bytes(name))
            if value:
                command.append(unquote_to_bytes(value))
    return command


def token_in_query(query: bytes) -> bytes | None:
    """Returns the value of `?_token=`, or None."""
    for parameter in query.split(b"&"):
        name, _, value = parameter.partition(b"=")
        if name == b"_token":
            return unquote_to_bytes(value)
    return None


def from_body(body: bytes) -> Command:
    """Returns the command in a body like `["SET", "foo", "bar", "EX", 100]`."""
    return _command(_parsed(body))


def batch_from_body(body: bytes) -> list[Command]:
    """Returns the commands in a body like `[["SET", "foo", "bar"], ["GET", "foo"]]`."""
    rows = _parsed(body)
    if not isinstance(rows, list) or not rows:
        raise BadRequestError("ERR failed to parse request: a non-empty array of commands is expected")
    return [_command(row) for row in rows]


def _parsed(body: bytes) -> object:
    try:
        # Numbers stay text, so 1.50 and integers beyond 64 bits reach the engine as the client wrote them.
        return json.loads(body, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequestError("ERR failed to parse request: the body is not valid JSON") from None


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def _command(row: object) -> Command:
    if not isinstance(row, list) or not row:
        raise BadRequestError("ERR failed to parse command: a non-empty array is expected")
    command = [_argument(element) for element in row]
    if not command[0]:
        raise BadRequestError("ERR empty command")
    return command


def _argument(element: object) -> bytes:
    if isinstance(element, bool):
        return b"true" if element else b"false"
    if isinstance(element, str):
        # JSON may spell half a surrogate pair, which no UTF-8 can: it becomes U+FFFD, as in Go's decoder.
        return element.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    if element is None:
        raise BadRequestError("ERR null args are not supported")
    raise BadRequestError("ERR failed to parse command: arguments are strings, numbers or booleans")
