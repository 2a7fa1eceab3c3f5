"""Only whole, strong, unambiguous RSA signature keys are used; the others do not disturb them."""

from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from dalkit.auth.keys import usable_keys

from .forge import new_key

KEY, OTHER, PRIVATE = new_key(), new_key(), new_key()


def jwk(key: Any = KEY, kid: Any = "k", **members: Any) -> dict[str, Any]:
    """Return an entry of a key set."""
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "use": "sig", "alg": "RS256", "kid": kid, **members}


BROKEN: dict[str, Any] = {
    "null": None,
    "a list": [],
    "a string": "key",
    "empty": {},
    "1024 bits": jwk(new_key(1024)),
    "no kid": {k: v for k, v in jwk().items() if k != "kid"},
    "kid a number": jwk(kid=1),
    "kid a list": jwk(kid=["k"]),
    "for encryption": jwk(use="enc"),
    "of another algorithm": jwk(alg="RS384"),
    "for other operations": jwk(key_ops=["encrypt"]),
    "operations not a list": jwk(key_ops="verify"),
    "symmetric": {"kty": "oct", "kid": "k", "k": "c2VjcmV0"},
    "symmetric with n and e": jwk(kty="oct"),
    "elliptic": {"kty": "EC", "kid": "k", "crv": "P-256", "x": "AA", "y": "AA"},
    "n missing": {k: v for k, v in jwk().items() if k != "n"},
    "e missing": {k: v for k, v in jwk().items() if k != "e"},
    "n not base64": jwk(n="!!"),
    "n a number": jwk(n=12345),
    "n empty": jwk(n=""),
    "n null": jwk(n=None),
    "e even": jwk(e="AAI"),
    "e one": jwk(e="AQ"),
    "e a list": jwk(e=["AQAB"]),
    "n not ASCII": jwk(n="é"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_unusable_key_is_skipped(name: str) -> None:
    """The good key beside it works."""
    assert list(usable_keys({"keys": [BROKEN[name], jwk(kid="good")]})) == ["good"]


@pytest.mark.parametrize("name", BROKEN)
def test_unusable_key_alone_is_no_key_set(name: str) -> None:
    """An answer without a usable key does not replace the known keys."""
    with pytest.raises(ValueError, match="no usable key"):
        usable_keys({"keys": [BROKEN[name]]})


@pytest.mark.parametrize("document", [None, [], "keys", 1, {}, {"keys": None}, {"keys": {"k": 1}}])
def test_not_a_key_set(document: Any) -> None:
    """Other JSON values are refused as such."""
    with pytest.raises(ValueError, match="not a key set"):
        usable_keys(document)


def test_duplicate_kid_is_unusable() -> None:
    """It is ambiguous which key is meant, also when both are the same."""
    twice = [jwk(kid="twice"), jwk(OTHER, kid="twice"), jwk(kid="good")]
    assert list(usable_keys({"keys": twice})) == ["good"]


def test_optional_members_may_be_absent() -> None:
    """RFC 7517: use, alg and key_ops are optional."""
    bare = {name: value for name, value in jwk().items() if name in {"kty", "n", "e", "kid"}}
    assert usable_keys({"keys": [bare]})["k"].public_numbers() == KEY.public_key().public_numbers()


def test_private_members_are_not_read() -> None:
    """A key set that leaks a private key gives its public key."""
    leak = {**RSAAlgorithm.to_jwk(PRIVATE, as_dict=True), "kid": "k", "key_ops": ["verify"]}
    key = usable_keys({"keys": [leak]})["k"]
    assert key.public_numbers() == PRIVATE.public_key().public_numbers()


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**400,
    1e400,
    "",
    "x",
    "\ud800",
    "A" * 10_000,
    [],
    [[]],
    {},
    {"a": 1},
]


@pytest.mark.parametrize("member", ["kty", "kid", "n", "e", "use", "alg", "key_ops"])
def test_odd_member_raises_nothing(member: str) -> None:
    """Whatever a member is, the good key beside it works."""
    for value in ODD:
        keys = usable_keys({"keys": [jwk(OTHER, **{member: value}), jwk(kid="good")]})
        assert keys["good"].public_numbers() == KEY.public_key().public_numbers()
