"""OpenTelemetry metrics of the delivery; they cost nothing without a meter provider."""

from collections.abc import Callable, Iterable
from weakref import ref

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from .delivery import Delivery

Reading = Callable[[Delivery], list[tuple[str, int]]]


def observe_delivery(delivery: Delivery, provider: MeterProvider | None = None) -> None:
    """Export the queue's length and what became of the messages; keeps no hold of `delivery`."""
    meter = get_meter(__name__, meter_provider=provider)
    meter.create_observable_gauge(
        "slack.queue.length", [_callback(delivery, "slack.lane", _lengths)], unit="{message}"
    )
    meter.create_observable_counter(
        "slack.messages", [_callback(delivery, "slack.outcome", _outcomes)], unit="{message}"
    )


def _lengths(delivery: Delivery) -> list[tuple[str, int]]:
    return [("alert", len(delivery.alerts.jobs)), ("report", len(delivery.reports.jobs))]


def _outcomes(delivery: Delivery) -> list[tuple[str, int]]:
    dropped = delivery.alerts.dropped + delivery.reports.dropped
    return [("sent", delivery.sent), ("failed", delivery.failed), ("dropped", dropped)]


def _callback(
    delivery: Delivery, label: str, reading: Reading
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    weak = ref(delivery)

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        if (alive := weak()) is not None:
            yield from (Observation(value, {label: name}) for name, value in reading(alive))

    return observe
