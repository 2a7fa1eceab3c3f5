"""OpenTelemetry: on when OTEL_EXPORTER_OTLP_ENDPOINT names a collector, silent otherwise."""

import os
from collections.abc import Iterator, MutableMapping
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
    named = (os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in SIGNALS)
    if any(named) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
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


def _is_traced(provider: TracerProvider | None = None) -> bool:
    nothing = ProxyTracerProvider | NoOpTracerProvider
    return not isinstance(provider or get_tracer_provider(), nothing)


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
    provider = tracer_provider or get_tracer_provider()
    with ExitStack() as stack:
        for engine in dict.fromkeys(dal.engines):
            _measure_pool(engine, get_meter(__name__, meter_provider=meter_provider))
            if _is_traced(provider):
                stack.enter_context(trace_statements(engine, provider.get_tracer(__name__)))
        yield


def _measure_pool(engine: AsyncEngine, meter: Meter) -> None:
    """Export the connections in use, idle and allowed (OpenTelemetry: database client metrics)."""
    named = {"db.client.connection.pool.name": engine.url.database or ""}
    weak = ref(engine)  # as instruments are never removed, and the engine should be

    def pools() -> Iterator[QueuePool]:
        if (alive := weak()) is not None and isinstance(alive.pool, QueuePool):
            yield alive.pool

    def count(_: CallbackOptions) -> Iterator[Observation]:
        for pool in pools():
            for state, value in (("used", pool.checkedout()), ("idle", pool.checkedin())):
                yield Observation(value, {**named, "db.client.connection.state": state})

    def most(_: CallbackOptions) -> Iterator[Observation]:
        for pool in pools():
            yield Observation(pool.size(), named)

    for name, callback in (("count", count), ("max", most)):
        meter.create_observable_up_down_counter(
            f"db.client.connection.{name}", [callback], unit="{connection}"
        )
