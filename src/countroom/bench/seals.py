"""Sealing and proving a large journal: time and memory, against merely reading it; and what the index costs."""

import json
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from countroom.bench.yardstick import PLAYERS, filled_stores
from countroom.postgres import Database
from countroom.proof import Proof
from countroom.wallet import seals as journal_seals

FILL_AT_ONCE: Final = 1_000_000
INDEX_ROUNDS: Final = 9
INDEX_INSERTS: Final = 400
"""Inserts of 250 entries, as the wallet's passes make them, per round and table."""

VICTIM: Final = "wallet_account_id = (SELECT wallet_id FROM bench_players WHERE n = 77) AND sequence = {sequence}"
FAULTS: Final = {
    "changed": "UPDATE wallet_entries SET amount = amount - 1 WHERE {victim}",
    "removed": "DELETE FROM wallet_entries WHERE {victim}",
    "inserted": "INSERT INTO wallet_entries SELECT wallet_account_id, 1000000, transaction_id, -1, 0, created_at "
    "FROM wallet_entries WHERE {victim}",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that was measured over the whole journal."""

    name: str
    seconds: float
    python_mb: float
    """The largest this process has been until then."""
    postgres_mb: float
    """The largest that one of its connections' processes has been, shared buffers included."""


def seals(*, entries: int, console: Console) -> int:
    """Measure, print the table and the JSON line; return the exit code: 1 when a fault was not found."""
    with tempfile.TemporaryDirectory(prefix="countroom-bench-") as folder, filled_stores(Path(folder), {}) as settings:
        assert settings.database_url
        return uvloop.run(_measure(settings.database_url, entries, console))


async def _measure(database_url: str, entries: int, console: Console) -> int:
    database = await Database.connect(database_url, size_max=2)
    console.print(f"filling {entries:,} entries", style="dim")
    await _fill(database, entries)
    stages: list[Stage] = []

    async def measure(name: str, work: Callable[[], Awaitable[object]]) -> object:
        console.print(name, style="dim")
        began = time.perf_counter()
        outcome = await work()
        stages.append(Stage(name, time.perf_counter() - began, _python_mb(), await _postgres_mb(database)))
        return outcome

    async def seal() -> int:
        return len([one async for one in journal_seals.make(database)])

    await measure("read by COPY", lambda: _read(database))
    made = await measure("seal", seal)
    await measure("seal again: nothing new", seal)
    proof = await measure("check", lambda: journal_seals.prove(database))
    assert isinstance(proof, Proof)
    assert proof.holds, proof
    compared = proof.compared
    assert compared == await _count(database)
    is_found = True
    for fault, statement in FAULTS.items():
        restore = await _falsify(database, statement, sequence=entries // PLAYERS // 2)
        proof = await measure(f"check, one {fault}", lambda: journal_seals.prove(database))
        assert isinstance(proof, Proof)
        console.print("; ".join(proof.violations), style="dim", markup=False, soft_wrap=True)
        is_found = is_found and len(proof.violations) == 1
        await restore()
    sizes = await database.fetchrow(
        """
        SELECT pg_total_relation_size('seal_blocks') + pg_total_relation_size('seals') AS seals,
               pg_relation_size('wallet_entries_by_time') AS index, pg_total_relation_size('wallet_entries') AS journal
        """
    )
    assert sizes is not None
    console.print("inserting with and without the index on time", style="dim")
    without, with_index = await _cost_of_index(database)
    await database.close()
    return _report(
        stages,
        {
            "entries": compared,
            "seals": made,
            **{f"{name}_mb": round(size / 1e6, 1) for name, size in sizes.items()},
            "insert_ms": round(without, 3),
            "insert_with_index_ms": round(with_index, 3),
            "index_cost": round(with_index / without - 1, 3),
        },
        console,
        is_found=is_found,
    )


def _report(stages: list[Stage], figures: dict[str, object], console: Console, *, is_found: bool) -> int:
    table = Table(title="A journal sealed and proved", box=None, pad_edge=False)
    for title in ("", "seconds", "x reading", "MB Python", "MB PostgreSQL"):
        table.add_column(title, justify="right" if title else "left")
    read = stages[0].seconds
    for stage in stages:
        table.add_row(
            stage.name,
            f"{stage.seconds:.1f}",
            f"{stage.seconds / read:.2f}",
            f"{stage.python_mb:.0f}",
            f"{stage.postgres_mb:.0f}",
        )
        key = stage.name.split(":")[0].replace(", one", "").replace(" ", "_").lower()
        figures |= {
            f"{key}_s": round(stage.seconds, 1),
            f"{key}_python_mb": round(stage.python_mb),
            f"{key}_postgres_mb": round(stage.postgres_mb),
        }
    console.print(table)
    console.print(
        f"An insert of 250 entries: {figures['insert_ms']} ms, with the index {figures['insert_with_index_ms']} ms"
    )
    print(json.dumps(figures | {"faults_found": is_found}))  # noqa: T201 - the line that programs read
    return 0 if is_found else 1


async def _fill(database: Database, entries: int) -> None:
    """Journal bets of the players, 250 a moment, and leave the wallets as those bets would have."""
    async with database.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        sql = files("countroom.bench").joinpath("journal.sql").read_text("utf-8")
        for start in range(0, entries, FILL_AT_ONCE):
            await connection.execute(sql, start, min(start + FILL_AT_ONCE, entries), PLAYERS)
        await connection.execute(
            "UPDATE wallet_accounts w SET sequence = w.sequence + $1, balance = w.balance - $1 "
            "FROM bench_players p WHERE w.id = p.wallet_id",
            entries // PLAYERS,
        )
        await connection.execute(
            "UPDATE wallet_entries e SET created_at = timestamptz '2020-01-01' FROM bench_players p "
            "WHERE e.wallet_account_id = p.wallet_id AND e.sequence = 1"
        )
        await connection.execute("RESET session_replication_role")
        await connection.execute("VACUUM (ANALYZE) wallet_entries")


async def _falsify(database: Database, statement: str, *, sequence: int) -> Callable[[], Awaitable[None]]:
    """Falsify one entry, and return what takes it back."""
    victim = VICTIM.format(sequence=sequence)
    async with database.transaction() as tx:
        await tx.execute("SET LOCAL session_replication_role = replica")
        await tx.execute(f"CREATE TABLE IF NOT EXISTS bench_victim AS SELECT * FROM wallet_entries WHERE {victim}")
        # The bets of that moment, so that each entry of the block names one.
        await tx.execute(
            """
            INSERT INTO transactions (id, wallet_account_id, external_id, amount, type, status, user_id, wallet_type,
                                      currency, created_at, request_hash)
            SELECT e.transaction_id, e.wallet_account_id, 'bench:' || e.transaction_id, abs(e.amount), 'bet', 'success',
                   p.user_id, 'main', 'EUR', e.created_at, sha256('')
              FROM wallet_entries e
              JOIN bench_players p ON p.wallet_id = e.wallet_account_id
             WHERE abs(extract(epoch FROM e.created_at - (SELECT created_at FROM bench_victim))) < 1
                ON CONFLICT DO NOTHING
            """
        )
        await tx.execute(statement.format(victim=victim))

    async def restore() -> None:
        async with database.transaction() as tx:
            await tx.execute("SET LOCAL session_replication_role = replica")
            await tx.execute(f"DELETE FROM wallet_entries WHERE {victim} OR sequence = 1000000")
            await tx.execute("INSERT INTO wallet_entries SELECT * FROM bench_victim")

    return restore


async def _cost_of_index(database: Database) -> tuple[float, float]:
    """Return the milliseconds of an insert of 250 entries: into a table as it was, and one with the index."""
    tables = ("bench_without", "bench_with")
    async with database.connection() as connection:
        # What the disk takes is the same for both, and noise.
        await connection.execute("SET synchronous_commit = off")
        for table in tables:
            await connection.execute(
                f"CREATE TABLE {table} (LIKE wallet_entries INCLUDING DEFAULTS INCLUDING CONSTRAINTS);"
                f"ALTER TABLE {table} ADD PRIMARY KEY (wallet_account_id, sequence)"
            )
        await connection.execute("CREATE INDEX ON bench_with USING brin (created_at) WITH (autosummarize = on)")
        found: dict[str, list[float]] = {table: [] for table in tables}
        number = 0
        for _ in range(INDEX_ROUNDS):
            milliseconds: dict[str, list[float]] = {table: [] for table in tables}
            for _ in range(INDEX_INSERTS):
                number += 1
                for table in tables:
                    began = time.perf_counter()
                    await connection.execute(
                        f"INSERT INTO {table} SELECT p.wallet_id, $1, p.deposit_id, 1, 1, clock_timestamp() "
                        "FROM bench_players p WHERE p.n BETWEEN $2 AND $2 + 249",
                        number,
                        1 + number * 250 % (PLAYERS - 250),
                    )
                    milliseconds[table].append((time.perf_counter() - began) * 1e3)
            for table in tables:
                found[table].append(statistics.median(milliseconds[table]))
    without, with_index = (statistics.median(found[table]) for table in tables)
    return without, with_index


async def _read(database: Database) -> None:
    async def ignore(_data: bytes) -> None:
        pass

    async with database.connection() as connection:
        await connection.copy_from_query("SELECT * FROM wallet_entries", output=ignore)


async def _count(database: Database) -> int:
    row = await database.fetchrow("SELECT count(*) AS entries FROM wallet_entries")
    assert row is not None
    return int(row["entries"])


def _python_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


async def _postgres_mb(database: Database) -> float:
    rows = await database.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
    return max(map(_peak_mb, (row["pid"] for row in rows)))


def _peak_mb(pid: int) -> float:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        for line in status.splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1e3
    return 0.0
