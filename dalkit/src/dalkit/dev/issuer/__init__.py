"""An issuer of access tokens for development and tests: what Auth0 does, on this machine.

It signs whatever it is asked for. The service accepts it only while AUTH0_DEV_ISSUER names it.
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from ..project import Project
from .server import serve

AUDIENCE = "https://api.example.com"
LIFETIME = 8 * 3600  # seconds


class Issuer:
    """Signs tokens for `audience` with a key of its own; `url` ends in a slash."""

    def __init__(self, audience: str = AUDIENCE, key: RSAPrivateKey | None = None) -> None:
        self.audience = audience
        self.url = ""
        self.rotate(key)

    def rotate(self, key: RSAPrivateKey | None = None) -> None:
        """Replace the key: tokens that were signed before are no longer the issuer's."""
        self.key = key or generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = secrets.token_urlsafe(8)

    def key_set(self) -> dict[str, Any]:
        """Return the JSON Web Key Set with the public key."""
        key = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**key, "use": "sig", "alg": "RS256", "kid": self.kid}]}

    def token(self, scopes: Sequence[str] = (), **claims: Any) -> str:
        """Return a token that is valid for LIFETIME. `claims` replace its own; None removes one."""
        now = int(time.time())
        own = {
            "iss": self.url,
            "sub": "dev|user",
            "aud": [self.audience, f"{self.url}userinfo"],
            "iat": now,
            "exp": now + LIFETIME,
            "scope": " ".join(scopes),
            "permissions": list(scopes),
        }
        payload = {name: value for name, value in {**own, **claims}.items() if value is not None}
        return jwt.encode(payload, self.key, algorithm="RS256", headers={"kid": self.kid})


@contextmanager
def issuer(audience: str = AUDIENCE) -> Iterator[Issuer]:
    """Yield an issuer that is served on a free port of the loopback."""
    it = Issuer(audience)
    with serve(it) as it.url:
        yield it


@contextmanager
def published(project: Project, port: str, url: str) -> Iterator[None]:
    """Let `dalkit token` find the issuer meanwhile: a file named after the port has its URL."""
    address = project.issuers / port
    address.parent.mkdir(parents=True, exist_ok=True)
    address.write_text(url)
    try:
        yield
    finally:
        # The next run on this port may have begun.
        if address.exists() and address.read_text() == url:
            address.unlink()
