"""What calls to Auth0 and Slack take from the environment: certificates and proxies."""

import os
import ssl
from functools import cache

import httpx

from .settings import BadSetting

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
PROXIES = (
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("https_proxy", "http_proxy", "all_proxy", "no_proxy"),
)


@cache
def tls() -> ssl.SSLContext:
    """Return the context of this process, which takes 30 ms to make; raises BadSetting."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # SSLError is one
        raise _unusable(CERTIFICATES, str(error)) from None


def check_outgoing() -> None:
    """Raise BadSetting where no client could be made; call it before the service starts."""
    verify = tls()
    try:
        httpx.AsyncClient(verify=verify)
    except ImportError as error:  # of what SOCKS needs
        raise _unusable(PROXIES, str(error)) from None
    except (ValueError, httpx.InvalidURL):  # whose text may have a part of a password
        reason = (
            "write a proxy as http://host:3128 or http://user:password@host:3128, with %23, %2F "
            "and %40 for #, / and @ in the password, and NO_PROXY as names of hosts with commas"
        )
        raise _unusable(PROXIES, reason) from None


def _unusable(names: tuple[str, ...], reason: str) -> BadSetting:
    found = [name for name in names if os.environ.get(name)]
    return BadSetting(
        f"{' or '.join(found) or 'The proxy of this machine'} cannot be used: {reason}"
    )
