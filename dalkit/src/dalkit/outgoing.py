"""What calls to Auth0 and Slack take from the environment: certificates and proxies."""

import os
import ssl
from functools import cache

import httpx

from .settings import BadSetting

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")


@cache
def tls() -> ssl.SSLContext:
    """Return the context of this process, which takes 30 ms to make; raises BadSetting."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # SSLError is one
        raise _unusable(CERTIFICATES, error) from None


def check_outgoing() -> None:
    """Raise BadSetting where no client could be made; call it before the service starts."""
    verify = tls()
    try:
        httpx.AsyncClient(verify=verify)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise _unusable(PROXIES, error) from None


def _unusable(names: tuple[str, ...], error: Exception) -> BadSetting:
    # Without their values: the URL of a proxy may have a password.
    found = " or ".join(name for name in names if os.environ.get(name))
    return BadSetting(f"{found} cannot be used: {error}")
