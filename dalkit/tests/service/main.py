"""The application that `uvicorn` serves."""

from dalkit.observe.logs import configure_logging
from dalkit.settings import BadSetting, Settings, load

from tests.service.app import create_app

settings = load(Settings)
configure_logging(settings.log_level, settings.log_format)
try:
    app = create_app(settings)
except BadSetting as error:
    raise SystemExit(f"The configuration cannot be used.\n  {error}") from None
