"""What the OpenAPI document says about errors, and which methods a path has by that document."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette._utils import get_route_path
from starlette.routing import compile_path
from starlette.types import Scope

SCHEMAS = "#/components/schemas/"


def document_errors(app: FastAPI, model: type[BaseModel], media_type: str) -> None:
    """Document every error of the application as `model`; call it when all routes are added."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        document = plain()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_schemas_of(model))
        for response in _error_responses(document):
            response["content"] = {media_type: {"schema": {"$ref": SCHEMAS + model.__name__}}}
        _make_bounds_exact(document)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def allowed_methods(scope: Scope) -> str:
    """The methods of a path over all routes that match it, as `Allow` lists them.

    A route answers 405 with its own methods only; RFC 9110, section 10.2.1, wants all of them.
    """
    path, paths = get_route_path(scope), scope["app"].openapi()["paths"]
    matching = [path] if path in paths else [p for p in paths if compile_path(p)[0].match(path)]
    return ", ".join(sorted({method.upper() for p in matching for method in paths[p]}))


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


def _error_responses(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    yield response
