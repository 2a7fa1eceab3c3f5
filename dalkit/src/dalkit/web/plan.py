"""What a handler is called with: FastAPI's dependencies and parameters, as a list of steps.

FastAPI works this out anew for each request. A Plan is made once, and only of what is known here.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from fastapi import params
from fastapi._compat import ModelField, field_annotation_is_sequence, get_cached_model_fields
from fastapi.dependencies import models, utils
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import Request

#: What a Dependant has and a plan follows. Its `scope` is about generators, which are not plain.
FOLLOWED = {
    *("call", "name", "path", "dependencies", "use_cache", "scope"),
    *("path_params", "query_params", "header_params", "body_params"),
    *("request_param_name", "http_connection_param_name", "response_param_name"),
    *("security_scopes_param_name", "own_oauth_scopes", "parent_oauth_scopes"),
}
#: What it may have, and must not have here.
ABSENT = {"background_tasks_param_name", "concurrency", "cookie_params", "websocket_param_name"}

#: The values of a request have places: these two, then one for each that is read or returned.
REQUEST, RESPONSE, _FIRST = 0, 1, 2

#: Reads a group of parameters from the request and the parsed body. Raises Invalid.
Read = Callable[[Request, Any], Mapping[str, Any]]


class NotPlain(Exception):
    """Says what the route has that only FastAPI's own handler serves."""


class Invalid(Exception):
    """FastAPI's own handler has to answer this request: something in it may be wrong."""


class Call(NamedTuple):
    """A dependency, or the handler; the places of its arguments and of its result."""

    function: Callable[..., Awaitable[Any]]
    arguments: tuple[tuple[str, int], ...]
    result: int


class Reading(NamedTuple):
    """Parameters that are read together, and the places of their values."""

    read: Read
    places: tuple[tuple[str, int], ...]


class Plan:
    """The steps for a valid request: all `readings`, then all `calls`, of which the last answers.

    FastAPI reads the parameters of a function after it has called what that depends on. Here all
    are read before anything is called, so that FastAPI can still be given the whole request.
    Raises NotPlain.
    """

    def __init__(self, dependant: Dependant) -> None:
        if unknown := {it.name for it in dataclasses.fields(Dependant)} ^ (FOLLOWED | ABSENT):
            raise NotPlain(f"FastAPI's Dependant differs by {', '.join(sorted(unknown))}")
        self.readings: list[Reading] = []
        self.calls: list[Call] = []
        #: Places that get a SecurityScopes of these scopes.
        self.security_scopes: list[tuple[int, list[str]]] = []
        self.uses_response = False
        self.size = _FIRST
        self._results: dict[Any, int] = {}
        self._add(dependant)

    def _add(self, dependant: Dependant) -> int:
        """Add the call of a function, after what it depends on; return the place of its result."""
        call = dependant.call
        is_generator = models._is_gen_callable(call) or models._is_async_gen_callable(call)
        if call is None or is_generator or not models._is_coroutine_callable(call):
            raise NotPlain(f"{call!r} is not a coroutine function")
        if used := [name for name in sorted(ABSENT) if getattr(dependant, name)]:
            raise NotPlain(f"{call!r} has {', '.join(used)}")
        arguments = tuple(self._arguments(dependant).items())
        key = models._get_cache_key(dependant=dependant)
        if dependant.use_cache and key in self._results:
            return self._results[key]
        self.calls.append(Call(call, arguments, self._place()))
        self._results.setdefault(key, self.calls[-1].result)
        return self.calls[-1].result

    def _arguments(self, dependant: Dependant) -> dict[str, int]:
        """Add what a function depends on and reads; return the places of its arguments."""
        places: dict[str, int] = {}
        for inner in dependant.dependencies:
            result = self._add(inner)
            if inner.name is not None:
                places[inner.name] = result
        for fields, read in _reads(dependant):
            added = {field.name: self._place() for field in fields}
            self.readings.append(Reading(read, tuple(added.items())))
            places.update(added)
        for name in (dependant.http_connection_param_name, dependant.request_param_name):
            if name:
                places[name] = REQUEST
        if dependant.response_param_name:
            places[dependant.response_param_name] = RESPONSE
            self.uses_response = True
        if dependant.security_scopes_param_name:
            place = places[dependant.security_scopes_param_name] = self._place()
            scopes = models._get_oauth_scopes(dependant=dependant)
            self.security_scopes.append((place, scopes))
        return places

    def _place(self) -> int:
        self.size += 1
        return self.size - 1


def _reads(dependant: Dependant) -> Iterator[tuple[list[ModelField], Read]]:
    """The groups of a function's own parameters, in the order in which FastAPI reads them."""
    if fields := dependant.path_params:
        yield fields, _path(fields)
    if fields := dependant.query_params:
        yield fields, _query_model(fields) or _by_fastapi(fields, lambda it: it.query_params)
    if fields := dependant.header_params:
        yield fields, _by_fastapi(fields, lambda it: it.headers)
    if fields := dependant.body_params:
        yield fields, _body(fields)


def _by_fastapi(fields: list[ModelField], source: Callable[[Request], Any]) -> Read:
    """Let FastAPI's own function read them."""

    def read(request: Request, body: Any) -> Mapping[str, Any]:
        values, errors = utils.request_params_to_args(fields, source(request))
        if errors:
            raise Invalid
        return values

    return read


def _path(fields: list[ModelField]) -> Read:
    """Read what the path has matched: FastAPI takes no models and no lists there."""
    named = [(field, field.alias) for field in fields]
    for field, alias in named:
        if utils._get_param_aliases(field) != [(alias, alias)]:
            raise NotPlain(f"the path's {field.name} has other names")

    def read(request: Request, body: Any) -> Mapping[str, Any]:
        segments = request.path_params
        return {field.name: _valid(field, segments[alias]) for field, alias in named}

    return read


def _query_model(fields: list[ModelField]) -> Read | None:
    """Read a query model; None when it is not one model.

    FastAPI asks for each field of the model. Here the parameters that were sent are looked at.
    """
    field, model = fields[0], utils._get_param_model(fields[0])
    if len(fields) > 1 or model is None or field.field_info.annotation is not model:
        return None
    are_lists: dict[str, bool] = {}
    for inner in get_cached_model_fields(cast(type[BaseModel], model)):
        name = utils._get_param_aliases(inner)[0][0]
        is_list = field_annotation_is_sequence(inner.field_info.annotation)
        are_lists[name] = is_list and not utils._is_json_field(inner)

    def read(request: Request, body: Any) -> Mapping[str, Any]:
        sent: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            is_list = are_lists.get(name)
            if is_list is None:
                raise Invalid  # another name of a field, or none: FastAPI decides
            if is_list:
                sent.setdefault(name, []).append(value)
            else:
                sent[name] = value
        return {field.name: _valid(field, sent)}

    return read


def _body(fields: list[ModelField]) -> Read:
    field = fields[0]
    if len(fields) > 1 or type(field.field_info) is not params.Body:
        raise NotPlain("the body is not one parameter of JSON")
    return lambda request, body: {field.name: _valid(field, body)}


def _valid(field: ModelField, value: Any) -> Any:
    valid, errors = field.validate(value)
    if errors:
        raise Invalid
    return valid
