"""The API's description in OpenAPI 3.1, made from the table of operations and the models of bodies and queries."""

import re
from typing import Any

from pydantic import BaseModel

from shared.operations import OPERATIONS, Operation

AT = "#/components/schemas/{model}"
# Times are read from texts before their model sees a number, so the model's own schema has the number.
TIMES = ("created_after", "created_before", "after", "before", "expires_at")
TIME = {"type": "string", "format": "date-time"}
# Narrower than the models, so that many requests that are valid by their form are taken.
SENSIBLE: dict[str, dict[str, Any]] = {
    "model": {"type": "string", "pattern": "^[a-z]{1,6}/[a-z]{1,6}$"},
    "user_id": {"type": "string", "enum": ["ada", "bob", "eve", "世界"]},
    "email": {"type": "string", "pattern": "^[a-z]{1,8}@example[.]com$"},
    "code": {"type": "string", "pattern": "^[0-9]{6}$"},
    "client_address": {"type": "string", "format": "ipv4"},
    "provider": {"type": "string", "enum": ["replicate"]},
    "queue": {"type": "string", "enum": ["video", "storyboard"]},
    "hook_url": {"type": "string", "enum": ["https://127.0.0.1/hook", "http://example.com"]},  # both are refused
    "owner": {"type": "string", "enum": ["app", "other", "shop"]},
    "key": {"type": "string", "enum": ["app", "other", "shop"]},
    "content_type": {"type": "string", "enum": ["image/png", "image/jpeg"]},
    "providers": {"type": ["array", "null"], "items": {"type": "string", "enum": ["replicate"]}, "maxItems": 2},
    "add": {"type": "array", "items": {"type": "string", "enum": ["acme.dev", "ada@acme.dev"]}, "maxItems": 2},
    "remove": {"type": "array", "items": {"type": "string", "enum": ["acme.dev", "bob@acme.dev"]}, "maxItems": 2},
    "resume": {"type": "array", "items": {"type": "string", "enum": ["replicate"]}, "maxItems": 2},
}
AMOUNT = {"type": ["integer", "null"], "minimum": 0, "maximum": 1000}
OF_LIMITS = {"queues": "video", "providers": "replicate"}  # names of the members of these objects
WHICH = ("ids", "filter", "all")  # of which an order has one
KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"}}
ETAG = {"name": "If-None-Match", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]{1,40}$"}}


def path_of(operation: Operation) -> str:
    """The path as OpenAPI writes it."""
    return re.sub(r"{(\w+):path}", r"{\1}", operation.path)


def described() -> dict[str, Any]:
    """The whole description."""
    models: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(path_of(operation), {})[operation.method.lower()] = _described(operation, models)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sluice", "version": "0"},
        "paths": paths,
        "components": {"schemas": models},
    }


def _described(operation: Operation, models: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path_of(operation))
    within = {"type": "string", "minLength": 1, "maxLength": 60}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": within} for name in names
    ]
    if operation.query is not None:
        schema = _schema(operation.query, models)
        needed = schema.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in needed, "schema": part}
            for name, part in schema["properties"].items()
        ]
    parameters += [
        {"name": name, "in": "query", "schema": {"type": "integer", "minimum": least, "maximum": min(most, 2)}}
        for name, (least, most) in operation.numbers.items()
    ]
    if operation.path in ("/api/submit", "/api/batches"):
        parameters.append(KEY)
    if 304 in operation.answers:
        parameters.append(ETAG)
    made: dict[str, Any] = {
        "parameters": parameters,
        "responses": {str(status): {"description": "as announced"} for status in operation.answers},
    }
    if operation.body is not None:
        schema = _schema(operation.body, models)
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _schema(model: type[BaseModel], models: dict[str, Any]) -> dict[str, Any]:
    """The model's schema; the models inside it are put among the others."""
    schema = model.model_json_schema(ref_template=AT)
    inner = schema.pop("$defs", {})
    for one in (schema, *inner.values()):
        for name, part in one.get("properties", {}).items():
            if name in TIMES:
                one["properties"][name] = TIME
            elif name in OF_LIMITS and part.get("type") == "object":
                members = {OF_LIMITS[name]: AMOUNT}
                one["properties"][name] = {"type": "object", "properties": members, "additionalProperties": False}
            elif name in SENSIBLE:
                one["properties"][name] = SENSIBLE[name]
    models.update(inner)
    return _order(schema) if set(WHICH) <= set(schema["properties"]) else schema


def _order(schema: dict[str, Any]) -> dict[str, Any]:
    """The same for an order: one of the three ways to say which jobs it is about, and no cursor, which is signed."""
    properties = schema["properties"] | {"all": {"const": True}}
    common = {name: part for name, part in properties.items() if name not in (*WHICH, "cursor")}
    ways = []
    for name in WHICH:
        way = next((one for one in properties[name].get("anyOf", ()) if one != {"type": "null"}), properties[name])
        ways.append({
            "type": "object", "properties": common | {name: way}, "required": [name], "additionalProperties": False,
        })  # fmt: skip
    return {"oneOf": ways}
