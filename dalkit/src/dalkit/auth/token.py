"""What an access token must be (RFC 7519, RFC 8725, RFC 9068) before a claim of it is believed."""

import json
import re
from base64 import urlsafe_b64decode
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .errors import InvalidToken

ALGORITHM = "RS256"
TYPES = ("jwt", "at+jwt")
REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
LEEWAY = 10  # seconds that the issuer's clock may differ from ours
MAX_LENGTH = 8192  # characters, checked before anything is parsed
MAX_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515 section 7.1


def read_key_id(token: str) -> str:
    """Return the `kid` of a token whose header is acceptable; raises InvalidToken.

    Nothing is verified yet: the header only chooses among the issuer's own keys. `jku`, `jwk`,
    `x5u` and `x5c` are not read.
    """
    if len(token) > MAX_LENGTH:
        raise InvalidToken("too long")
    if not COMPACT.fullmatch(token):
        raise InvalidToken("is not three base64url segments")
    try:
        header = json.loads(urlsafe_b64decode(token.partition(".")[0] + "=="))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise InvalidToken("header is not a JSON object")
    if header.get("alg") != ALGORITHM:
        raise InvalidToken("algorithm is not RS256")
    if "crit" in header:
        raise InvalidToken("has a critical header")
    typ = header.get("typ", "JWT")  # a media type: in any case, `application/` may be left out
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in TYPES:
        raise InvalidToken("type is not an access token's")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise InvalidToken("key id is missing")
    return kid


def verified_claims(token: str, key: RSAPublicKey, audience: str, issuer: str) -> dict[str, Any]:
    """Return the claims of a token that `key` signed for `audience`; raises InvalidToken."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        # The library's message can quote the token: only the name of the exception is passed on.
        expired = isinstance(error, jwt.ExpiredSignatureError)
        raise InvalidToken(type(error).__name__, expired=expired) from None
    for name in ("exp", "iat", "nbf"):
        if type(claims.get(name, 0)) not in (int, float):  # PyJWT takes "1" and true as numbers
            raise InvalidToken(f"{name} is not a number")
    if "cnf" in claims:  # bound to a key that a bearer does not prove to hold (RFC 7800)
        raise InvalidToken("is bound to a key")
    subject = claims["sub"]
    if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise InvalidToken("subject is not printable")  # it goes into log lines and answers
    return claims
