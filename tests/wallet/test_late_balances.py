"""Balances in Redis come from several processes, and each in its own time."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal
from uuid import UUID

from countroom import clock
from countroom import redis as redis_tap
from countroom.redis import balance_key
from countroom.wallet.balances import BalanceCache
from countroom.wallet.state import Wallet


def at(wallet_id: UUID, sequence: int) -> Wallet:
    return Wallet(wallet_id, wallet_id, "EUR", "main", Decimal(f"{sequence}.00"), sequence)


async def test_an_older_balance_never_overwrites_a_newer_one(redis_url: str) -> None:
    wallet_id = clock.new_id()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(redis_tap.connect(redis_url))
        quick, slow = [await stack.enter_async_context(BalanceCache(client)) for _ in range(2)]

        async def written(cache: BalanceCache, *wallets: Wallet) -> None:
            last = at(clock.new_id(), 1)
            cache.changed([*wallets, last])
            async with asyncio.timeout(10):
                while not await client.exists(balance_key(last.id)):  # noqa: ASYNC110 - written in the background
                    await asyncio.sleep(0.005)

        for sequence, of, kept in (
            (7, quick, 7),
            (5, slow, 7),
            (8, quick, 8),
            (6, slow, 8),
            (9, slow, 9),
            (9, quick, 9),
        ):
            await written(of, at(wallet_id, sequence))
            assert await client.get(balance_key(wallet_id)) == f"{kept}:{kept}.00"
