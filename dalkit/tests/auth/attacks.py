"""Tokens that must be refused: by name, how to make each."""

import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from .forge import PSS, RS256_PADDING, Forger, eddsa_sign, es256_sign, hmac_sign, new_key, rsa_sign

Attack = Callable[[Forger], str]

DEEP = b"[" * 2500 + b"]" * 2500
STRANGER = new_key()


def header(**members: Any) -> Attack:
    """Return a well signed token with these header members."""
    return lambda forge: forge.token(forge.header(**members))


def raw_header(data: bytes) -> Attack:
    """Return a well signed token whose header is these bytes."""
    return lambda forge: forge.token(data)


def claims(**values: Any) -> Attack:
    """Return a well signed token with these claims."""
    return lambda forge: forge.token(payload=forge.payload(**values))


def raw_claim(name: str, value: str) -> Attack:
    """Return a well signed token with a claim that is this JSON text."""

    def make(forge: Forger) -> str:
        rest = json.dumps({k: v for k, v in forge.payload().items() if k != name})
        return forge.token(payload=f"{rest[:-1]}, {json.dumps(name)}: {value}}}".encode())

    return make


def raw_payload(data: bytes) -> Attack:
    """Return a well signed token whose payload is these bytes."""
    return lambda forge: forge.token(payload=data)


def hmac_with_public_key(encoding: Encoding, format_: PublicFormat) -> Attack:
    """Return a token signed with the issuer's public key as HMAC secret."""

    def make(forge: Forger) -> str:
        secret = forge.issuer.key.public_key().public_bytes(encoding, format_)
        return forge.token(forge.header(alg="HS256"), sign=hmac_sign(secret))

    return make


def by_stranger(**members: Any) -> Attack:
    """Return a token that another RSA key signed."""
    return lambda forge: forge.token(forge.header(**members), sign=rsa_sign(STRANGER))


def edited(edit: Callable[[str], str]) -> Attack:
    """Return a good token, edited."""
    return lambda forge: edit(forge.token())


def swap_payload(forge: Forger) -> str:
    """Return the signature of one token under the payload of another."""
    head, _, signature = forge.token().split(".")
    return f"{head}.{forge.token(payload=forge.payload(sub='admin')).split('.')[1]}.{signature}"


def id_token(forge: Forger) -> str:
    """Return what a login gives beside the access token: its audience is the client."""
    return forge.token(payload=forge.payload(aud="client-id", nonce="n", email="a@example.com"))


def _alg(name: str, sign: Any) -> Attack:
    return lambda forge: forge.token(forge.header(alg=name), sign=sign)


def _issuer_alg(name: str, scheme: Any, digest: Any = None) -> Attack:
    return lambda forge: forge.token(
        forge.header(alg=name), sign=rsa_sign(forge.issuer.key, scheme, digest)
    )


JWK = RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)

ALGORITHMS: dict[str, Attack] = {
    **{f"alg {name}": _alg(name, lambda _: b"") for name in ("none", "None", "NONE", "nOnE")},
    "alg none, signed": header(alg="none"),
    "HS256 with the public PEM": hmac_with_public_key(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ),
    "HS256 with the PKCS1 PEM": hmac_with_public_key(Encoding.PEM, PublicFormat.PKCS1),
    "HS256 with the public DER": hmac_with_public_key(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    ),
    "HS256 with an empty secret": _alg("HS256", hmac_sign(b"")),
    "RS384 by the issuer": _issuer_alg("RS384", RS256_PADDING, SHA384()),
    "RS512 by the issuer": _issuer_alg("RS512", RS256_PADDING, SHA512()),
    "PS256 by the issuer": _issuer_alg("PS256", PSS),
    "PS256 called RS256": _issuer_alg("RS256", PSS),
    "ES256": _alg("ES256", es256_sign),
    "EdDSA": _alg("EdDSA", eddsa_sign),
    "alg missing": header(alg=...),
    "alg null": header(alg=None),
    "alg a list": header(alg=["RS256"]),
    "alg a number": header(alg=256),
    "alg an object": header(alg={"RS256": 1}),
    "alg true": header(alg=True),
    "alg lower case": header(alg="rs256"),
    "alg with a space": header(alg=" RS256"),
    "alg with CRLF": header(alg="RS256\r\nX-Injected: 1"),
    "alg with quotes": header(alg='RS256", error="none'),
    "alg with NUL": header(alg="RS256\0"),
    "alg not ASCII": header(alg="RS256é漢"),
    "alg in other digits": header(alg="RS\uff1256"),
    "alg very long": header(alg="A" * 5000),
}

