"""Slack: alerts on unexpected errors, and a route through which front ends report theirs."""

from .install import install_slack
from .notifier import SlackNotifier
from .payload import SlackLogger
from .webhook import send_slack_message

__all__ = ["SlackLogger", "SlackNotifier", "install_slack", "send_slack_message"]
