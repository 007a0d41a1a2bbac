"""One-time codes that show that mail reaches a player: `otp:{userId}` in Redis.

Six digits from the system's generator, kept as a keyed hash, ten minutes, five tries, once; a
newer code replaces the older one (ASVS 5.0, 6.5.1 to 6.5.5, 6.6.2). A code is bound to the
address it was sent to: after a change of address it proves nothing.
"""

import hashlib
import hmac
import secrets
from typing import Final, Literal
from uuid import UUID

from redis.asyncio import Redis

from countroom.redis import OTP_SECONDS, otp_key

DIGITS: Final = 6
TRIES: Final = 5

_KEEP: Final = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'tries', ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[3])
"""
_SPEND: Final = """
local kept = redis.call('HGET', KEYS[1], 'digest')
if not kept then return 'none' end
if kept == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return 'right'
end
if redis.call('HINCRBY', KEYS[1], 'tries', -1) < 1 then redis.call('DEL', KEYS[1]) end
return 'wrong'
"""
# Comparing in Lua tells nothing by its time: what is compared is a keyed hash that nobody can choose.


async def new_code(redis: Redis, *, secret_key: str, user_id: UUID, email: str) -> str:
    """Keep a new code for this player instead of any older one, and return it.

    Raises:
        redis.exceptions.RedisError: it cannot be kept.
    """
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
    digest = _digest(secret_key, user_id, email, code)
    await redis.eval(_KEEP, 1, otp_key(user_id), digest, str(TRIES), str(OTP_SECONDS))
    return code


async def spend_code(
    redis: Redis, *, secret_key: str, user_id: UUID, email: str, code: str
) -> Literal["right", "wrong", "none"]:
    """Try a code, in one step: of many at once with the right code, one is told that it is right.

    Raises:
        redis.exceptions.RedisError: nobody can say.
    """
    answer = str(await redis.eval(_SPEND, 1, otp_key(user_id), _digest(secret_key, user_id, email, code)))
    assert answer in {"right", "wrong", "none"}
    return answer  # type: ignore[return-value]  # the assert above; mypy does not narrow a str to its values


def _digest(secret_key: str, user_id: UUID, email: str, code: str) -> str:
    return hmac.new(secret_key.encode(), f"otp\n{user_id}\n{email}\n{code}".encode(), hashlib.sha256).hexdigest()