HEADERS: dict[str, Attack] = {
    "kid missing": header(kid=...),
    "kid null": header(kid=None),
    "kid a number": header(kid=1),
    "kid a list": lambda forge: forge.token(forge.header(kid=[forge.issuer.kid])),
    "kid an object": header(kid={}),
    "kid true": header(kid=True),
    "kid empty": header(kid=""),
    "kid unknown": header(kid="unknown"),
    "kid a path": header(kid="../../../../dev/null"),
    "kid SQL": header(kid="x' UNION SELECT 'key'--"),
    "kid a lone surrogate": header(kid="\ud800"),
    "kid of the issuer, key of a stranger": by_stranger(),
    "kid and key of a stranger": by_stranger(kid="stranger"),
    "jwk embedded": by_stranger(jwk={**JWK, "kid": "stranger"}, kid="stranger"),
    "jku elsewhere": by_stranger(jku="http://127.0.0.1:1/jwks.json", kid="stranger"),
    "x5u elsewhere": by_stranger(x5u="http://127.0.0.1:1/cert.pem"),
    "x5c embedded": by_stranger(x5c=["MIIB"]),
    "crit unknown": header(crit=["exp"]),
    "crit empty": header(crit=[]),
    "crit not a list": header(crit="exp"),
    "crit b64": header(crit=["b64"], b64=True),
    "b64 false": header(b64=False),
    "b64 false and critical": header(crit=["b64"], b64=False),
    "typ of an id token": header(typ="id+jwt"),
    "typ of a logout token": header(typ="logout+jwt"),
    "typ of a DPoP proof": header(typ="dpop+jwt"),
    "typ null": header(typ=None),
    "typ a number": header(typ=1),
    "typ a list": header(typ=["JWT"]),
    "typ empty": header(typ=""),
    "header a list": raw_header(b'["RS256"]'),
    "header a string": raw_header(b'"RS256"'),
    "header a number": raw_header(b"1"),
    "header null": raw_header(b"null"),
    "header not JSON": raw_header(b"alg: RS256"),
    "header not UTF-8": raw_header(b'{"alg":"\xff\xfe"}'),
    "header with a byte order mark": raw_header(b'\xef\xbb\xbf{"alg":"RS256"}'),
    "header deep": raw_header(DEEP),
    "header a huge number": raw_header(b'{"alg":' + b"1" * 5000 + b"}"),
    "alg twice": lambda forge: forge.token(
        b'{"alg":"RS256","kid":"%s","alg":"none"}' % forge.issuer.kid.encode()
    ),
}

SHAPES: dict[str, Attack] = {
    "one segment": lambda _: "abcdefghijkl",
    "two segments": edited(lambda good: good.rpartition(".")[0]),
    "four segments": edited(lambda good: f"{good}.{good[:10]}"),
    "five segments (JWE)": edited(lambda good: ".".join([*good.split("."), "a", "b"])),
    "only dots": lambda _: "..",
    "header empty": edited(lambda good: good[good.index(".") :]),
    "payload empty": edited(lambda good: f"{good.split('.')[0]}..{good.split('.')[2]}"),
    "signature empty": edited(lambda good: good[: good.rindex(".") + 1]),
    "signature short": edited(lambda good: good[:-8]),
    "signature long": edited(lambda good: f"{good}AAAA"),
    "signature of zeros": edited(lambda good: good[: good.rindex(".") + 1] + "A" * 342),
    "signature changed": edited(
        lambda good: good[:-20] + ("A" if good[-20] != "A" else "B") + good[-19:]
    ),
    "signature of another token": swap_payload,
    "padding": edited(lambda good: f"{good}=="),
    "standard base64": edited(lambda good: f"{good[:-2]}+/"),
    "space inside": edited(lambda good: good.replace(".", ". ", 1)),
    "tab inside": edited(lambda good: good.replace(".", "\t.", 1)),
    "quoted": edited(lambda good: f'"{good}"'),
    "two tokens": edited(lambda good: f"{good},{good}"),
    "not ASCII": edited(lambda good: f"{good}é"),
    "bytes that are not text": edited(lambda good: f"{good}\xff\xfe"),
    "300 KB": edited(lambda good: good + "A" * 300_000),
    "300 KB of dots": lambda _: "." * 300_000,
    "300 KB of claims": claims(padding="A" * 225_000),
    "just too long": claims(padding="A" * 6200),
    "payload a list": raw_payload(b"[]"),
    "payload a string": raw_payload(b'"sub"'),
    "payload a number": raw_payload(b"1"),
    "payload null": raw_payload(b"null"),
    "payload not JSON": raw_payload(b"sub=admin"),
    "payload not UTF-8": raw_payload(b'{"sub":"\xff"}'),
    "payload deep": raw_payload(DEEP),
    "payload an empty object": raw_payload(b"{}"),
}

