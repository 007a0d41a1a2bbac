"""The Redis tap: opening, and each key family with its value's shape and time to live.

PostgreSQL is always the truth. Losing Redis signs people out and slows reads, nothing else.
Ids in keys are hashes of tokens, never the tokens themselves.
"""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

SESSION_SECONDS: Final = 12 * 3600
"""`session:{id}`: JSON of who is signed in; id = hex SHA-256 of the bearer token."""
OTP_SECONDS: Final = 600
"""`otp:{userId}`: hash of a one-time code and tries left (ASVS 6.5: at most ten minutes)."""
BALANCE_SECONDS: Final = 60
"""`wallet:balance:{walletId}`: `<sequence>:<balance>`; an older sequence never overwrites a newer one. The time
bounds how long a balance may be behind whose process died before it could write the new one."""


def session_key(session_id: str) -> str:
    """Return the key of a signed-in session; ``session_id`` is the hash of its token."""
    return f"session:{session_id}"


def otp_key(user_id: object) -> str:
    """Return the key of a user's one-time code."""
    return f"otp:{user_id}"


def balance_key(wallet_id: object) -> str:
    """Return the key of a wallet's cached balance."""
    return f"wallet:balance:{wallet_id}"


def rate_limit_key(subject: str) -> str:
    """Return the key of a counter of requests; it expires with its window."""
    return f"rate-limit:{subject}"


def connect(url: str) -> Redis:
    """Open a client; connections are made when they are needed. Close with ``await client.aclose()``."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 2),
        retry_on_error=[RedisConnectionError],
    )
