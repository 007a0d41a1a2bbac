"""Who is signed in: `session:{id}` in Redis, where id is the SHA-256 of the bearer token.

The token is known to its owner alone. A session ends at its absolute time, at sign-out, when
Redis is lost, and when the password is changed, since it carries a fingerprint of the
credential that opened it (ASVS 5.0, 7.2.3, 7.3.2, 7.4.1, 7.4.3).
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from countroom.redis import SESSION_SECONDS, session_key
from countroom.refusal import Refusal

TOKEN_BYTES: Final = 32
"""256 bits; ASVS 5.0, 7.2.3 asks for 128."""
TOKEN_LENGTH_MAX: Final = 128
"""Nothing longer was ever issued, so it need not be hashed."""

Kind = Literal["player", "staff"]


class SessionsUnavailable(Refusal):
    """Sessions cannot be kept at the moment; try again in a little while."""

    kind = "unavailable"
    code = "sessions_unavailable"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What `session:{id}` holds, as JSON."""

    kind: Kind
    user_id: UUID
    credential: str
    signed_in_at: datetime
    expires_at: datetime


def credential_fingerprint(password_hash: str) -> str:
    """Return a short digest that changes whenever the password does."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:32]


async def open_session(
    redis: Redis, *, kind: Kind, user_id: UUID, password_hash: str, now: datetime
) -> tuple[str, Session]:
    """Keep a new session and return its token, which exists nowhere else, and what was kept.

    Raises:
        SessionsUnavailable: Redis cannot be reached.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    session = Session(
        kind=kind,
        user_id=user_id,
        credential=credential_fingerprint(password_hash),
        signed_in_at=now,
        expires_at=now + timedelta(seconds=SESSION_SECONDS),
    )
    with _lost_redis_refuses():
        await redis.set(_key(token), msgspec.json.encode(session), ex=SESSION_SECONDS)
    return token, session


async def find_session(redis: Redis, token: str, *, now: datetime) -> Session | None:
    """Return the session of a token, or None when there is none or its time is over.

    Raises:
        SessionsUnavailable: Redis cannot be reached, so nobody can say.
    """
    if not 0 < len(token) <= TOKEN_LENGTH_MAX or not token.isascii():
        return None
    with _lost_redis_refuses():
        kept = await redis.get(_key(token))
    if kept is None:
        return None
    session = msgspec.json.decode(kept, type=Session)
    return session if now < session.expires_at else None


async def close_session(redis: Redis, token: str) -> bool:
    """End a session at once. Returns whether there was one.

    Raises:
        SessionsUnavailable: Redis cannot be reached.
    """
    with _lost_redis_refuses():
        return bool(await redis.delete(_key(token)))


def _key(token: str) -> str:
    return session_key(hashlib.sha256(token.encode()).hexdigest())


@contextmanager
def _lost_redis_refuses() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise SessionsUnavailable from error
