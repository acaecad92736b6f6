"""The gateway's settings: read once by the composition root, validated as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

#: An HMAC key shorter than the hash gives less than the algorithm promises (RFC 7518, 3.2).
SECRET_BYTES_MIN = 32

_PREFIX = "STREAMS_"


class SettingsWrong(Exception):
    """A setting is missing or wrong; the message names each one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class TokenSettings(_Frozen):
    """Which tokens are believed. At least one of the three sources of keys must be given."""

    secret: str | None = Field(None, repr=False, description="HS256 secret, 32 bytes or more")
    public_key: str | None = Field(None, description="RS256 or ES256 public key, PEM")
    jwks_url: str | None = Field(None, description="where RS256 and ES256 keys are published")
    issuer: str | None = Field(None, description="the `iss` that tokens must have")
    audience: str | None = Field(None, description="the `aud` that tokens must have")
    leeway_seconds: int = Field(
        default=10, ge=0, le=300, description="tolerated difference of clocks"
    )

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: str | None) -> str | None:
        if secret is not None and len(secret.encode()) < SECRET_BYTES_MIN:
            raise ValueError(f"must have at least {SECRET_BYTES_MIN} bytes")
        return secret

    @field_validator("jwks_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return url

    @model_validator(mode="after")
    def _has_a_key(self) -> TokenSettings:
        if not (self.secret or self.public_key or self.jwks_url):
            raise ValueError(
                "no key to verify tokens with: give STREAMS_JWT_SECRET, STREAMS_JWT_PUBLIC_KEY "
                "or STREAMS_JWT_JWKS_URL"
            )
        return self


class TailSettings(_Frozen):
    """The bounds of the live tail, per process and per client."""

    #: How long a broker may hold a request for more when there is nothing. Apache Kafka answers as
    #: soon as there is something, Tansu looks twice in this time.
    fetch_wait_ms: int = Field(default=20, ge=1, le=1_000)
    heartbeat_seconds: float = Field(default=15.0, gt=0, le=60)
    ring_messages_max: int = Field(default=20_000, ge=1)
    ring_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1)
    queue_messages_max: int = Field(default=1_000, ge=1)
    queue_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1)
    send_seconds_max: float = Field(default=30.0, gt=0)
    history_readers_max: int = Field(default=16, ge=1)
    clients_max: int = Field(default=10_000, ge=1)


class Settings(_Frozen):
    """Everything that the gateway is told from outside."""

    kafka: str = Field(description="host:port[,host:port]")
    postgres: str = Field(description="postgresql://user@host/database", repr=False)
    clickhouse: str = Field(description="http://host:port", repr=False)
    tokens: TokenSettings
    cursor_secret: str = Field(
        "", repr=False, description="seals cursors; the same in all gateway processes"
    )
    tenant: str = "bfc"
    host: str = "127.0.0.1"
    port: int = Field(default=4025, ge=0, le=65535)
    cors_origins: tuple[str, ...] = ()
    rate_limit_per_minute: int = Field(default=100, ge=1)
    body_bytes_max: int = Field(default=5 * 1024 * 1024, ge=1024)
    reached_seconds_max: float = Field(
        5.0, gt=0, description="how long a read waits for the position it asks for"
    )
    pool_size_max: int = Field(default=10, ge=1)
    tail: TailSettings = TailSettings()

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(origin.strip() for origin in value.split(",") if origin.strip())
        return value

    @model_validator(mode="after")
    def _can_seal(self) -> Settings:
        if not (self.cursor_secret or self.tokens.secret):
            raise ValueError(
                "cursors can't be sealed: without STREAMS_JWT_SECRET give STREAMS_CURSOR_SECRET"
            )
        return self

    @property
    def seal_key(self) -> bytes:
        """32 bytes for seals: the same in every process with the same secrets."""
        secret = self.cursor_secret or self.tokens.secret or ""
        return hashlib.blake2b(secret.encode(), person=b"streams-cursors", digest_size=32).digest()


#: Environment variable (without prefix) -> where it goes.
_VARIABLES: dict[str, tuple[str, ...]] = {
    "JWT_SECRET": ("tokens", "secret"),
    "JWT_PUBLIC_KEY": ("tokens", "public_key"),
    "JWT_JWKS_URL": ("tokens", "jwks_url"),
    "JWT_ISSUER": ("tokens", "issuer"),
    "JWT_AUDIENCE": ("tokens", "audience"),
    "JWT_LEEWAY_SECONDS": ("tokens", "leeway_seconds"),
    "CURSOR_SECRET": ("cursor_secret",),
    "GATEWAY_HOST": ("host",),
    "GATEWAY_PORT": ("port",),
    "CORS_ORIGINS": ("cors_origins",),
    "RATE_LIMIT_PER_MINUTE": ("rate_limit_per_minute",),
    "BODY_BYTES_MAX": ("body_bytes_max",),
    "REACHED_SECONDS_MAX": ("reached_seconds_max",),
    "GATEWAY_POOL_SIZE_MAX": ("pool_size_max",),
    "TAIL_FETCH_WAIT_MS": ("tail", "fetch_wait_ms"),
    "TAIL_HEARTBEAT_SECONDS": ("tail", "heartbeat_seconds"),
    "TAIL_RING_MESSAGES_MAX": ("tail", "ring_messages_max"),
    "TAIL_RING_BYTES_MAX": ("tail", "ring_bytes_max"),
    "TAIL_QUEUE_MESSAGES_MAX": ("tail", "queue_messages_max"),
    "TAIL_QUEUE_BYTES_MAX": ("tail", "queue_bytes_max"),
    "TAIL_SEND_SECONDS_MAX": ("tail", "send_seconds_max"),
    "TAIL_HISTORY_READERS_MAX": ("tail", "history_readers_max"),
    "TAIL_CLIENTS_MAX": ("tail", "clients_max"),
}


def settings_of(environ: Mapping[str, str], given: Mapping[str, Any]) -> Settings:
    """The settings of the environment's ``STREAMS_…`` variables over what is ``given`` otherwise.

    Raises:
        SettingsWrong: something is missing or wrong; one line for each thing.
    """
    tree: dict[str, Any] = {"tokens": {}, "tail": {}, **given}
    tree["tokens"], tree["tail"] = dict(tree["tokens"]), dict(tree["tail"])
    for variable, path in _VARIABLES.items():
        value = environ.get(_PREFIX + variable)
        if value:
            branch = tree if len(path) == 1 else tree[path[0]]
            branch[path[-1]] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsWrong("\n".join(_line(item) for item in error.errors())) from None


def _line(item: Any) -> str:
    path = tuple(str(part) for part in item["loc"])
    names = [_PREFIX + name for name, place in _VARIABLES.items() if place == path]
    where = names[0] if names else ".".join(path)
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
