"""Passwords are kept as argon2id hashes, made away from the event loop.

The cost is OWASP's for argon2id (19 MiB, two passes, one lane): about 30 ms of one core. Two
threads at a time at most, so that a flood of sign-ins takes neither all cores nor the memory.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")


async def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, with its parameters and a fresh salt in it."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the hashed one.

    Without a hash (nobody has that address, or no password) one is checked all the same and the
    answer is no, so that the time taken does not tell which addresses are known (ASVS 5.0, 6.3.8).
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _verify, password_hash, password)


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        matches = _HASHER.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash("the password of nobody")
