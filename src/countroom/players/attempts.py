"""How often something may be tried: counters `rate-limit:{key}` in Redis that expire with their window.

An attempt is counted before it is made, so that a thousand at once are as limited as one after
another, and a success takes its own count back. What one address did never closes an account
for another address, except far above what a person mistypes: an attacker must not be able to
lock a victim out (ASVS 5.0, 6.1.1).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from countroom.redis import rate_limit_key
from countroom.refusal import Refusal


class TooManyAttempts(Refusal):
    """Too many attempts; wait before the next one."""

    kind = "limited"
    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        """Goes out as the Retry-After header."""
        super().__init__(f"Too many attempts; wait {retry_after_seconds} seconds before the next one.")


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts in so many seconds, from the first of them."""

    name: str
    attempts: int
    seconds: int

    def key(self, *subject: object) -> str:
        """Return the Redis key of one subject's counter; what it names is hashed."""
        digest = hashlib.sha256("\n".join(str(part) for part in subject).encode()).hexdigest()[:32]
        return rate_limit_key(f"{self.name}:{digest}")


SIGN_IN_HERE: Final = Limit("sign-in-here", 10, 300)
"""Of one account from one address."""
SIGN_IN_ADDRESS: Final = Limit("sign-in-address", 500, 300)
"""From one address, whatever the accounts: a whole house may share one, and attempts that are still
being checked count too."""
SIGN_IN_ACCOUNT: Final = Limit("sign-in-account", 100, 3600)
"""Of one account from everywhere: NIST SP 800-63B-4, 3.2.2 allows no more than 100 failures."""
REGISTRATION: Final = Limit("registration", 600, 60)
"""From one address. Hashing is what it protects."""
EMAIL_CODE: Final = Limit("email-code", 5, 900)
"""New codes for one player: with five tries each, 25 guesses in a million."""

_COUNT: Final = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if count <= tonumber(ARGV[1]) then return 0 end
return math.max(redis.call('TTL', KEYS[1]), 1)
"""
_FORGIVE: Final = """
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then return redis.call('DECR', KEYS[1]) end
return 0
"""


async def count(redis: Redis, limit: Limit, *subject: object) -> None:
    """Count one attempt of this subject.

    Raises:
        TooManyAttempts: with the seconds until the window ends.
        redis.exceptions.RedisError: the caller decides what a lost Redis means.
    """
    wait = int(await redis.eval(_COUNT, 1, limit.key(*subject), str(limit.attempts), str(limit.seconds)))
    if wait:
        raise TooManyAttempts(wait)


async def forgive(redis: Redis, limit: Limit, *subject: object) -> None:
    """Take back what a successful attempt had counted."""
    await redis.eval(_FORGIVE, 1, limit.key(*subject))
