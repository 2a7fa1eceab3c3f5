"""Queue, drops and results of the delivery as OpenTelemetry metrics."""

import gc
import weakref

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from dalkit.slack.delivery import Delivery, observe_delivery

from .apps import QUICK
from .fake_slack import FakeSlack
from .test_delivery import job


def measured(reader: InMemoryMetricReader) -> dict[tuple[str, ...], float]:
    """What the reader collects: (metric, label) to value."""
    data = reader.get_metrics_data()
    metrics = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    return {
        (metric.name, *map(str, (point.attributes or {}).values())): point.value  # type: ignore[union-attr]
        for metric in metrics
        for point in metric.data.data_points
    }


async def test_queue_drops_and_results_are_measured(fake_slack: FakeSlack) -> None:
    reader = InMemoryMetricReader()
    delivery = Delivery(fake_slack.url, QUICK, alerts=2, reports=1)
    observe_delivery(delivery, MeterProvider([reader]))
    for _ in range(5):
        delivery.put(job(), delivery.alerts)
    delivery.put(job(), delivery.reports)
    queued = measured(reader)
    await delivery.stop()
    sent = measured(reader)
    assert queued["slack.queue.length", "alert"] == 2
    assert queued["slack.queue.length", "report"] == 1
    assert queued["slack.messages", "dropped"] == 3
    assert sent["slack.messages", "sent"] == 3
    assert sent["slack.messages", "failed"] == 0
    assert sent["slack.queue.length", "alert"] == 0


def test_the_meter_does_not_keep_the_delivery() -> None:
    delivery = Delivery("http://127.0.0.1:9/", QUICK)
    observe_delivery(delivery, MeterProvider([InMemoryMetricReader()]))
    alive = weakref.ref(delivery)
    del delivery
    gc.collect()
    assert alive() is None
