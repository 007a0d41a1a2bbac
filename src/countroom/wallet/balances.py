"""Balances in Redis: `wallet:balance:{walletId}`, written after the commit that made them.

PostgreSQL is the truth and is what money decisions read. An older sequence never overwrites a
newer one, whoever writes last; Redis being away or slow costs nothing but the cache.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Self
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from countroom.redis import BALANCE_SECONDS, balance_key
from countroom.wallet.state import Wallet

PENDING_MAX: Final = 50_000
"""Wallets that may wait for a Redis that is away; beyond, they are forgotten: their keys expire."""
RETRY_SECONDS: Final = 1.0

_SET_IF_NEWER: Final = """
-- KEYS are wallets' keys; ARGV a sequence and a balance for each: written unless what is there is newer.
for i, key in ipairs(KEYS) do
    local kept = redis.call('GET', key)
    if not kept or tonumber(string.match(kept, '^%d+')) <= tonumber(ARGV[2 * i - 1]) then
        redis.call('SET', key, ARGV[2 * i - 1] .. ':' .. ARGV[2 * i], 'EX', SECONDS)
    end
end
""".replace("SECONDS", str(BALANCE_SECONDS))
KEYS_MAX: Final = 500
"""Of one call of the script: Redis does nothing else meanwhile. (A cluster wants calls by slot.)"""

_log = structlog.get_logger()


class BalanceCache:
    """Writes changed balances in the background, the newest of each wallet."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._sha: str | None = None
        self._pending: dict[UUID, tuple[int, str]] = {}
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start writing."""
        self._writer = asyncio.create_task(self._write_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop writing; what is pending is forgotten."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)

    def changed(self, wallets: Iterable[Wallet]) -> None:
        """Remember wallets whose new balance was just committed; returns at once."""
        if len(self._pending) > PENDING_MAX:
            self._pending.clear()
        for wallet in wallets:
            known = self._pending.get(wallet.id)
            if known is None or known[0] < wallet.sequence:
                self._pending[wallet.id] = (wallet.sequence, str(wallet.balance))
        self._wake.set()

    async def _write_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            taken, self._pending = self._pending, {}
            try:
                await self._write(taken)
            except NoScriptError:  # a Redis that was started again
                self._sha = None
                self._pending = taken | self._pending
                self._wake.set()
            except (RedisError, OSError) as error:
                _log.warning("balances could not be cached", wallets=len(taken), error=repr(error))
                self._pending = taken | self._pending
                self._wake.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, wallets: dict[UUID, tuple[int, str]]) -> None:
        if self._sha is None:
            self._sha = str(await self._redis.script_load(_SET_IF_NEWER))
        everything = list(wallets.items())
        for start in range(0, len(everything), KEYS_MAX):
            some = everything[start : start + KEYS_MAX]
            keys = [balance_key(wallet_id) for wallet_id, _ in some]
            arguments = [part for _, values in some for part in values]
            await self._redis.evalsha(self._sha, len(keys), *keys, *arguments)
