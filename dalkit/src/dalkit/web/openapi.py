"""The OpenAPI document: what the service says about itself, errors and login included."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .request import TRANSACTION_DEPENDENCIES

SCHEMAS = "#/components/schemas/"

Document = dict[str, Any]


def document(app: FastAPI, *additions: Callable[[Document], None]) -> None:
    """Let `app.openapi()` tell which errors each operation may answer, and what `additions` add.

    Call it when all routes are added: the document is made once. An addition is called with the
    document, such as `Auth0.describe`, and may change it.
    """
    # It imports this module.
    from .problems import MEDIA_TYPE, ProblemDetails, phrase_of  # noqa: PLC0415

    plain: Callable[[], Document] = app.openapi

    @cache
    def openapi() -> Document:
        made = plain()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_schemas_of(ProblemDetails))
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        using = set(_using_the_database(app))
        for path, method, operation in operations_of(made):
            for status in _expected(method, operation, (path, method) in using):
                described = {"description": phrase_of(status)}
                operation["responses"].setdefault(str(status), described)
        for add in additions:
            add(made)
        body = {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + ProblemDetails.__name__}}}
        for _, _, operation in operations_of(made):
            for status, response in operation["responses"].items():
                if status >= "400":
                    response["content"] = body
        _make_bounds_exact(made)
        return made

    app.openapi = openapi  # type: ignore[method-assign]


def operations_of(made: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method (in lower case) and operation object of everything in a document."""
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _expected(method: str, operation: dict[str, Any], uses_database: bool) -> Iterator[int]:
    """Which statuses an operation may answer, by what it takes (RFC 9110, RFC 6585 for 428)."""
    parameters = operation.get("parameters", ())
    headers = {each["name"].lower() for each in parameters if each["in"] == "header"}
    if "requestBody" in operation:
        yield from (400, 413, 415, 422)
    if "if-none-match" in headers:
        yield from (304, 410)
    if "if-match" in headers:
        yield from (410, 412) if method == "delete" else (410, 412, 428)
    if "idempotency-key" in headers and method != "get":
        yield from (400, 409, 422, 503)
    if uses_database:
        yield 503
        if any(each["in"] == "path" for each in parameters):
            yield 404
        if method != "get":
            yield 409


def _using_the_database(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Path and method (in lower case) of the routes that ask for the request's transaction."""
    for context in iter_route_contexts(app.router.routes):
        if _asks_for_a_transaction(getattr(context, "dependant", None)):
            for method in context.methods or ():
                yield context.path_format or "", method.lower()


def _asks_for_a_transaction(dependant: Any) -> bool:
    return dependant is not None and (
        dependant.call in TRANSACTION_DEPENDENCIES
        or any(map(_asks_for_a_transaction, dependant.dependencies))
    )


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
