"""The OpenAPI document: what the service says about itself, errors and login included."""

from collections.abc import Callable, Iterator
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

SCHEMAS = "#/components/schemas/"

Document = dict[str, Any]


def document(app: FastAPI, *additions: Callable[[Document], None]) -> None:
    """Let `app.openapi()` tell which errors each operation may answer, and what `additions` add.

    Call it when all routes are added: the document is made once. An addition is called with the
    document, such as `Auth0.describe`, and may change it.
    """
    from .problems import MEDIA_TYPE, ProblemDetails  # noqa: PLC0415 - it imports this module

    plain: Callable[[], Document] = app.openapi

    @cache
    def openapi() -> Document:
        made = plain()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_schemas_of(ProblemDetails))
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for method, operation in operations_of(made):
            for status in _expected(method, operation):
                described = {"description": HTTPStatus(status).phrase}
                operation["responses"].setdefault(str(status), described)
        for add in additions:
            add(made)
        body = {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + ProblemDetails.__name__}}}
        for _, operation in operations_of(made):
            for status, response in operation["responses"].items():
                if status >= "400":
                    response["content"] = body
        _make_bounds_exact(made)
        return made

    app.openapi = openapi  # type: ignore[method-assign]


def operations_of(made: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the method (in lower case) and the operation object of everything in a document."""
    for path in made["paths"].values():
        yield from path.items()


def _expected(method: str, operation: dict[str, Any]) -> Iterator[int]:
    """Which statuses an operation may answer, by what it takes (RFC 9110, RFC 6585 for 428)."""
    parameters = operation.get("parameters", ())
    headers = {each["name"].lower() for each in parameters if each["in"] == "header"}
    in_path = any(each["in"] == "path" for each in parameters)
    if operation.get("tags") != ["health"]:
        yield 503
    if in_path:
        yield 404
    if in_path and headers & {"if-match", "if-none-match"}:
        yield 410
    if "if-none-match" in headers:
        yield 304
    if "if-match" in headers:
        yield from (412,) if method == "delete" else (412, 428)
    if "requestBody" in operation:
        yield from (400, 409, 413, 415, 422)
    elif method == "delete":
        yield 409


def _schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    modes = [(model, "serialization")]
    definitions: Any = models_json_schema(modes, ref_template=SCHEMAS + "{model}")[1]  # type: ignore[arg-type]
    return dict(definitions["$defs"])


def _make_bounds_exact(part: Any) -> None:
    """Correct bounds near 2**63, which FastAPI keeps as floats: those round beyond a bigint."""
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, dict | list):
            _make_bounds_exact(value)
    if isinstance(part, dict) and part.get("maximum") == 2.0**63:
        part["maximum"] = 2**63 - 1
    if isinstance(part, dict) and part.get("minimum") == -(2.0**63):
        part["minimum"] = -(2**63)
