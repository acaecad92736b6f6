"""JWTs of the local stack, signed with a secret that lies in its folder."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from compose.local.errors import LocalStackError

ALGORITHM = "HS256"
SCOPES = ("analyst", "operator", "producer", "consumer")

_FILE = "jwt.secret"
_SECRET_BYTES = 32


def secret(folder: Path) -> str:
    """The folder's secret, made at first use; readable by its owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILE
    # Linked into place whole: of two that make one at once, both end up with the same.
    new = folder / f"{_FILE}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(_SECRET_BYTES))
    with suppress(FileExistsError):
        os.link(new, path)
    new.unlink()
    return path.read_text()


def mint(key: str, user: str, scopes: Sequence[str], *, tenant: str, ttl_seconds: int) -> str:
    """A token for the person with these scopes, valid from now on.

    Raises LocalStackError for a scope that does not exist.
    """
    import jwt

    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise LocalStackError(f"no such scope: {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    now = int(time.time())
    claims = {
        "sub": user,
        "scope": " ".join(scopes),
        "tenant": tenant,
        "iat": now,
        "exp": now + ttl_seconds,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)
