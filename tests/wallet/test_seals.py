"""Sealing on real PostgreSQL: nothing that is written is missed, whoever bets, seals or dies meanwhile."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from casino import Casino, Player, open_casino
from countroom import jobs
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.settings import Settings
from countroom.wallet import batch, seals
from countroom.wallet.commands import Bet
from sealing import falsify, seal, write_old_journal

SEALS = 60
"""While bets flow: without waiting for open transactions, some entry comes behind one of so many."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    connected = await Database.connect(database_url, size_max=3)
    yield connected
    await connected.close()


async def test_there_is_nothing_to_seal_where_nothing_was_written(casino: Casino) -> None:
    assert await seal(casino.database) == []
    with pytest.raises(seals.NothingSealed):
        await seals.head(casino.database)
    assert (await seals.prove(casino.database)) == Proof("seals", holds=True, compared=0)

    await casino.player(main="1.00")
    (first,) = await seal(casino.database)

    assert (first.number, first.starts_at, first.entries) == (1, "-infinity", 1)
    assert await seals.head(casino.database) == first
    assert await seal(casino.database) == []


async def test_what_is_younger_than_clocks_may_differ_is_not_sealed(casino: Casino) -> None:
    await casino.player(main="1.00")

    assert [made async for made in seals.make(casino.database)] == []


async def test_a_seal_waits_for_a_transaction_that_may_still_write_behind_it(casino: Casino) -> None:
    player, other = await casino.player(main="10.00"), await casino.player(main="10.00")
    async with casino.database.transaction() as tx:
        await batch.post(tx, [player.command(Bet("late", Decimal(1)))])
        await other.bet("1.00", key="b1", round_key="r2")  # ended, with a later id: the snapshot's end is behind it

        with pytest.raises(seals.TransactionsStayOpen):
            await seal(casino.database, open_seconds_max=0)
        sealing = asyncio.create_task(seal(casino.database))

    (made,) = await sealing
    assert made.entries == 4
    assert (await seals.prove(casino.database)).holds


async def test_a_transaction_without_an_entry_yet_is_waited_for_too(casino: Casino) -> None:
    """The wallet dates its entries while it holds the lock, and writes them later."""
    player = await casino.player(main="10.00")
    await casino.player(main="10.00")
    async with casino.database.transaction() as tx:
        await tx.fetch("SELECT FROM wallet_accounts WHERE user_id = $1 FOR UPDATE", player.id)

        with pytest.raises(seals.TransactionsStayOpen):
            await seal(casino.database, open_seconds_max=0)


async def test_no_entry_is_missed_while_bets_flow(casino: Casino, database_url: str) -> None:
    players = [await casino.player(main="100.00") for _ in range(8)]
    numbers = itertools.count()
    made: list[seals.Seal] = []

    async with open_casino(database_url) as second:

        async def play(player: Player) -> None:
            while len(made) < SEALS:
                n = next(numbers)
                batcher = casino.batcher if n % 2 else second.batcher
                await batcher.submit(player.command(Bet(f"b{n}", Decimal("0.01")), round_key=f"r{n}"))

        async def seal_on() -> None:
            while len(made) < SEALS:
                made.extend(await seal(casino.database))

        await asyncio.gather(seal_on(), *(play(player) for player in players))
    made += await seal(casino.database)

    proof = await seals.prove(casino.database)
    assert proof.holds, proof
    assert proof.compared == next(numbers) + len(players)
    assert proof.compared == sum(one.entries for one in made)


async def test_two_who_seal_at_once_take_turns(database: Database, database_url: str) -> None:
    await write_old_journal(database, wallets=10, entries=500)
    other = await Database.connect(database_url, size_max=2)

    mine, others = await asyncio.gather(seal(database, seal_entries=300), seal(other, seal_entries=300))
    await other.close()

    made = sorted(mine + others, key=lambda one: one.number)
    assert [one.number for one in made] == list(range(1, len(made) + 1))
    assert sum(one.entries for one in made) == 5_000
    assert (await seals.prove(database)).holds


