"""A JSON Web Key Set document (RFC 7517) to the RSA keys that may verify a signature."""

from collections import Counter
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

MIN_KEY_BITS = 2048


def usable_keys(document: Any) -> dict[str, RSAPublicKey]:
    """Return the usable RS256 keys by their `kid`; raises ValueError when there is none.

    A key that cannot be used is skipped. Two usable keys with one `kid` are ambiguous: neither is.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the document is not a key set")
    found = [pair for entry in entries if (pair := _usable(entry)) is not None]
    seen = Counter(kid for kid, _ in found)
    keys = {kid: key for kid, key in found if seen[kid] == 1}
    if not keys:
        raise ValueError("the key set has no usable key")
    return keys


def _usable(entry: Any) -> tuple[str, RSAPublicKey] | None:
    if not isinstance(entry, dict) or not _for_signatures(entry):
        return None
    kid, modulus, exponent = entry.get("kid"), entry.get("n"), entry.get("e")
    if not isinstance(kid, str) or not isinstance(modulus, str) or not isinstance(exponent, str):
        return None
    try:
        # Only n and e are handed on: x5c, x5u and private members of the entry are never read.
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": modulus, "e": exponent})
    except (jwt.PyJWTError, ValueError):
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        return None
    return kid, key


def _for_signatures(entry: dict[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") == "RSA"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "RS256") == "RS256"
        and isinstance(operations, list)
        and "verify" in operations
    )