CLAIMS: dict[str, Attack] = {
    **{f"{name} missing": claims(**{name: ...}) for name in ("exp", "iat", "iss", "aud", "sub")},
    **{
        f"{name} {value[:12]}": raw_claim(name, value)
        for name in ("exp", "iat", "nbf")
        for value in ("null", '"1"', '"9999999999"', "[1]", "{}", "true", "NaN", "-Infinity")
    },
    "exp Infinity": raw_claim("exp", "Infinity"),
    "exp 1e999": raw_claim("exp", "1e999"),
    "exp too many digits": raw_claim("exp", "1" * 5000),
    "expired": lambda forge: forge.token(payload=forge.payload(exp=int(time.time()) - 11)),
    "exp negative": claims(exp=-1),
    "exp -10**400": raw_claim("exp", f"-{10**400}"),
    "iat 10**400": raw_claim("iat", str(10**400)),
    "nbf 10**400": raw_claim("nbf", str(10**400)),
    "iat in the future": lambda forge: forge.token(
        payload=forge.payload(iat=int(time.time()) + 60)
    ),
    "nbf in the future": lambda forge: forge.token(
        payload=forge.payload(nbf=int(time.time()) + 60)
    ),
    **{
        f"{name} {value[:12]}": raw_claim(name, value)
        for name in ("iss", "aud", "sub")
        for value in ("null", "1", "{}", "[]", "[1]", '[["x"]]', "true", '""', '"else"')
        if (name, value) != ("sub", '"else"')
    },
    "iss without its slash": lambda forge: forge.token(
        payload=forge.payload(iss=forge.issuer.url.rstrip("/"))
    ),
    "iss with a suffix": lambda forge: forge.token(
        payload=forge.payload(iss=forge.issuer.url + "evil/")
    ),
    "iss in a list": lambda forge: forge.token(payload=forge.payload(iss=[forge.issuer.url])),
    "iss in upper case": lambda forge: forge.token(
        payload=forge.payload(iss=forge.issuer.url.upper())
    ),
    "aud a prefix": lambda forge: forge.token(
        payload=forge.payload(aud=forge.issuer.audience[:-1])
    ),
    "aud with a suffix": lambda forge: forge.token(
        payload=forge.payload(aud=f"{forge.issuer.audience}/")
    ),
    "aud a list of others": claims(aud=["https://other.example.com", "else"]),
    "aud a list with a number": lambda forge: forge.token(
        payload=forge.payload(aud=[forge.issuer.audience, 1])
    ),
    "aud an object": lambda forge: forge.token(
        payload=forge.payload(aud={forge.issuer.audience: 1})
    ),
    "sub very long": claims(sub="a" * 256),
    "sub with a newline": claims(sub="a\nINFO forged log line"),
    "sub with NUL": claims(sub="a\0"),
    "sub a lone surrogate": claims(sub="\ud800"),
    "sub with a direction override": claims(sub="a\u202eb"),
    "jti a number": claims(jti=1),
    "bound to a certificate": claims(
        cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}
    ),
    "id token": id_token,
}

ATTACKS = {**ALGORITHMS, **HEADERS, **SHAPES, **CLAIMS}
