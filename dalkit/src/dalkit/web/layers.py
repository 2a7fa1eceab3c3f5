"""Middlewares that are neighbours and pass a request in one go."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeGuard, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = list[tuple[bytes, bytes]]
Handler = Callable[[Request, Exception], Awaitable[Response]]


async def render(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Send the response of the app's own handler for HTTPException, or for any other Exception."""
    family = HTTPException if isinstance(error, HTTPException) else Exception
    handler = cast(Handler, scope["app"].exception_handlers[family])
    response = await handler(Request(scope, receive), error)
    await response(scope, receive, send)


class Exchange:
    """One request with its answer, as the layers of a row see it."""

    __slots__ = (
        *("scope", "method", "started_at", "request_id", "receive", "send_inside"),
        *("has_started", "status", "on_start", "_send"),
    )

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, on_start: Sequence["OnStart"]
    ) -> None:
        self.scope = scope
        self.method: str = scope["method"]  # as it came
        self.started_at = perf_counter()
        self.request_id = b""
        self.receive = receive  # a layer may put its own around it
        self.send_inside: Send | None = None  # what the app gets in place of `send`
        self.has_started = False
        self.status = 0  # until the response has started
        self.on_start = on_start
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Send, the response's start with the headers that the layers add to it."""
        self.has_started = True
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ())]
            for add in self.on_start:
                add(self, headers)
            message = {**message, "headers": headers}
        return self._send(message)  # no coroutine: there is nothing to do afterwards

    async def answer(self, error: Exception, on_start: Sequence["OnStart"]) -> None:
        """Have the app's handlers answer `error`; these are told of the start, no others."""
        self.on_start = on_start
        await render(self.scope, self.receive, self.send_inside or self.send, error)


OnStart = Callable[[Exchange, Headers], None]


class Layer:
    """A middleware that says what it does, so that its neighbours can do theirs on the same way.

    Layers around each other are a row: the outermost runs all of them in one coroutine, with one
    `send` and one `receive`, and the effects have the order of middlewares that wrap each other.
    Any other middleware in between, an owner's too, ends the row: the layers behind it are another.

    A layer overrides what it needs. Other scopes than `http` get `pass_on`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.row: tuple[Layer, ...] = (self,)
        self.inside = app
        # At most one of a kind is in a row: what it notes in the exchange is there once.
        if _is_layer(app) and _kind(self) not in map(_kind, app.row):
            self.row, self.inside = (self, *app.row), app.inside
        placed = list(enumerate(self.row))
        self._before = [(at, layer.before) for at, layer in placed if _overrides(layer, "before")]
        self._on_start = starts_of(self.row)
        self._after = [
            (at, layer.after) for at, layer in reversed(placed) if _overrides(layer, "after")
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a request through the row, and hand on anything else."""
        if scope["type"] != "http":
            await self.pass_on(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._on_start)
        entered = 0
        try:
            for place, before in self._before:
                entered = place + 1
                if (refusal := before(exchange)) is not None:
                    entered = place
                    await exchange.answer(refusal, starts_of(self.row[:entered]))
                    break
            else:
                entered = len(self.row)
                await self.inside(scope, exchange.receive, exchange.send_inside or exchange.send)
        except BaseException as error:  # noqa: BLE001 - raised, or what came of it
            raise await self._failed(exchange, entered, error)  # noqa: B904
        for place, after in self._after:
            if place < entered:
                after(exchange, None)

    async def _failed(
        self, exchange: Exchange, entered: int, error: BaseException
    ) -> BaseException:
        """Let the layers that were entered see the error; return what leaves the row."""
        for place in range(entered - 1, -1, -1):
            layer = self.row[place]
            try:
                await layer.on_error(exchange, error, starts_of(self.row[:place]))
            except BaseException as another:  # noqa: BLE001 - raised by the caller
                error = another
            layer.after(exchange, error)
        return error

    def before(self, exchange: Exchange) -> Exception | None:
        """Look at the request; an error is answered, and nothing behind this layer runs."""

    def on_start(self, exchange: Exchange, headers: Headers) -> None:
        """Add to the headers of the response."""

    async def on_error(
        self, exchange: Exchange, error: BaseException, outer: Sequence[OnStart]
    ) -> None:
        """Answer what was raised behind this layer, told to `outer`; it is raised in any case."""

    def after(self, exchange: Exchange, error: BaseException | None) -> None:
        """Finish, whether an error was raised or not."""

    async def pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app for a WebSocket or the lifespan."""
        await self.app(scope, receive, send)


def starts_of(row: Sequence[Layer]) -> list[OnStart]:
    """What a row adds to the start of a response, innermost first."""
    return [layer.on_start for layer in reversed(row) if _overrides(layer, "on_start")]


def _is_layer(app: ASGIApp) -> TypeGuard[Layer]:
    """Whether it is one that runs as layers do: a subclass may do more in `__call__`."""
    return isinstance(app, Layer) and type(app).__call__ is Layer.__call__


def _overrides(layer: Layer, name: str) -> bool:
    return getattr(type(layer), name) is not getattr(Layer, name)


def _kind(layer: Layer) -> type:
    classes = type(layer).__mro__
    return classes[classes.index(Layer) - 1]
