"""Tokens: who is believed, and that nobody can choose how they are believed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.auth import (
    FixedKeys,
    NotAuthenticated,
    Principal,
    Verifier,
    bearer,
    challenge,
    fixed_keys,
    forbidden,
)
from gateway.jwks import JwksKeys
from gateway.problems import Problem
from gateway.settings import SettingsWrong, TokenSettings

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def private(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes: Any) -> dict[str, Any]:
    made = {"sub": "usr_17", "scope": "analyst operator", "exp": int(time.time()) + 60, **changes}
    return {name: value for name, value in made.items() if value is not None}


def verifier(**settings: Any) -> Verifier:
    tokens = TokenSettings.model_validate({"secret": SECRET, **settings})
    return Verifier(tokens, fixed_keys(tokens), "bfc")


async def verified(token: str, **settings: Any) -> Principal:
    return await verifier(**settings).verify(token)


async def refused(token: str, **settings: Any) -> str:
    with pytest.raises(NotAuthenticated) as error:
        await verified(token, **settings)
    return str(error.value)


async def test_a_good_token_makes_a_principal() -> None:
    found = await verified(jwt.encode(claims(), SECRET, algorithm="HS256"))
    assert found.user_id == "usr_17"
    assert found.scopes == {"analyst", "operator"}
    assert found.may("producer", "operator")
    assert not found.may("producer")


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
async def test_public_keys_verify_their_own_algorithm(key: Any, algorithm: str) -> None:
    token = jwt.encode(claims(), private(key), algorithm=algorithm)
    assert (await verified(token, public_key=public(key))).user_id == "usr_17"
    assert "algorithm or key" in await refused(token)


@pytest.mark.parametrize("key", [RSA, EC])
async def test_a_public_key_is_never_an_hmac_secret(key: Any) -> None:
    pem = public(key)

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    tag = hmac.new(pem.encode(), text.encode(), hashlib.sha256).digest()
    forged = f"{text}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}"
    assert "algorithm or key" in await refused(forged, secret=None, public_key=pem)
    await refused(forged, public_key=pem)


async def test_no_algorithm_is_none() -> None:
    unsigned = jwt.encode(claims(), None, algorithm="none")  # type: ignore[arg-type]
    assert "algorithm or key" in await refused(unsigned)
    assert "algorithm or key" in await refused(jwt.encode(claims(), SECRET * 2, algorithm="HS512"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exp": int(time.time()) - 100}, "expired"),
        ({"exp": None}, "exp"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "names no person"),
        ({"sub": "a\nb"}, "names no person"),
        ({"sub": "x" * 129}, "names no person"),
        ({"scope": ["analyst"]}, "space-separated"),
        ({"nbf": int(time.time()) + 1_000}, "not yet valid"),
    ],
)
async def test_wrong_claims_are_refused(changes: dict[str, Any], said: str) -> None:
    assert said in await refused(jwt.encode(claims(**changes), SECRET, algorithm="HS256"))


async def test_a_wrong_signature_or_no_token_at_all_is_refused() -> None:
    await refused(jwt.encode(claims(), SECRET[::-1], algorithm="HS256"))
    for text in ("", "abc", "a.b.c", "x" * 9_000, "é.é.é"):
        await refused(text)


async def test_issuer_and_audience_are_looked_at_when_they_are_set() -> None:
    token = jwt.encode(claims(iss="us", aud="gateway"), SECRET, algorithm="HS256")
    await verified(token)
    await verified(token, issuer="us", audience="gateway")
    await refused(token, issuer="them")
    await refused(token, audience="other")


async def test_another_tenant_is_not_allowed() -> None:
    with pytest.raises(Problem) as refusal:
        await verified(jwt.encode(claims(tenant="other"), SECRET, algorithm="HS256"))
    assert refusal.value.status == 403
    await verified(jwt.encode(claims(tenant="bfc"), SECRET, algorithm="HS256"))


def test_the_challenge_says_what_is_wrong() -> None:
    assert challenge(None).headers == {"WWW-Authenticate": 'Bearer realm="streams"'}
    header = challenge('a "reason"\n').headers["WWW-Authenticate"]
    assert 'error="invalid_token"' in header
    assert "\n" not in header
    assert 'scope="analyst"' in forbidden("analyst").headers["WWW-Authenticate"]


def test_bearer_is_read_leniently_and_nothing_else_is() -> None:
    assert bearer("Bearer abc") == bearer("bearer  abc ") == "abc"
    assert bearer("Basic abc") is bearer("Bearer") is bearer(None) is None


def test_keys_that_can_t_be_used_are_named() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    other = ec.generate_private_key(ec.SECP384R1())
    for pem in ("nonsense", public(small), public(other)):
        with pytest.raises(SettingsWrong, match="STREAMS_JWT_PUBLIC_KEY"):
            fixed_keys(TokenSettings.model_validate({"public_key": pem}))


@pytest.fixture
def provider() -> Iterator[tuple[str, list[dict[str, Any]], list[str]]]:
    """An identity provider: its URL, the keys it publishes, and the requests it had."""
    published: list[dict[str, Any]] = []
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"keys": published}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys", published, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def jwk(key: Any, key_id: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key is RSA else jwt.algorithms.ECAlgorithm
    made = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": key_id, "use": "sig", "alg": "RS256" if key is RSA else "ES256"}


async def test_published_keys_are_fetched_once_and_strangers_make_nobody_ask(
    provider: tuple[str, list[dict[str, Any]], list[str]],
) -> None:
    url, published, asked = provider
    published += [jwk(RSA, "one"), jwk(EC, "two")]
    settings = TokenSettings.model_validate({"jwks_url": url})
    keys = JwksKeys(url)
    asking = Verifier(settings, keys, "bfc")
    for _ in range(3):
        for key, key_id, algorithm in ((RSA, "one", "RS256"), (EC, "two", "ES256")):
            token = jwt.encode(claims(), private(key), algorithm=algorithm, headers={"kid": key_id})
            assert (await asking.verify(token)).user_id == "usr_17"
    for stranger in range(5):
        headers = {"kid": f"unknown-{stranger}"}
        token = jwt.encode(claims(), private(RSA), algorithm="RS256", headers=headers)
        with pytest.raises(NotAuthenticated):
            await asking.verify(token)
    with pytest.raises(NotAuthenticated):
        await asking.verify(
            jwt.encode(claims(), private(RSA), algorithm="RS256", headers={"kid": "two"})
        )
    assert len(asked) == 1


async def test_a_provider_that_is_away_is_no_fault_of_the_token() -> None:
    keys = JwksKeys("http://127.0.0.1:9/keys")
    asking = Verifier(TokenSettings.model_validate({"secret": SECRET}), keys, "bfc")
    with pytest.raises(Problem) as refusal:
        await asking.verify(jwt.encode(claims(), private(RSA), algorithm="RS256"))
    assert refusal.value.status == 503


async def test_fixed_keys_know_their_algorithms_only() -> None:
    keys = FixedKeys({"HS256": SECRET})
    assert await keys.key_for("HS256", "any") == SECRET
    assert await keys.key_for("RS256", None) is None


async def test_a_token_that_was_believed_expires_all_the_same() -> None:
    asking = verifier(leeway_seconds=0)
    expiry = int(time.time()) + 2
    token = jwt.encode(claims(exp=expiry), SECRET, algorithm="HS256")
    assert await asking.verify(token) is await asking.verify(token)
    await asyncio.sleep(expiry + 0.01 - time.time())
    with pytest.raises(NotAuthenticated, match="expired"):
        await asking.verify(token)


async def test_a_token_that_was_believed_is_not_when_its_key_is_withdrawn() -> None:
    by_algorithm = {"HS256": SECRET}
    tokens = TokenSettings.model_validate({"secret": SECRET})
    asking = Verifier(tokens, FixedKeys(by_algorithm), "bfc")
    token = jwt.encode(claims(), SECRET, algorithm="HS256")
    assert (await asking.verify(token)).user_id == "usr_17"
    by_algorithm["HS256"] = "f" * 32
    with pytest.raises(NotAuthenticated):
        await asking.verify(token)
    del by_algorithm["HS256"]
    with pytest.raises(NotAuthenticated):
        await asking.verify(token)
