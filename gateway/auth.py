"""Who asks, and what they may do: JSON Web Tokens in, a principal out."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.problems import Problem
from gateway.settings import SettingsWrong, TokenSettings

ANALYST = "analyst"
OPERATOR = "operator"
PRODUCER = "producer"
CONSUMER = "consumer"

#: Longer ones are no tokens of ours; a bound on what is parsed before it is verified.
TOKEN_LENGTH_MAX = 8_000

#: Tokens whose signature is not looked at again while the same key is in use, and the longest of
#: them: with these, what is kept stays below 40 MB.
VERIFIED_MAX = 20_000
VERIFIED_LENGTH_MAX = 2_000

#: The id of a person, as long as any other id.
SUBJECT_LENGTH_MAX = 128


class NotAuthenticated(Exception):
    """The token is missing or is not believed; the message says why, without the token."""


@dataclass(frozen=True)
class Principal:
    """Somebody whose token was verified."""

    user_id: str
    tenant: str
    scopes: frozenset[str]
    expires_at: int
    """Seconds since 1970."""

    def may(self, *scopes: str) -> bool:
        """Whether the token has one of these scopes."""
        return not self.scopes.isdisjoint(scopes)


class Keys(Protocol):
    """Where keys come from."""

    async def key_for(self, algorithm: str, key_id: str | None) -> Any | None:
        """The key that a token of this algorithm may be verified with, or None."""


@dataclass(frozen=True)
class FixedKeys:
    """Keys by algorithm. A key belongs to one algorithm for good: a public key can never be taken
    for an HMAC secret, whatever a token's header says."""

    by_algorithm: dict[str, Any] = field(repr=False)

    async def key_for(self, algorithm: str, key_id: str | None) -> Any | None:
        return self.by_algorithm.get(algorithm)


@dataclass(frozen=True)
class ManyKeys:
    """Several sources, asked in order."""

    sources: tuple[Keys, ...]

    async def key_for(self, algorithm: str, key_id: str | None) -> Any | None:
        for source in self.sources:
            key = await source.key_for(algorithm, key_id)
            if key is not None:
                return key
        return None


def fixed_keys(settings: TokenSettings) -> FixedKeys:
    """The keys that the settings hold themselves.

    Raises:
        SettingsWrong: the public key is not a PEM of an RSA or P-256 key.
    """
    keys: dict[str, Any] = {}
    if settings.secret:
        keys["HS256"] = settings.secret
    if settings.public_key:
        algorithm, key = _public_key(settings.public_key)
        keys[algorithm] = key
    return FixedKeys(keys)


def _public_key(pem: str) -> tuple[str, Any]:
    try:
        key = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except ValueError as error:
        raise SettingsWrong(f"STREAMS_JWT_PUBLIC_KEY: is not a PEM public key ({error})") from None
    if isinstance(key, RSAPublicKey):
        if key.key_size < 2048:
            raise SettingsWrong("STREAMS_JWT_PUBLIC_KEY: RSA keys need 2048 bits or more")
        return "RS256", key
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return "ES256", key
    raise SettingsWrong("STREAMS_JWT_PUBLIC_KEY: must be an RSA or a P-256 key")


class _Verified(NamedTuple):
    """A token that was verified, and the key that did it."""

    algorithm: str
    key_id: str | None
    key: Any
    principal: Principal


class Verifier:
    """Verifies tokens: signature, expiry, issuer, audience, tenant.

    A person comes many times with one token. What it says is remembered, and believed for as long
    as its key is the one in use and it has not expired; nothing else in it can turn bad.
    """

    def __init__(self, settings: TokenSettings, keys: Keys, tenant: str) -> None:
        self._settings = settings
        self._keys = keys
        self._tenant = tenant
        self._verified: OrderedDict[str, _Verified] = OrderedDict()

    async def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            NotAuthenticated: it is not believed.
            Problem: 403, it belongs to another tenant; 503, the keys can't be fetched.
        """
        known = self._verified.get(token)
        if known is not None and await self._is_still_good(known):
            return known.principal
        if len(token) > TOKEN_LENGTH_MAX:
            raise NotAuthenticated("the token is too long")
        algorithm, key_id = _header(token)
        key = await self._keys.key_for(algorithm, key_id)
        if key is None:
            raise NotAuthenticated("the token's algorithm or key is not one that is accepted here")
        claims = self._claims(token, algorithm, key)
        tenant = claims.get("tenant", self._tenant)
        if tenant != self._tenant:
            raise Problem(403, "the token belongs to another tenant")
        principal = Principal(_subject(claims), tenant, _scopes(claims), int(claims["exp"]))
        self._remember(token, _Verified(algorithm, key_id, key, principal))
        return principal

    async def _is_still_good(self, known: _Verified) -> bool:
        if known.principal.expires_at <= time.time() - self._settings.leeway_seconds:
            return False
        return await self._keys.key_for(known.algorithm, known.key_id) is known.key

    def _remember(self, token: str, verified: _Verified) -> None:
        if len(token) > VERIFIED_LENGTH_MAX:
            return
        self._verified[token] = verified
        self._verified.move_to_end(token)
        if len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)

    def _claims(self, token: str, algorithm: str, key: Any) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": settings.audience is not None,
                    "verify_iss": settings.issuer is not None,
                },
            )
        except jwt.ExpiredSignatureError:
            raise NotAuthenticated("the token has expired") from None
        except jwt.InvalidTokenError as error:
            raise NotAuthenticated(f"the token is not valid: {error}") from None


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise NotAuthenticated("the token is not a JSON Web Token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise NotAuthenticated("the token names no algorithm")
    return algorithm, key_id if isinstance(key_id, str) else None


def _subject(claims: dict[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX:
        raise NotAuthenticated("the token names no person")
    if any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in subject):
        raise NotAuthenticated("the token names no person")
    return subject


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise NotAuthenticated("the token's scope must be a space-separated string")
    return frozenset(scope.split())


def bearer(header: str | None) -> str | None:
    """The token of an ``Authorization`` header; None if there is no bearer token in it."""
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def challenge(reason: str | None) -> Problem:
    """401 with what RFC 6750 wants said; without a reason no token was given."""
    if reason is None:
        detail, fields = "this needs a bearer token", 'Bearer realm="streams"'
    else:
        detail = reason
        fields = (
            f'Bearer realm="streams", error="invalid_token", error_description="{_plain(reason)}"'
        )
    return Problem(401, detail, headers={"WWW-Authenticate": fields})


def forbidden(*scopes: str) -> Problem:
    """403: the token is good, and has none of these scopes."""
    wanted = " or ".join(scopes)
    return Problem(
        403,
        f"this needs the scope {wanted}",
        headers={
            "WWW-Authenticate": 'Bearer realm="streams", error="insufficient_scope", '
            f'scope="{" ".join(scopes)}"'
        },
    )


def _plain(text: str) -> str:
    return "".join(char for char in text if " " <= char <= "~" and char not in '"\\')
