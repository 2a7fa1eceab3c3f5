"""The application that `uvicorn` serves."""

from .app import create_app
from .logs import configure_logging
from .settings import BadSetting, load_settings

settings = load_settings()
configure_logging(settings.log_level, settings.log_format)
try:
    app = create_app(settings)
except BadSetting as error:
    raise SystemExit(f"The configuration cannot be used.\n  {error}") from None
