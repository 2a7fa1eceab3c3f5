"""Tokens that were verified, so that a client's next requests cost a digest and not a signature."""

import hashlib
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from .user import User


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token proved: valid before `expires` (Unix time) while the issuer still has `key`."""

    user: User
    kid: str
    key: RSAPublicKey
    expires: float

    def holds(self) -> bool:
        """Return whether it is not expired."""
        return time.time() < self.expires


class VerifiedTokens:
    """At most `size` tokens by digest, the oldest leaves first. The tokens are not kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[bytes, Verified] = {}

    def get(self, token: str) -> Verified | None:
        """Return what the token proved, None when it is not known or has expired."""
        digest = _digest(token)
        entry = self._entries.get(digest)
        if entry is not None and not entry.holds():
            del self._entries[digest]
            return None
        return entry

    def put(self, token: str, entry: Verified) -> None:
        """Remember it."""
        if self._size < 1:
            return
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[_digest(token)] = entry


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