KILLED = """
import asyncio, sys
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.wallet import seals

async def work():
    database = await Database.connect(sys.argv[1], size_max=2)
    async for _ in seals.make(database, seal_entries=20_000):
        print("sealed", flush=True)

asyncio.run(work())
"""


async def test_a_killed_sealer_leaves_whole_seals_and_the_next_goes_on(database: Database, database_url: str) -> None:
    await write_old_journal(database, wallets=100, entries=1_500)
    for _ in range(2):
        sealer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database_url, stdout=subprocess.PIPE, env={**os.environ}
        )
        assert sealer.stdout is not None
        assert await sealer.stdout.readline() == b"sealed\n"
        sealer.send_signal(signal.SIGKILL)  # in the middle of the next seal
        await sealer.wait()

    killed = await seals.prove(database)
    assert killed.holds, killed
    assert 40_000 <= killed.compared < 150_000
    await seal(database)
    assert (await seals.prove(database)) == Proof("seals", holds=True, compared=150_000)


async def test_who_stops_listening_leaves_what_was_sealed(database: Database) -> None:
    await write_old_journal(database, wallets=10, entries=500)
    async with aclosing(seals.make(database, seal_entries=1_000)) as making:
        first = await anext(making)

    assert await seals.head(database) == first
    await seal(database)
    assert (await seals.prove(database)).compared == 5_000


@pytest.mark.parametrize("order", ["n", "n DESC", "md5(n::text)"])
async def test_a_journal_of_years_is_sealed_in_steps_in_whatever_order_it_is_stored(
    database: Database, order: str
) -> None:
    await write_old_journal(database, wallets=50, entries=800, order=order)

    made = await seal(database, seal_entries=2_000)

    assert sum(one.entries for one in made) == 40_000
    assert max(one.entries for one in made) <= 4_100  # about twice what was asked, and the rest of a moment
    assert (await seals.prove(database)) == Proof("seals", holds=True, compared=40_000)


async def test_many_entries_of_one_moment_are_one_seal(database: Database) -> None:
    await write_old_journal(database, wallets=50, entries=800)
    await falsify(database, "UPDATE wallet_entries SET created_at = '2020-01-01'")

    (made,) = await seal(database, seal_entries=2_000)

    assert made.entries == 40_000
    assert (await seals.prove(database)).holds


def countroom(*arguments: str, database_url: str, data: Path) -> "subprocess.CompletedProcess[str]":
    nowhere = "http://127.0.0.1:9/none"
    environment = {"DATABASE_URL": database_url, "REDIS_URL": "redis://127.0.0.1:9", "CLICKHOUSE_URL": nowhere}
    return subprocess.run(
        [sys.executable, "-m", "countroom", *arguments],
        env={**os.environ, **environment, "COUNTROOM_DATA": str(data)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


async def test_the_command_seals_and_prints_the_head(database: Database, database_url: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return countroom("seal", *arguments, database_url=database_url, data=tmp_path)

    nothing = run("head")
    assert (nothing.returncode, nothing.stdout) == (1, "Nothing has been sealed yet.\n")
    await write_old_journal(database, wallets=10, entries=100)

    assert "Sealed 1,000 entries in 1 seal." in run().stdout
    assert "Everything is sealed." in run().stdout
    head = await seals.head(database)
    told = json.loads(run("head", "--json").stdout)
    assert told == {
        "number": 1,
        "ends_at": head.ends_at.replace(" ", "T").replace("+00", "Z"),
        "entries": 1_000,
        "hash": head.hash.hex(),
    }
    assert run("head").stdout.split() == ["1", told["ends_at"], "1000", told["hash"]]


async def test_the_job_seals_and_says_once_why_it_cannot(database: Database, settings: Settings) -> None:
    await write_old_journal(database, wallets=10, entries=100)
    work = jobs._Work(settings)
    await work.seal()
    assert (await seals.head(database)).entries == 1_000

    unreachable = jobs._Work(msgspec.structs.replace(settings, database_url="postgresql://nobody@127.0.0.1:9/none"))
    with capture_logs() as logs:
        await unreachable.seal()
        await unreachable.seal()
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("the journal was not sealed; the next tick tries again", "error")
    ]
