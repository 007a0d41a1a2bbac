"""What the tests of seals share. Here every clock is the same machine's: nothing is allowed for clocks that differ."""

from datetime import timedelta

from countroom.postgres import Database
from countroom.wallet import seals

NO_TIME = timedelta(0)


async def seal(database: Database, seal_entries: int = 250_000, open_seconds_max: float = 30.0) -> list[seals.Seal]:
    return [
        made
        async for made in seals.make(
            database, clocks_differ_max=NO_TIME, seal_entries=seal_entries, open_seconds_max=open_seconds_max
        )
    ]


async def falsify(database: Database, statements: str, *arguments: object) -> None:
    """Do what somebody can do who may do anything in the database."""
    async with database.transaction() as tx:
        await tx.execute("SET LOCAL session_replication_role = replica")
        if arguments:
            await tx.execute(statements, *arguments)
        else:
            await tx.execute(statements)


async def write_old_journal(database: Database, wallets: int, entries: int, *, order: str = "n") -> None:
    """Write a journal of yesterday: so many entries of each wallet, a hundred at a time."""
    await database.fetch(
        f"""
        INSERT INTO wallet_entries
        SELECT md5((n % $1::integer)::text)::uuid, n / $1 + 1, gen_random_uuid(), 1, n / $1 + 1,
               date_trunc('day', now()) - interval '1 day' + n / 100 * interval '1 second'
          FROM generate_series(0, $1 * $2::integer - 1) AS n
         ORDER BY {order}
        """,
        wallets,
        entries,
    )
