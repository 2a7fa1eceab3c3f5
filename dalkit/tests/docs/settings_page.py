"""Writes docs/settings.md from the code: `python -m tests.docs.settings_page`."""

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dalkit import Settings

from tests.docs.pages import DOCS

PAGE = DOCS / "settings.md"
HEAD = """\
# Settings

The variables of the platform, read by `dalkit.Settings` from the environment and from `.env`. The
environment wins.

- Times are in seconds, sizes in bytes. An empty value means unset; blanks alone are refused.
  Space around a text is left out.
- A list is written `a,b` or as a JSON list. A boolean is `true` or `false`.
- Each value is checked when the process starts. It ends with one line for each bad variable.

This page is made from the code by `python -m tests.docs.settings_page`.

| variable | type | default | |
|---|---|---|---|
"""
BOUNDS = (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most"))


def page() -> str:
    """Return the text of the page."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return HEAD + "".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(limit, bound):g}"
        for limit in field.metadata
        for bound, words in BOUNDS
        if hasattr(limit, bound)
    ]
    kind = ", ".join([_kind(field.annotation), *limits])
    description = " ".join((field.description or "").split())
    return f"| `{name.upper()}` | {kind} | {_default(field.default)} | {description} |\n"


def _kind(annotation: Any) -> str:
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if get_origin(annotation) is list:
        return "list" if parts == [str] else f"list of {_kind(parts[0])}"
    if NoneType in get_args(annotation):
        return _kind(parts[0])
    names = {
        SecretStr: "text, secret",
        str: "text",
        int: "integer",
        float: "number",
        bool: "boolean",
    }
    return names[annotation]


def _default(value: Any) -> str:
    if value is None or value == "":
        return "unset"
    if isinstance(value, list):
        return f"`{','.join(value)}`" if value else "empty"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
