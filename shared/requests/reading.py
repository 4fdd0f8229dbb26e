"""Reads requests: bounded bodies, strict JSON, and validation errors that name the field and echo nothing.

Python's JSON reader accepts NaN, 1e999, lone surrogates, duplicate keys and any nesting. Each of these fails later, in
an answer or on the way to the store. This module refuses them, while the caller can still get a useful error.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterable
from itertools import pairwise
from typing import NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from shared.errors import UNKNOWN_FIELD, InvalidRequest
from shared.json_value import Json

Model = TypeVar("Model", bound=BaseModel)

MAX_DEPTH = 8
MAX_KEY = 255
MAX_DIGITS = 4000  # Python reads no more than 4300, and reading takes the square of their number
MAX_MEMBERS = 100  # of a gzip body, one behind the other (RFC 1952, section 2.2); each copies the rest of the body
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SURROGATE = re.compile("[\ud800-\udfff]")


async def read_body(request: Request, limit: int) -> bytes:
    """Returns the request's body; 413 as soon as more than ``limit`` bytes are announced, or arrive."""
    too_large = InvalidRequest(f"The body may have at most {limit} bytes.", http_status=413)
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        raise too_large
    body = bytearray()  # one block: a list of parts of a byte each would take fifty times as much
    try:
        async for part in request.stream():
            if len(body) + len(part) > limit:
                raise too_large
            body += part
    except ClientDisconnect:
        raise InvalidRequest("The body did not arrive completely.", http_status=400) from None
    return bytes(body)


async def read_model(
    request: Request, limit: int, model: type[Model], complete: Callable[[Json], Json] = lambda given: given
) -> Model:
    """Returns the request's JSON object as a model; InvalidRequest names the first invalid field.

    ``complete`` may add to the document, or refuse it, before it is checked.
    """
    _require_json(request)
    return checked(
        model, complete(parse_json(_unpacked(request, await read_body(request, limit), limit), model.model_fields))
    )


async def read_optional_model(request: Request, limit: int, model: type[Model]) -> Model:
    """Does the same; reads a request without a body as an empty object."""
    body = await read_body(request, limit)
    if not body:
        return checked(model, {})
    _require_json(request)
    return checked(model, parse_json(_unpacked(request, body, limit), model.model_fields))


def checked(model: type[Model], given: object) -> Model:
    """Returns the given value as a model; InvalidRequest names the first invalid field."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _invalid(error, model) from None


def media_type(request: Request) -> str:
    """Returns the request's content type, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_idempotency_key(request: Request) -> str | None:
    """Returns the request's Idempotency-Key, or None."""
    given = request.headers.getlist("idempotency-key")
    if len(given) > 1:
        raise InvalidRequest("This header is given twice.", field="Idempotency-Key")
    key = given[0] if given else None
    if key is not None and not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise InvalidRequest(f"must be 1 to {MAX_KEY} printable ASCII characters", field="Idempotency-Key")
    return key


def read_parameter(request: Request, name: str, default: str = "") -> str:
    """Returns a parameter of the query; InvalidRequest names one that is given twice."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise InvalidRequest("This parameter is given twice.", field=name)
    return given[0] if given else default


def read_number(request: Request, name: str, default: int, least: int, most: int) -> int:
    """Returns a whole number of the query; InvalidRequest names the parameter."""
    text = read_parameter(request, name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
        raise InvalidRequest(f"must be a whole number from {least} to {most}", field=name)
    return int(text)


def read_query(request: Request, model: type[Model]) -> Model:
    """Returns the request's query as a model; InvalidRequest names the first parameter that is invalid or repeated."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            is_known = name in model.model_fields
            raise InvalidRequest("This parameter is given twice.", field=_name((name,))[0], is_field_known=is_known)
        given[name] = value
    return checked(model, given)


