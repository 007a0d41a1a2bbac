"""A process that tells Redis old and new balances of some wallets, in an order of its own. Started by a test."""

import asyncio
import random
import sys
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from countroom import redis
from countroom.wallet.balances import BalanceCache


@dataclass
class Changed:
    id: UUID
    balance: Decimal
    sequence: int


async def main(url: str, seed: int, sequences: int, wallets: list[UUID]) -> None:
    chance = random.Random(seed)  # noqa: S311 - play, not a secret
    async with redis.connect(url) as client, BalanceCache(client) as cache:
        # Each process has half of the sequences of every wallet, a little out of order.
        mine = list(range(1 + seed, sequences + 1, 2))
        for start in range(0, len(mine), 5):
            some = mine[start : start + 5]
            chance.shuffle(some)
            for sequence in some:
                cache.changed(Changed(wallet, Decimal(sequence) / 100, sequence) for wallet in wallets)
                await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [UUID(text) for text in sys.argv[4:]]))
