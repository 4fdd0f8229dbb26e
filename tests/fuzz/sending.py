"""One request as it goes out: what schemathesis made, with a credential, an id of the stage and a mark in it."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from schemathesis import Case
from schemathesis.core import NOT_SET

from shared.access.caller import Role
from shared.operations import Operation
from tests.fuzz.schema import path_of
from tests.fuzz.stage import Stage

ECHO = "Sent-and-Not-to-be-Shown"
WORD = re.compile(r"[a-z0-9_.:/ -]*")  # a value of an enumeration, which a refusal may list
MARKED = ("If-None-Match", "Idempotency-Key", "Origin", "Accept-Language", "X-Request-Id")


def leaves(value: Any) -> Iterator[str]:
    """Every text in a value, without the names of its members."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)


def whole(value: Any) -> Any:
    """The value with 1 for 1.0: in JSON Schema both are integers, and Sluice takes the first alone."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list) else value


class Sent:
    """A request and the texts in it that no refusal may show."""

    def __init__(self, stage: Stage, operation: Operation, case: Case[Any], kind: str, luck: random.Random) -> None:
        places = _places(stage, case, luck)
        body = whole(case.body) if luck.random() < 0.8 else case.body
        query = {name: value for name, value in (case.query or {}).items() if value is not None}
        headers = {str(name): str(value) for name, value in (case.headers or {}).items()}
        match luck.randrange(4):
            case 0 if isinstance(body, dict) and body:
                body = {**body, luck.choice(list(body)): ECHO}
            case 1 if query:
                query[luck.choice(list(query))] = ECHO
            case 2:
                headers[luck.choice(MARKED)] = ECHO
        self.content = b""
        if not isinstance(body, type(NOT_SET)):
            self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        path = re.sub(r"{(\w+)}", lambda found: quote(places[found[1]], safe="%"), path_of(operation))
        self.url = path + (f"?{urlencode(query, doseq=True)}" if query else "")
        if Role.LINK in operation.roles and kind == "signed":
            self.url = stage.links[operation.method]
        if Role.PROVIDER in operation.roles and kind == "signed":
            headers |= stage.signed(self.content)
        self.headers = list(_raw(headers | stage.credentials[kind]))
        sent = [*leaves(body), *leaves(query), *places.values(), *headers.values()]
        self.texts = {text for text in sent if len(text) > 7 and not WORD.fullmatch(text)} | {ECHO}


def _places(stage: Stage, case: Case[Any], luck: random.Random) -> dict[str, str]:
    """What stands in the path: most times an id that exists, and at times one of another kind."""
    places = {name: str(value) for name, value in (case.path_parameters or {}).items()}
    every = [one for ids in stage.ids.values() for one in ids]
    for name in places:
        match luck.randrange(8):
            case 0:
                pass
            case 1:
                places[name] = luck.choice([*every, ECHO])
            case _:
                places[name] = "replicate" if name == "provider" else luck.choice(stage.ids.get(name, every))
    return places


def _raw(headers: dict[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """The headers that a server would pass on."""
    for name, value in headers.items():
        if re.fullmatch(r"[A-Za-z-]+", name):
            yield name.encode(), value.encode("latin-1", "ignore").translate(None, b"\r\n\0")
