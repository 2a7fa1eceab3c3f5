"""The opt-in description of a request body: its shape, with secrets and long values masked."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from .known_values import BODY_LIMIT
from .redaction import MASK, redact

_SECRET_FIELD = re.compile(
    r"pass|pwd|secret|token|key|auth|credential|cookie|session|signature|ssn|iban|card|cvv|cvc|pin"
    r"|birth|mail|phone|address",
    re.IGNORECASE,
)
_LONGEST_VALUE = 200
_DEEPEST = 20


def describe_body(scope: Scope, body: bytes) -> str:
    """Return JSON and forms with secret fields masked; of anything else only size and type."""
    if not body:
        return "none, or not read"
    content_type = Headers(scope=scope).get("content-type", "unknown type").partition(";")[0]
    size = f"{len(body)} bytes of {content_type[:100]}"
    if len(body) >= BODY_LIMIT:
        return f"{size} or more, not shown"
    try:
        document = _parse(content_type, body.decode())
    except (ValueError, RecursionError):
        return f"{size}, not shown"
    return json.dumps(_mask(document), ensure_ascii=False)


def _parse(content_type: str, text: str) -> Any:
    if content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text, strict_parsing=True))
    return json.loads(text)


def _mask(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {
            redact(str(name)): MASK if _SECRET_FIELD.search(str(name)) else _mask(item, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_mask(item, depth + 1) for item in value]
    return redact(value)[:_LONGEST_VALUE] if isinstance(value, str) else value
