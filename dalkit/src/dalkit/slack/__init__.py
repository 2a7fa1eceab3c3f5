"""Slack: alerts on unexpected errors, and a route through which front ends report theirs."""

from .middleware import AlertMiddleware
from .notifier import SlackNotifier
from .payload import SlackLogger
from .router import slack_router
from .webhook import send_slack_message

__all__ = ["AlertMiddleware", "SlackLogger", "SlackNotifier", "send_slack_message", "slack_router"]
