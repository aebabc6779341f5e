"""``/openapi.json``: takes the document that FastAPI makes of the routes, and changes it for code generators and linters.

Schemas have short, unique names. The ids of operations stay the same when a path or a module changes. Each operation names its credentials,
also if it needs none. Errors are described as they are sent. Rules: OpenAPI 3.1, sections 4.8.10 and 4.8.30.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

SECURITY_SCHEMES: Final = "x-security-schemes"
"""Key in a route's ``openapi_extra``: its own security schemes, by name, to which its ``security`` refers. They move to the components."""

_SCHEMA: Final = "#/components/schemas/"
_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")

_STATUS_SCHEMA: Final = {
    "type": "object",
    "required": ["code"],
    "properties": {
        "code": {"anyOf": [{"type": "integer"}, {"type": "string"}], "description": "What went wrong."},
        "message": {"type": "string", "description": "In words."},
        "detail": {"type": "object", "description": "More, by habit `field`, `expected` and `got`."},
    },
}

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": _STATUS_SCHEMA,
        "errors": {
            "type": "array",
            "description": "The failures of a bulk request.",
            "items": {"type": "object", "properties": {"status": _STATUS_SCHEMA}, "required": ["status"]},
        },
    },
}

_FORBIDDEN_SCHEMA: Final = {
    "description": "An unknown API key has no envelope.",
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string", "const": "Forbidden"}},
}

_OPEN_ERRORS: Final = {
    "400": "A field is wrong: `status.detail` names it, what was expected, and what came.",
    "500": "The server failed to answer.",
}
_GUARDED_ERRORS: Final = {
    "401": "No credential, or a wrong or expired one.",
    "403": "The credential may not do this.",
    "503": "A part of the server is not there now.",
}
_BODY_ERRORS: Final = {
    "413": "The body is larger than the operation takes, or has too many members.",
    "429": "The bodies of requests of this address that are under way take what they may; `Retry-After` says when to try again.",
}


def operation_id(route: APIRoute) -> str:
    """The id of a route's operation: its first tag and the name of its function, such as ``webhooksRotate``. Generated code has a function
    of this name, so change neither without need.
    """
    texts = re.findall(r"[A-Za-z0-9]+", f"{route.tags[0] if route.tags else ''} {route.name}".replace("_", " "))
    first, *rest = (str(word) for word in texts)
    return first.lower() + "".join(word[:1].upper() + word[1:] for word in rest)


def json_body(schema: Callable[[], Any], *, required: bool = True) -> dict[str, Any]:
    """``openapi_extra`` for an operation that reads and checks its JSON body itself, so that FastAPI does not know of it.

    ``schema`` is called when the document is made.
    """
    return {"requestBody": lambda: {"required": required, "content": {"application/json": {"schema": schema()}}}}


def schema_of(model: Any) -> dict[str, Any]:
    """The JSON Schema of a pydantic type without references, to stand anywhere in the document. The type must not contain itself."""
    schema = TypeAdapter(model).json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, dict):
            if (reference := part.get("$ref")) is not None:
                others = {key: value for key, value in part.items() if key != "$ref"}
                return inlined({**definitions[reference.removeprefix("#/$defs/")], **others})
            return {key: inlined(value) for key, value in part.items() if key != "discriminator"}
        return [inlined(value) for value in part] if isinstance(part, list) else part

    made: dict[str, Any] = inlined(schema)
    return made


def describe(app: FastAPI) -> dict[str, Any]:
    """Make the document.

    Raises:
        ValueError: two operations or two schemas would have the same name.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, license_info=app.license_info, routes=app.routes
    )
    document["servers"] = [{"url": "/", "description": "This hub."}]
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Error"] = _ERROR_SCHEMA
    schemas["Forbidden"] = _FORBIDDEN_SCHEMA
    schemes = components.setdefault("securitySchemes", {})
    for path in document.get("paths", {}).values():
        for operation in (path[method] for method in _METHODS if method in path):
            schemes.update(operation.pop(SECURITY_SCHEMES, {}))
            operation.setdefault("security", [])
            _tell_errors(operation)
    _check_ids(document)
    named: dict[str, Any] = _renamed(document, _short_names(schemas))
    for name, schema in named["components"]["schemas"].items():
        _drop_titles(schema)
        schema["title"] = name
    for path in named.get("paths", {}).values():
        _drop_titles(path)
    return named


def _tell_errors(operation: dict[str, Any]) -> None:
    """Replace FastAPI's 422 by 400, and add the other errors that every operation has."""
    error = {"application/json": {"schema": {"$ref": f"{_SCHEMA}Error"}}}
    forbidden = {"application/json": {"schema": {"anyOf": [{"$ref": f"{_SCHEMA}Error"}, {"$ref": f"{_SCHEMA}Forbidden"}]}}}
    responses = operation["responses"]
    responses.pop("422", None)
    errors = {**_OPEN_ERRORS, **_GUARDED_ERRORS} if operation["security"] else _OPEN_ERRORS
    if "requestBody" in operation:
        errors = {**errors, **_BODY_ERRORS}
    for status, description in errors.items():
        responses.setdefault(status, {"description": description, "content": forbidden if status == "403" else error})


def _check_ids(document: dict[str, Any]) -> None:
    seen: dict[str, str] = {}
    for name, path in document.get("paths", {}).items():
        for method in (method for method in _METHODS if method in path):
            identifier = path[method]["operationId"]
            if identifier in seen:
                raise ValueError(f"operationId {identifier}: expected one operation, got {seen[identifier]} and {method} {name}")
            seen[identifier] = f"{method} {name}"


def _short_names(schemas: dict[str, Any]) -> dict[str, str]:
    """New names for schemas that FastAPI names by module, because several have one class name: the family's name, then the class name.

    Raises:
        ValueError: two schemas would have the same name.
    """
    names: dict[str, str] = {}
    for name in schemas:
        if "__" in name:
            _, family, *_, kind = name.split("__")
            names[name] = "".join(word.capitalize() for word in family.split("_")) + kind
    new = [names.get(name, name) for name in schemas]
    if len(set(new)) < len(new):
        twice = sorted({name for name in new if new.count(name) > 1})
        raise ValueError(f"schemas: expected names of their own, got two of {', '.join(twice)}")
    return names


def _renamed(node: Any, names: dict[str, str]) -> Any:
    """The document with the new names of schemas, in definitions and references."""
    if isinstance(node, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(value, names) for value in node]
    if isinstance(node, str) and node.startswith(_SCHEMA):
        name = node.removeprefix(_SCHEMA)
        return _SCHEMA + names.get(name, name)
    return node


def _drop_titles(node: Any, *, of_names: bool = False) -> None:
    """Remove the titles within a schema: pydantic makes them from field names, many are equal, and generators would use them as type names.

    Args:
        node: a part of the document.
        of_names: the keys of ``node`` are names of properties, one of which may be ``title``.
    """
    if isinstance(node, dict):
        if not of_names and isinstance(node.get("title"), str):
            del node["title"]
        for key, value in node.items():
            if key not in ("example", "examples", "default", "const", "enum"):
                _drop_titles(value, of_names=key in ("properties", "patternProperties", "$defs") and not of_names)
    elif isinstance(node, list):
        for value in node:
            _drop_titles(value)