def parse_json(body: bytes, names: Collection[str] = ()) -> Json:
    """Returns the JSON document in ``body``; InvalidRequest for a value that could not be written as JSON again.

    ``names``: the members that it may have; any other name is the caller's text.
    """
    try:
        document: Json = json.loads(
            # A byte order mark is no part of the text, but some clients send one.
            body.decode("utf-8-sig"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_once,
        )
    except RecursionError:
        raise _too_deep(None, names) from None
    except ValueError:
        raise InvalidRequest("The body is not valid JSON.", http_status=400) from None
    _inspect(document, 1, None, names)
    return document


def _unpacked(request: Request, body: bytes, limit: int) -> bytes:
    """Returns the body without its Content-Encoding; never unpacks more than ``limit`` bytes of it."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidRequest("must be gzip, or absent", field="Content-Encoding", http_status=415)
    plain = bytearray()
    for _ in range(MAX_MEMBERS):
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: gzip's header
        try:
            plain += unpacker.decompress(body, limit + 1 - len(plain))  # mutant: packed bomb
        except zlib.error:
            break
        if len(plain) > limit:
            raise InvalidRequest(f"The body may have at most {limit} bytes.", http_status=413)
        body = unpacker.unused_data
        if not unpacker.eof:
            break
        if not body:
            return bytes(plain)
    raise InvalidRequest("The body is not valid gzip.", http_status=400)


def _require_json(request: Request) -> None:
    content_type = media_type(request)
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise InvalidRequest("The body must be sent as application/json.", field="Content-Type", http_status=415)


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest("Numbers must be finite.", http_status=400)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidRequest("Numbers must be finite.", http_status=400)
    return number


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise InvalidRequest(f"A number may have at most {MAX_DIGITS} digits.", http_status=400)
    return int(text)


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InvalidRequest("An object names a member twice.", http_status=400)
    return document


def _too_deep(field: str | None, names: Collection[str]) -> InvalidRequest:
    text = f"The body may be nested at most {MAX_DEPTH} deep."
    return InvalidRequest(text, field=field, is_field_known=field in names)


def _inspect(value: Json, depth: int, field: str | None, names: Collection[str]) -> None:
    """Refuses values nested too deep, and text that UTF-8 cannot encode; ``field`` is the top-level member."""
    if isinstance(value, str):
        if SURROGATE.search(value):
            text = "Text must be valid Unicode, without lone surrogates."
            raise InvalidRequest(text, field=field, is_field_known=field in names)
        return
    if not isinstance(value, dict | list):
        return
    if depth > MAX_DEPTH:
        raise _too_deep(field, names)
    members: Iterable[tuple[str | None, Json]]
    members = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    for name, member in members:
        if name is not None:
            _inspect(name, depth, field, names)
        _inspect(member, depth + 1, name if depth == 1 else field, names)


def _invalid(error: ValidationError, model: type[BaseModel]) -> InvalidRequest:
    """Returns the first fault in pydantic's words, which do not quote the input; its context and input are left out."""
    fault = error.errors(include_url=False, include_input=False)[0]
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = UNKNOWN_FIELD
    if fault["type"] in ("model_type", "dict_type"):
        message = "must be an object" if fault["loc"] else "The body must be a JSON object."
    if fault["type"] == "too_long":
        message = f"may have at most {fault['ctx']['max_length']} entries"
    field, is_known = _name(fault["loc"], model)
    return InvalidRequest(message, field=field, is_field_known=is_known)


def _name(location: tuple[int | str, ...], model: type[BaseModel] | None = None) -> tuple[str | None, bool]:
    """Returns the place of the fault, such as ``users[0].key`` or ``filter.status``; None if it is no field.

    And whether each name of it is a field's: else it is the caller's text. A name in an object of the caller's own,
    such as ``metadata``, is left out.
    """
    if not location or not NAME.fullmatch(str(location[0])):
        return None, False
    place = str(location[0])
    models = [] if model is None else [model]
    is_known = any(place in one.model_fields for one in models)
    models = _models_at(place, models)
    for before, part in pairwise(location):
        if isinstance(part, int):
            place += f"[{part}]"
            continue
        is_field = any(part in one.model_fields for one in models)
        if not NAME.fullmatch(part) or not (is_field or isinstance(before, int)):
            break
        place += f".{part}"
        is_known = is_known and is_field
        models = _models_at(part, models)
    return place, is_known


def _models_at(name: str, models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    """Returns the models that may stand at this field of one of these models, or in a list there."""
    fields = [model.model_fields[name] for model in models if name in model.model_fields]
    return [found for field in fields for found in _models_in(field.annotation)]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is dict:  # its keys are the caller's
        return []
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
