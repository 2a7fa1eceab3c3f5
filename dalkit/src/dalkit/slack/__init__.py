"""Slack: alerts on unexpected errors, and a route through which front ends report theirs."""

from .delivery import send_slack_message
from .forwarding import SlackLogger, slack_router
from .notifier import AlertMiddleware, SlackNotifier

__all__ = ["AlertMiddleware", "SlackLogger", "SlackNotifier", "send_slack_message", "slack_router"]
