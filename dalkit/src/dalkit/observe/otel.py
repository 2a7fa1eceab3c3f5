"""OpenTelemetry: on when OTEL_EXPORTER_OTLP_ENDPOINT names a collector, silent otherwise."""

import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from weakref import ref

from fastapi.telemetry import TelemetryConfig
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    TracerProvider,
    get_tracer_provider,
)
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from .. import DataAccessLayer
from ..extras import extra
from .sql_spans import trace_statements

SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")


def _is_probe(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") in ("/livez", "/readyz")


# auto_configure: FastAPI adds OTLP exporters for what the OTEL_* variables ask for, and nothing
# when they ask for nothing. Operation spans (dependencies, endpoint, serialisation) would double
# the cost of tracing, and probes would be most of the spans; neither tells much.
# FastAPI would look for providers in each request: 3 to 12 us.
def telemetry() -> TelemetryConfig:
    """What FastAPI is told: all is off unless there are OTEL_* variables or a tracer provider.

    Whoever makes providers in code makes them before `create_app`. Raises MissingExtra when a
    collector is named and the extra otel, which sends to it, is not installed.
    """
    if _names_a_collector():
        with extra("otel", "dalkit.observe.telemetry"):
            import_module("opentelemetry.exporter.otlp.proto.http")
            import_module("opentelemetry.sdk")
    asked_for = any(name.startswith("OTEL_") for name in os.environ) or _is_traced()
    return TelemetryConfig(
        auto_configure=True,
        operation_spans=False,
        exclude=_is_probe,
        tracing=asked_for,
        metrics=asked_for,
        logs=asked_for,
    )


def _names_a_collector() -> bool:
    named = (os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in SIGNALS)
    return any(named) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"


def _is_traced(provider: TracerProvider | None = None) -> bool:
    return not isinstance(
        provider or get_tracer_provider(), ProxyTracerProvider | NoOpTracerProvider
    )


@contextmanager
def observe(
    dal: DataAccessLayer,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Iterator[None]:
    """Trace the statements of `dal` and measure its pool; enter it before the first connection.

    The providers are the global ones, which FastAPI configures just before the lifespan. Without
    a tracer provider no listener is added, so a statement costs nothing more.
    """
    for engine in dict.fromkeys(dal.engines):
        _measure_pool(engine, get_meter(__name__, meter_provider=meter_provider))
    provider = tracer_provider or get_tracer_provider()
    with ExitStack() as stack:
        if _is_traced(provider):
            for engine in dict.fromkeys(dal.engines):
                stack.enter_context(trace_statements(engine, provider.get_tracer(__name__)))
        yield


def _measure_pool(engine: AsyncEngine, meter: Meter) -> None:
    """Export the connections in use, idle and allowed (OpenTelemetry: database client metrics)."""
    meter.create_observable_up_down_counter(
        "db.client.connection.count", [_callback(engine, _connections)], unit="{connection}"
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.max", [_callback(engine, _limit)], unit="{connection}"
    )


def _connections(pool: QueuePool) -> list[tuple[str | None, int]]:
    return [("used", pool.checkedout()), ("idle", pool.checkedin())]


def _limit(pool: QueuePool) -> list[tuple[str | None, int]]:
    return [(None, pool.size())]


def _callback(
    engine: AsyncEngine, reading: Callable[[QueuePool], list[tuple[str | None, int]]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    # Instruments are never removed: without a weak reference neither would the engine be.
    weak = ref(engine)

    def observations(_: CallbackOptions) -> Iterable[Observation]:
        alive = weak()
        if alive is None or not isinstance(alive.pool, QueuePool):
            return
        for state, value in reading(alive.pool):
            attributes = {"db.client.connection.pool.name": alive.url.database or ""}
            if state is not None:
                attributes["db.client.connection.state"] = state
            yield Observation(value, attributes)

    return observations
