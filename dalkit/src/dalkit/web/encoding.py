"""JSON responses by the one encoder."""

from typing import Any

from pydantic_core import to_json
from starlette.responses import JSONResponse


class EncodedResponse(JSONResponse):
    """A JSON response written by the encoder above: a NaN in it is null and not an error."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content, inf_nan_mode="null")
