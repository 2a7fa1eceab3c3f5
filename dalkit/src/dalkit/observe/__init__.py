"""Logs, traces and metrics."""

from .logs import configure_logging
from .otel import telemetry

__all__ = ["configure_logging", "telemetry"]
