"""Make tokens that no library would make."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm

from dalkit.dev.issuer import Issuer

Sign = Callable[[bytes], bytes]

RS256_PADDING = padding.PKCS1v15()
PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)


def segment(value: Any) -> str:
    """Return a segment: of bytes as they are, of anything else as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key that is not the issuer's."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def rsa_sign(
    key: rsa.RSAPrivateKey,
    scheme: padding.AsymmetricPadding = RS256_PADDING,
    digest: HashAlgorithm | None = None,
) -> Sign:
    """Sign as RS256, or with another padding or digest."""
    return lambda data: key.sign(data, scheme, digest or SHA256())


def hmac_sign(secret: bytes) -> Sign:
    """Sign as HS256."""
    return lambda data: hmac.digest(secret, data, hashlib.sha256)


def es256_sign(data: bytes) -> bytes:
    """Sign as ES256 with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def eddsa_sign(data: bytes) -> bytes:
    """Sign as EdDSA with a new key."""
    return ed25519.Ed25519PrivateKey.generate().sign(data)


class Forger:
    """Makes tokens from any header and payload, signed with the issuer's key or as told."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.sign = rsa_sign(issuer.key)

    def header(self, **members: Any) -> dict[str, Any]:
        """Return a good header with these members; `...` removes one."""
        return _merge({"alg": "RS256", "typ": "JWT", "kid": self.issuer.kid}, members)

    def payload(self, **claims: Any) -> dict[str, Any]:
        """Return a good payload with these claims; `...` removes one."""
        now = int(time.time())
        own = {"iss": self.issuer.url, "aud": self.issuer.audience, "sub": "auth0|1"}
        return _merge({**own, "iat": now, "exp": now + 60}, claims)

    def token(self, header: Any = None, payload: Any = None, sign: Sign | None = None) -> str:
        """Return a token of these values; of bytes as they are."""
        header = self.header() if header is None else header
        payload = self.payload() if payload is None else payload
        signed = f"{segment(header)}.{segment(payload)}"
        return f"{signed}.{segment((sign or self.sign)(signed.encode()))}"


def _merge(own: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**own, **changes}.items() if value is not ...}
