"""Reads a service's compose.yaml as compose does, for its commands to be run as processes."""

import re
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?::([-+])([^${}]*))?\}")


def services_of(project: Path, **variables: str) -> dict[str, dict[str, Any]]:
    """Return the services, with `variables` in their place."""
    text = (project / "compose.yaml").read_text("utf-8")
    while text != (filled := VARIABLE.sub(lambda it: _value(it, variables), text)):
        text = filled
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


def _value(match: re.Match[str], variables: dict[str, str]) -> str:
    """What stands for `${NAME}`, `${NAME:-otherwise}` or `${NAME:+instead}`."""
    name, sign, text = match.groups()
    value = variables.get(name, "")
    if sign == "+":
        return text if value else ""
    return value or text or ""
